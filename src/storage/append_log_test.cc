#include "storage/append_log.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "storage/atomic_file.h"
#include "storage/testing/file_size_limit.h"
#include "sys/testing/temp_dir.h"

namespace cofferdam::storage {
namespace {

class AppendLogTest : public testing::Test {
 protected:
  Result<AppendLog> Open() const { return AppendLog::Open(directory_.get(), "log"); }
  std::string Text() const { return *sys::ReadFile(temp_ / "log"); }
  void Put(std::string_view text) const {
    ASSERT_TRUE(WriteFileAtomically(directory_.get(), "log", text, 0600));
  }

  const sys::TempDir temp_;
  const sys::UniqueFd directory_ = *sys::Open(temp_.path(), O_PATH | O_DIRECTORY);
};

TEST_F(AppendLogTest, AppendsGroupsOfLinesAndGoesOnAfterBeingReopened) {
  {
    AppendLog log = *Open();
    EXPECT_EQ(log.size(), 0u);
    ASSERT_TRUE(log.AppendLines({"one", "two"}));
    ASSERT_TRUE(log.AppendLines({}));
    ASSERT_TRUE(log.AppendLines({""}));
  }
  AppendLog log = *Open();
  EXPECT_EQ(log.torn_bytes(), 0u);
  ASSERT_TRUE(log.AppendLines({"three"}));
  EXPECT_EQ(Text(), "one\ntwo\n\nthree\n");
  EXPECT_EQ(log.size(), Text().size());
}

TEST_F(AppendLogTest, IsReadableByItsOwnerOnly) {
  const AppendLog log = *Open();
  struct stat info;
  ASSERT_EQ(::stat((temp_ / "log").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0600u);
}

TEST_F(AppendLogTest, CutsOffATornLineAndSaysHowLongItWas) {
  Put("one\ntwo\nthr");
  AppendLog log = *Open();
  EXPECT_EQ(log.torn_bytes(), 3u);
  ASSERT_TRUE(log.AppendLines({"three"}));
  EXPECT_EQ(Text(), "one\ntwo\nthree\n");
}

TEST_F(AppendLogTest, FindsTheEndOfTheLastWholeLineHoweverFarBackItIs) {
  for (const std::size_t torn : {64u * 1024 - 1, 64u * 1024, 64u * 1024 + 1, 200'000u}) {
    Put("one\n" + std::string(torn, 'x'));
    EXPECT_EQ(Open()->torn_bytes(), torn);
    EXPECT_EQ(Text(), "one\n");
  }
  Put(std::string(70'000, 'x'));
  EXPECT_EQ(Open()->torn_bytes(), 70'000u);
  EXPECT_EQ(Text(), "");
}

TEST_F(AppendLogTest, RefusesALineBreakInsideALineAndWritesNothingOfTheGroup) {
  AppendLog log = *Open();
  EXPECT_EQ(log.AppendLines({"one", "t\nwo"}).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(Text(), "");
}

TEST_F(AppendLogTest, RefusesASymbolicLinkAndWhatIsNoFile) {
  ASSERT_EQ(::symlink("elsewhere", (temp_ / "log").c_str()), 0);
  EXPECT_FALSE(Open());
  ASSERT_EQ(::unlink((temp_ / "log").c_str()), 0);
  ASSERT_EQ(::mkfifo((temp_ / "log").c_str(), 0600), 0);
  EXPECT_FALSE(Open());
}

TEST_F(AppendLogTest, IsAsLongAsBeforeAfterAFailedWriteAndGoesOnWhenThereIsRoom) {
  EXPECT_TRUE(InChildWithFileSizeLimit(100, [&] {
    AppendLog log = *Open();
    const bool first = log.AppendLines({std::string(60, 'a')}).has_value();
    const Status second = log.AppendLines({std::string(20, 'b'), std::string(60, 'c')});
    const bool cut = Text().size() == 61 && log.size() == 61;
    const bool third = log.AppendLines({"d"}).has_value();
    SetFileSizeLimit(RLIM_INFINITY);
    const bool fourth = log.AppendLines({std::string(60, 'e')}).has_value();
    return first && !second && second.error().code == ErrorCode::kTooLarge && cut && third &&
           fourth;
  }));
  EXPECT_EQ(Text(), std::string(60, 'a') + "\nd\n" + std::string(60, 'e') + "\n");
}

TEST_F(AppendLogTest, WritesNothingAfterSomebodyElseChangedTheFile) {
  AppendLog log = *Open();
  ASSERT_TRUE(log.AppendLines({"one"}));
  {
    AppendLog other = *Open();
    ASSERT_TRUE(other.AppendLines({"two"}));
  }
  EXPECT_EQ(log.AppendLines({"three"}).error().code, ErrorCode::kCorrupt);
  EXPECT_EQ(Text(), "one\ntwo\n");
}

TEST_F(AppendLogTest, DoesNotAcknowledgeWhatGoesIntoARemovedFile) {
  AppendLog log = *Open();
  ASSERT_EQ(::unlink((temp_ / "log").c_str()), 0);
  EXPECT_EQ(log.AppendLines({"one"}).error().code, ErrorCode::kCorrupt);
}

}  // namespace
}  // namespace cofferdam::storage
