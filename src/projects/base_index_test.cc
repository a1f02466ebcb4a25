#include "projects/base_index.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "crypto/sha256.h"
#include "projects/testing/files.h"
#include "projects/tree_walk.h"
#include "sys/file.h"
#include "sys/testing/temp_dir.h"

namespace cofferdam::projects {
namespace {

using sys::TempDir;
using sys::UniqueFd;

class BaseIndexTest : public testing::Test {
 protected:
  void SetUp() override { root_ = *sys::Open(temp_.path(), O_PATH | O_DIRECTORY); }
  BaseIndex Scan() { return *BaseIndex::Scan(root_.get()); }

  TempDir temp_;
  UniqueFd root_;
};

TEST_F(BaseIndexTest, HoldsEveryPathWithWhatTheKernelSaysOfIt) {
  Put(temp_ / "d/file", "four");
  ASSERT_EQ(::chmod((temp_ / "d/file").c_str(), 06640), 0);
  ASSERT_EQ(::symlink("x", (temp_ / "link").c_str()), 0);
  ASSERT_EQ(::mkfifo((temp_ / "fifo").c_str(), 0600), 0);
  const BaseIndex index = Scan();
  ASSERT_EQ(index.entries().size(), 4U);
  const BaseEntry& file = index.entries().at("d/file");
  struct stat info;
  ASSERT_EQ(::lstat((temp_ / "d/file").c_str(), &info), 0);
  EXPECT_EQ(file.kind, NodeKind::kFile);
  EXPECT_EQ(file.mode, 0640U);
  EXPECT_EQ(file.stamp, StampOf(info, INT64_MAX));
  EXPECT_EQ(index.entries().at("d"), (BaseEntry{NodeKind::kDirectory, 0700, {}}));
  EXPECT_EQ(index.entries().at("link").kind, NodeKind::kSymlink);
  EXPECT_EQ(index.entries().at("fifo").kind, NodeKind::kOther);
}

TEST_F(BaseIndexTest, WhatAKilledApplyLeftIsNothingOfTheOwners) {
  Put(temp_ / "file", "text");
  const BaseIndex before = Scan();
  Put(temp_ / ".cofferdam-apply-1/0", "text");
  EXPECT_TRUE(CompareBases(before, Scan()).empty());
}

TEST_F(BaseIndexTest, WhatNobodyHasTouchedDoesNotDifferHoweverFreshItIs) {
  Put(temp_ / "d/file", "text");
  const BaseIndex before = Scan();
  EXPECT_TRUE(CompareBases(before, Scan()).empty());
}

TEST_F(BaseIndexTest, TellsWhatIsNewTouchedAndGone) {
  for (const char* name : {"kept", "written", "replaced", "chmod", "gone", "d/inner", "kind"})
    Put(temp_ / name, "text");
  const BaseIndex before = Scan();
  Put(temp_ / "written", "texT");
  Put(temp_ / "other", "text");
  ASSERT_EQ(::rename((temp_ / "other").c_str(), (temp_ / "replaced").c_str()), 0);
  ASSERT_EQ(::chmod((temp_ / "chmod").c_str(), 0755), 0);
  ASSERT_EQ(::chmod((temp_ / "d").c_str(), 0755), 0);
  ASSERT_EQ(::unlink((temp_ / "gone").c_str()), 0);
  ASSERT_EQ(::unlink((temp_ / "kind").c_str()), 0);
  Put(temp_ / "kind/inner", "");
  using enum BaseDifference;
  EXPECT_EQ(CompareBases(before, Scan()),
            (std::map<std::string, BaseDifference>{{"chmod", kTouched},
                                                   {"d", kTouched},
                                                   {"gone", kDeleted},
                                                   {"kind", kTouched},
                                                   {"kind/inner", kAdded},
                                                   {"replaced", kTouched},
                                                   {"written", kTouched}}));
}

TEST_F(BaseIndexTest, ANewFileInADirectoryDoesNotTouchTheDirectory) {
  Put(temp_ / "d/old", "");
  const BaseIndex before = Scan();
  Put(temp_ / "d/new", "");
  EXPECT_EQ(CompareBases(before, Scan()),
            (std::map<std::string, BaseDifference>{{"d/new", BaseDifference::kAdded}}));
}

TEST_F(BaseIndexTest, SurvivesBeingWrittenAndRead) {
  Put(temp_ / "d/file", "text");
  Put(temp_ / "\xFF\n", "");
  Put(temp_ / "d.txt", "");
  const BaseIndex index = Scan();
  const auto again = BaseIndex::Decode(index.Encode());
  ASSERT_TRUE(again) << again.error().ToString();
  EXPECT_EQ(again->entries(), index.entries());
  EXPECT_EQ(again->Encode(), index.Encode());
  EXPECT_TRUE(BaseIndex::Decode(BaseIndex().Encode())->entries().empty());
}

TEST_F(BaseIndexTest, EveryChangedByteAndEveryCutIsFound) {
  Put(temp_ / "file", "text");
  Put(temp_ / "d/other", "text");
  const std::string bytes = Scan().Encode();
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    std::string damaged = bytes;
    damaged[i] = static_cast<char>(damaged[i] ^ 0x10);
    const auto index = BaseIndex::Decode(damaged);
    ASSERT_FALSE(index) << "byte " << i;
    EXPECT_EQ(index.error().code, ErrorCode::kCorrupt);
    EXPECT_FALSE(BaseIndex::Decode(bytes.substr(0, i))) << "cut at " << i;
  }
  EXPECT_FALSE(BaseIndex::Decode(bytes + bytes[0]));
}

// Content whose checksum is right, since somebody made it so.
std::string Sealed(std::string content) {
  const crypto::Sha256Digest digest = crypto::Sha256(content);
  content.append(reinterpret_cast<const char*>(digest.data()), digest.size());
  return content;
}
std::string Entry(char kind, char mode_high, const std::string& path) {
  std::string entry{kind, '\xFF', mode_high};
  entry.append(24, '\0');
  entry += static_cast<char>(path.size() & 0xFF);
  entry += static_cast<char>(path.size() >> 8);
  return entry + path;
}
std::string Index(char count, const std::string& entries) {
  std::string content = "cofferdam-base1\n";
  content += count;
  return Sealed(content + std::string(7, '\0') + entries);
}

TEST(BaseIndexDecode, TakesWhatIsRight) {
  EXPECT_TRUE(BaseIndex::Decode(Index(2, Entry(1, 1, "a") + Entry(5, 1, "b/c"))));
  EXPECT_TRUE(BaseIndex::Decode(Index(1, Entry(1, 1, std::string(255, 'a')))));
}

TEST(BaseIndexDecode, RefusesWhatNoScanWouldHaveWritten) {
  const std::vector<std::string> wrong = {
      Index(3, Entry(1, 1, "a")),                     // fewer than it says
      Index(0, Entry(1, 1, "a")),                     // more than it says
      Index(2, Entry(1, 1, "b") + Entry(1, 1, "a")),  // not in order
      Index(2, Entry(1, 1, "a") + Entry(1, 1, "a")),  // twice
      Index(1, Entry(0, 1, "a")),                     // kinds that are none
      Index(1, Entry(4, 1, "a")),
      Index(1, Entry(6, 1, "a")),
      Index(1, Entry(1, 2, "a")),  // a mode with more than permissions
      Index(1, Entry(1, 1, "")),   // paths that are none
      Index(1, Entry(1, 1, "/a")),
      Index(1, Entry(1, 1, "a/")),
      Index(1, Entry(1, 1, "a//b")),
      Index(1, Entry(1, 1, "../a")),
      Index(1, Entry(1, 1, "a/./b")),
      Index(1, Entry(1, 1, std::string("a\0b", 3))),
      Index(1, Entry(1, 1, std::string(256, 'a'))),
      Sealed("cofferdam-base2\n" + std::string(8, '\0')),
      Sealed("cofferdam-base1\n"),
      "",
  };
  for (std::size_t i = 0; i < wrong.size(); ++i) {
    const auto index = BaseIndex::Decode(wrong[i]);
    ASSERT_FALSE(index) << i;
    EXPECT_EQ(index.error().code, ErrorCode::kCorrupt) << i;
  }
}

}  // namespace
}  // namespace cofferdam::projects
