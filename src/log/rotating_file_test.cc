#include "log/rotating_file.h"

#include <sys/stat.h>

#include <gtest/gtest.h>

#include "log/testing/log_folder.h"

namespace cofferdam::log {
namespace {

using Lines = std::vector<std::string>;

TEST(RotatingFile, KeepsTheNewestFilesAndDeletesTheOldest) {
  const LogFolder folder;
  const auto file = *RotatingFile::Open(folder / "x.log", 10, 2);
  for (const char* line : {"1111", "2222", "3333", "4444", "5555", "6666", "7777"})
    ASSERT_TRUE(file->Write(line));
  EXPECT_EQ(folder.Names(), (std::set<std::string>{"x.log", "x.1.log", "x.2.log"}));
  EXPECT_EQ(folder.Lines("x.log"), (Lines{"7777"}));
  EXPECT_EQ(folder.Lines("x.1.log"), (Lines{"5555", "6666"}));
  EXPECT_EQ(folder.Lines("x.2.log"), (Lines{"3333", "4444"}));
}

TEST(RotatingFile, CountsWhatAnEarlierProcessWroteAndAppendsToIt) {
  const LogFolder folder;
  ASSERT_TRUE((*RotatingFile::Open(folder / "x.log", 10, 1))->Write("1111"));
  const auto file = *RotatingFile::Open(folder / "x.log", 10, 1);
  ASSERT_TRUE(file->Write("2222"));
  ASSERT_TRUE(file->Write("3333"));
  EXPECT_EQ(folder.Lines("x.1.log"), (Lines{"1111", "2222"}));
  EXPECT_EQ(folder.Lines("x.log"), (Lines{"3333"}));
}

TEST(RotatingFile, WritesALineThatIsLongerThanAFileIntoOneOfItsOwn) {
  const LogFolder folder;
  const auto file = *RotatingFile::Open(folder / "x.log", 10, 1);
  ASSERT_TRUE(file->Write("short"));
  ASSERT_TRUE(file->Write("longer than ten bytes"));
  EXPECT_EQ(folder.Lines("x.log"), (Lines{"longer than ten bytes"}));
}

TEST(RotatingFile, MakesEveryFileForItsOwnerOnly) {
  const LogFolder folder;
  const mode_t before = ::umask(0);
  const auto file = *RotatingFile::Open(folder / "x.log", 10, 1);
  for (const char* line : {"111111", "222222"}) ASSERT_TRUE(file->Write(line));
  ::umask(before);
  for (const char* name : {"x.log", "x.1.log"}) {
    struct stat info;
    ASSERT_EQ(::stat((folder / name).c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 07777, 0600u) << name;
  }
}

TEST(RotatingFile, SaysWhenItCannotBeOpenedOrWritten) {
  const LogFolder folder;
  EXPECT_EQ(RotatingFile::Open(folder / "missing/x.log", 10, 1).error().code, ErrorCode::kOs);
  EXPECT_FALSE((*RotatingFile::Open("/dev/full", 10, 1))->Write("x"));
}

}  // namespace
}  // namespace cofferdam::log
