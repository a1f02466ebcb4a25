#include "platform/view_lock.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include "sys/file.h"
#include "sys/testing/temp_dir.h"

namespace cofferdam::platform {
namespace {

using Kind = ViewLock::Kind;

class ViewLockTest : public testing::Test {
 protected:
  Result<ViewLock> Take(Kind kind, const std::string& view = "work") {
    return ViewLock::Take(folder_.get(), view, kind);
  }

  sys::TempDir temp_;
  sys::UniqueFd folder_ = *sys::Open(temp_.path(), O_PATH | O_DIRECTORY);
};

TEST_F(ViewLockTest, SeveralShareItAndOneHasItAlone) {
  const auto first = Take(Kind::kShared);
  ASSERT_TRUE(first);
  EXPECT_FALSE(*first->OthersHaveIt());
  const auto second = Take(Kind::kShared);
  ASSERT_TRUE(second);
  EXPECT_TRUE(*first->OthersHaveIt());
  EXPECT_EQ(Take(Kind::kExclusive).error().code, ErrorCode::kBusy);
  EXPECT_TRUE(Take(Kind::kExclusive, "other"));
}

TEST_F(ViewLockTest, WhoHasItAloneKeepsAllOthersOut) {
  auto alone = Take(Kind::kExclusive);
  ASSERT_TRUE(alone);
  EXPECT_EQ(Take(Kind::kShared).error().code, ErrorCode::kBusy);
  ASSERT_TRUE(alone->MakeShared());
  EXPECT_TRUE(Take(Kind::kShared));
}

TEST_F(ViewLockTest, AskingForMoreThanCanBeHadLosesNothing) {
  auto first = Take(Kind::kShared);
  {
    const auto second = Take(Kind::kShared);
    EXPECT_FALSE(*first->MakeExclusive());
    EXPECT_EQ(Take(Kind::kExclusive).error().code, ErrorCode::kBusy) << "both still have it";
  }
  EXPECT_TRUE(*first->MakeExclusive());
  EXPECT_EQ(Take(Kind::kShared).error().code, ErrorCode::kBusy);
}

}  // namespace
}  // namespace cofferdam::platform
