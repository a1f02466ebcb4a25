// The test program. With --as-user the superuser runs it again as an ordinary user without any
// right.

#include <unistd.h>

#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "sys/testing/ordinary_user.h"

int main(int argc, char** argv) {
  namespace sys = cofferdam::sys;
  std::vector<char*> arguments(argv, argv + argc);
  const bool as_user = sys::TakeFlag(arguments, "--as-user");
  arguments.push_back(nullptr);
  if (as_user && ::geteuid() == 0) return sys::RunAsOrdinaryUser(std::move(arguments));
  int count = static_cast<int>(arguments.size()) - 1;
  testing::InitGoogleTest(&count, arguments.data());
  return RUN_ALL_TESTS();
}
