#include "platform/directory_lock.h"

#include <fcntl.h>

#include <optional>

#include <gtest/gtest.h>

#include "sys/file.h"
#include "sys/testing/temp_dir.h"

namespace cofferdam::platform {
namespace {

TEST(DirectoryLock, SharedOnesKeepAnExclusiveOneOut) {
  const sys::TempDir temp;
  const sys::UniqueFd directory = *sys::Open(temp.path(), O_PATH | O_DIRECTORY);
  std::optional first = *DirectoryLock::TryShared(directory.get());
  std::optional second = *DirectoryLock::TryShared(directory.get());
  first.reset();
  const auto refused = DirectoryLock::TryExclusive(directory.get());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kBusy);
  second.reset();
  EXPECT_TRUE(DirectoryLock::TryExclusive(directory.get()));
}

TEST(DirectoryLock, AnExclusiveOneKeepsEverybodyOut) {
  const sys::TempDir temp;
  const sys::UniqueFd directory = *sys::Open(temp.path(), O_PATH | O_DIRECTORY);
  const auto held = DirectoryLock::Exclusive(directory.get());
  ASSERT_TRUE(held);
  EXPECT_FALSE(DirectoryLock::TryShared(directory.get()));
  EXPECT_FALSE(DirectoryLock::TryExclusive(directory.get()));
}

}  // namespace
}  // namespace cofferdam::platform
