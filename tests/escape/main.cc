// The test program. With --as-user the superuser runs it again as an ordinary user without any
// right, so that everything is shown for sandboxes that such a user makes, too. With --harness the
// sandboxes have the seccomp profile of that name.

#include <unistd.h>

#include <csignal>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "fixture.h"
#include "sys/testing/ordinary_user.h"

int main(int argc, char** argv) {
  namespace sys = cofferdam::sys;
  std::vector<char*> arguments(argv, argv + argc);
  const bool as_user = sys::TakeFlag(arguments, "--as-user");
  arguments.push_back(nullptr);
  if (as_user && ::geteuid() == 0)
    return sys::RunAsOrdinaryUser(std::move(arguments),
                                  {{"COFFERDAM_ESCAPE_ATTACKS", ESCAPE_ATTACKS}});
  if (sys::TakeFlag(arguments, "--harness"))
    cofferdam::escape::EscapeTest::UseProfile(cofferdam::sandbox::SeccompProfile::kHarness);
  // A write to a program that has ended is an error here, no signal.
  std::signal(SIGPIPE, SIG_IGN);
  int count = static_cast<int>(arguments.size()) - 1;
  testing::InitGoogleTest(&count, arguments.data());
  return RUN_ALL_TESTS();
}
