#include "projects/changes.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <filesystem>

#include <gtest/gtest.h>

#include "crypto/hex.h"
#include "crypto/sha256.h"
#include "projects/testing/files.h"
#include "sys/file.h"
#include "sys/testing/temp_dir.h"

namespace cofferdam::projects {
namespace {

using sys::TempDir;
using sys::UniqueFd;

std::string HashOf(std::string_view text) { return crypto::HexEncode(crypto::Sha256(text)); }

// An upper above one lower, written by hand as an overlay with userxattr would.
class ChangesTest : public testing::Test {
 protected:
  static constexpr std::uint64_t kMaxFileBytes = 100;

  void SetUp() override {
    for (const char* name : {"upper", "lower"})
      ASSERT_TRUE(sys::MakeDirectories(temp_ / name, 0700));
    upper_ = *sys::Open(temp_ / "upper", O_PATH | O_DIRECTORY);
    lower_ = *sys::Open(temp_ / "lower", O_PATH | O_DIRECTORY);
  }
  void Whiteout(const std::string& path) {
    ASSERT_TRUE(sys::MakeDirectories(std::filesystem::path(temp_ / path).parent_path(), 0700));
    ASSERT_EQ(::mknod((temp_ / path).c_str(), S_IFCHR, 0), 0);
  }
  void Mark(const std::string& path, const char* name, const std::string& value) {
    ASSERT_TRUE(sys::MakeDirectories(temp_ / path, 0700));
    ASSERT_EQ(::setxattr((temp_ / path).c_str(), name, value.data(), value.size(), 0), 0);
  }
  void Link(const std::string& path, const char* target) {
    ASSERT_EQ(::symlink(target, (temp_ / path).c_str()), 0);
  }
  ChangeList Find() {
    auto list = FindChanges({upper_.get(), UpperFormat::kUser},
                            {{lower_.get(), UpperFormat::kPlain}}, kMaxFileBytes);
    EXPECT_TRUE(list) << list.error().ToString();
    return *list;
  }
  using Lines = std::vector<std::string>;
  static Lines Told(const ChangeList& list) {
    Lines lines;
    for (const Change& change : list.changes) {
      std::string line(ChangeKindName(change.kind));
      if (!change.old_path.empty()) line += " " + change.old_path;
      lines.push_back(line + " " + change.path);
    }
    for (const LeftOut& left_out : list.left_out)
      lines.push_back(std::string(LeftOutName(left_out.why)) + " " + left_out.path);
    return lines;
  }

  TempDir temp_;
  UniqueFd upper_;
  UniqueFd lower_;
};

TEST_F(ChangesTest, AnEmptyUpperChangesNothing) {
  Put(temp_ / "lower/d/file", "text");
  EXPECT_EQ(Told(Find()), Lines{});
}

TEST_F(ChangesTest, TellsWhatIsNewChangedAndGone) {
  Put(temp_ / "lower/changed", "one");
  Put(temp_ / "lower/gone", "old");
  Put(temp_ / "lower/d/kept", "");
  Put(temp_ / "upper/changed", "two");
  Put(temp_ / "upper/d/new", "new");
  Whiteout("upper/gone");
  const ChangeList list = Find();
  ASSERT_EQ(Told(list), (Lines{"modified changed", "added d/new", "deleted gone"}));
  EXPECT_EQ(list.changes[0].before_sha256, HashOf("one"));
  EXPECT_EQ(list.changes[0].after_sha256, HashOf("two"));
  EXPECT_EQ(list.changes[0].before->kind, NodeKind::kFile);
  EXPECT_EQ(list.changes[1].after_sha256, HashOf("new"));
  EXPECT_FALSE(list.changes[1].before);
  EXPECT_EQ(list.changes[2].before_sha256, HashOf("old"));
  EXPECT_FALSE(list.changes[2].after);
}

TEST_F(ChangesTest, AFileThatIsTheSameAsBelowIsNoChangeWhateverItsTimes) {
  Put(temp_ / "lower/file", "same");
  Put(temp_ / "upper/file", "same");
  ASSERT_EQ(::chmod((temp_ / "upper/file").c_str(), 06600), 0);
  const timespec times[2] = {{1, 0}, {1, 0}};
  ASSERT_EQ(::utimensat(upper_.get(), "file", times, 0), 0);
  EXPECT_EQ(Told(Find()), Lines{});
}

TEST_F(ChangesTest, TellsANewModeOfAFileAndOfADirectory) {
  Put(temp_ / "lower/d/file", "same");
  Put(temp_ / "upper/d/file", "same");
  ASSERT_EQ(::chmod((temp_ / "upper/d/file").c_str(), 04755), 0);
  ASSERT_EQ(::chmod((temp_ / "upper/d").c_str(), 01755), 0);
  const ChangeList list = Find();
  ASSERT_EQ(Told(list), (Lines{"modified d", "modified d/file"}));
  EXPECT_EQ(list.changes[0].after->mode, 0755U);
  EXPECT_EQ(list.changes[1].before->mode, 0600U);
  EXPECT_EQ(list.changes[1].after->mode, 0755U);
}

TEST_F(ChangesTest, TellsWhatBecomesOfAnotherKindAndWhatWasInIt) {
  Put(temp_ / "lower/d/inner/file", "text");
  Put(temp_ / "lower/f", "text");
  Put(temp_ / "upper/d", "a file");
  Put(temp_ / "upper/f/inner", "in a directory");
  const ChangeList list = Find();
  ASSERT_EQ(Told(list), (Lines{"modified d", "deleted d/inner", "deleted d/inner/file",
                               "modified f", "added f/inner"}));
  EXPECT_EQ(list.changes[0].before->kind, NodeKind::kDirectory);
  EXPECT_EQ(list.changes[0].after->kind, NodeKind::kFile);
}

TEST_F(ChangesTest, TellsWhereALinkPointsNow) {
  Link("lower/same", "x");
  Link("upper/same", "x");
  Link("lower/other", "x");
  Link("upper/other", "y");
  Link("upper/new", "/etc/passwd");
  EXPECT_EQ(Told(Find()), (Lines{"added new", "modified other"}));
}

TEST_F(ChangesTest, ADirectoryThatWasMadeAnewIsComparedWithWhatWasThere) {
  Put(temp_ / "lower/d/same", "same");
  Put(temp_ / "lower/d/gone", "old");
  Put(temp_ / "upper/d/same", "same");
  Mark("upper/d", "user.overlay.opaque", "y");
  const ChangeList list = Find();
  EXPECT_EQ(Told(list), Lines{"deleted d/gone"});
}

TEST_F(ChangesTest, ADirectoryThatWasRenamedIsARenameOfAllThatIsInIt) {
  Put(temp_ / "lower/old/a", "1");
  Put(temp_ / "lower/old/inner/b", "2");
  Put(temp_ / "upper/new/c", "3");
  Mark("upper/new", "user.overlay.redirect", "old");
  Whiteout("upper/old");
  const ChangeList list = Find();
  EXPECT_EQ(Told(list),
            (Lines{"added new", "renamed old/a new/a", "added new/c", "added new/inner",
                   "renamed old/inner/b new/inner/b", "deleted old", "deleted old/inner"}));
  EXPECT_EQ(list.changes[0].after->redirect, "");
}

TEST_F(ChangesTest, PairsEachDeletedFileOnceAndThoseOfTheSameNameFirst) {
  for (const char* path : {"lower/1/a", "lower/2/b", "lower/3/c"}) Put(temp_ / path, "same");
  for (const char* path : {"upper/1/a", "upper/2/b", "upper/3/c"}) Whiteout(path);
  Put(temp_ / "upper/x/b", "same");
  Put(temp_ / "upper/x/z", "same");
  Link("lower/link", "target");
  Whiteout("upper/link");
  Link("upper/moved", "target");
  EXPECT_EQ(Told(Find()), (Lines{"deleted 3/c", "renamed link moved", "added x", "renamed 2/b x/b",
                                 "renamed 1/a x/z"}));
}

TEST_F(ChangesTest, ARenamedFileMayHaveAnotherMode) {
  Put(temp_ / "lower/a", "same");
  Whiteout("upper/a");
  Put(temp_ / "upper/b", "same");
  ASSERT_EQ(::chmod((temp_ / "upper/b").c_str(), 0755), 0);
  const ChangeList list = Find();
  ASSERT_EQ(Told(list), Lines{"renamed a b"});
  EXPECT_EQ(list.changes[0].before->mode, 0600U);
  EXPECT_EQ(list.changes[0].after->mode, 0755U);
}

TEST_F(ChangesTest, NamesFilesThatAreTooLargeAndComparesTheirSizes) {
  const std::string at_limit(kMaxFileBytes, 'a');
  const std::string over(kMaxFileBytes + 1, 'a');
  Put(temp_ / "upper/at_limit", at_limit);
  Put(temp_ / "upper/new", over);
  Put(temp_ / "lower/same_size", over);
  Put(temp_ / "upper/same_size", over);
  Put(temp_ / "lower/grown", "small");
  Put(temp_ / "upper/grown", over);
  Put(temp_ / "lower/shrunk", over);
  Put(temp_ / "upper/shrunk", "small");
  Put(temp_ / "lower/gone", over);
  Whiteout("upper/gone");
  const ChangeList list = Find();
  ASSERT_EQ(Told(list), (Lines{"added at_limit", "deleted gone", "modified grown", "added new",
                               "modified shrunk", "too_large grown", "too_large new",
                               "too_large same_size", "too_large shrunk"}));
  EXPECT_EQ(list.changes[0].after_sha256, HashOf(at_limit));
  EXPECT_EQ(list.changes[1].before_sha256, "");
  EXPECT_EQ(list.changes[2].before_sha256, HashOf("small"));
  EXPECT_EQ(list.changes[2].after_sha256, "");
  EXPECT_EQ(list.left_out[0].size, kMaxFileBytes + 1);
}

TEST_F(ChangesTest, ReadsNothingOfASparseFileOfATebibyte) {
  const UniqueFd file = *sys::Open(temp_ / "upper/sparse", O_WRONLY | O_CREAT, 0600);
  ASSERT_EQ(::ftruncate(file.get(), off_t{1} << 40), 0);
  const ChangeList list = Find();
  ASSERT_EQ(Told(list), (Lines{"added sparse", "too_large sparse"}));
  EXPECT_EQ(list.left_out[0].size, std::uint64_t{1} << 40);
}

TEST_F(ChangesTest, NamesSpecialFilesAndTellsWhatTheyHaveTakenThePlaceOf) {
  Put(temp_ / "lower/file", "text");
  ASSERT_EQ(::mkfifo((temp_ / "upper/file").c_str(), 0600), 0);
  ASSERT_EQ(::mkfifo((temp_ / "upper/fifo").c_str(), 0600), 0);
  ASSERT_EQ(::mkfifo((temp_ / "lower/same").c_str(), 0600), 0);
  ASSERT_EQ(::mkfifo((temp_ / "upper/same").c_str(), 0644), 0);
  ASSERT_EQ(::mkfifo((temp_ / "lower/was").c_str(), 0600), 0);
  Put(temp_ / "upper/was", "now a file");
  const ChangeList list = Find();
  ASSERT_EQ(Told(list), (Lines{"deleted file", "modified was", "special fifo", "special file"}));
  EXPECT_EQ(list.changes[1].before->kind, NodeKind::kOther);
}

TEST_F(ChangesTest, AnUpperThatNoOverlayWroteIsAllNewAndHasNoMarks) {
  Put(temp_ / "upper/d/file", "text");
  Mark("upper/d", "user.overlay.opaque", "y");
  Mark("upper/d", "user.overlay.redirect", "/../..");
  Whiteout("upper/device");
  for (const UpperFormat format : {UpperFormat::kPlain, UpperFormat::kTrusted}) {
    const auto list = FindChanges({upper_.get(), format}, {}, kMaxFileBytes);
    ASSERT_TRUE(list) << list.error().ToString();
    Lines expected = {"added d", "added d/file"};
    if (format == UpperFormat::kPlain) expected.push_back("special device");
    EXPECT_EQ(Told(*list), expected);
  }
}

TEST_F(ChangesTest, DamagedMarksAreAnErrorThatNamesThePath) {
  Mark("upper/d", "user.overlay.redirect", "/../..");
  const auto list = FindChanges({upper_.get(), UpperFormat::kUser}, {}, kMaxFileBytes);
  ASSERT_FALSE(list);
  EXPECT_EQ(list.error().code, ErrorCode::kCorrupt);
  EXPECT_TRUE(list.error().message.starts_with("'d'")) << list.error().message;
}

TEST_F(ChangesTest, LeavesOutWhatNoPathCanName) {
  const TempDir in_memory("/dev/shm");
  UniqueFd at = *sys::Open(in_memory.path(), O_PATH | O_DIRECTORY);
  const UniqueFd root = *sys::Open(in_memory.path(), O_PATH | O_DIRECTORY);
  for (int i = 0; i < 5000; ++i) {
    ASSERT_EQ(::mkdirat(at.get(), "d", 0700), 0);
    at = *sys::OpenAt(at.get(), "d", O_PATH | O_DIRECTORY);
  }
  const auto list = FindChanges({root.get(), UpperFormat::kPlain}, {}, kMaxFileBytes);
  ASSERT_TRUE(list) << list.error().ToString();
  ASSERT_EQ(list->changes.size(), (kMaxChangePathBytes + 1) / 2);
  EXPECT_LE(list->changes.back().path.size(), kMaxChangePathBytes);
  ASSERT_EQ(list->left_out.size(), 1U);
  EXPECT_EQ(list->left_out[0].why, LeftOut::Why::kPathTooLong);
}

// More directories than may wait with an open descriptor, with more in each of them.
TEST_F(ChangesTest, ABroadAndDeepTreeCostsFewDescriptors) {
  constexpr int kBroad = 300;
  std::string deep = "upper";
  for (int i = 0; i < 3; ++i) {
    for (int j = 0; j < kBroad; ++j)
      ASSERT_TRUE(sys::MakeDirectories(temp_ / (deep + "/" + std::to_string(1000 + j)), 0700));
    deep += "/1150";
    Put(temp_ / (deep + "/file"), "x");
  }
  const ChangeList list = Find();
  EXPECT_EQ(list.changes.size(), 3U * kBroad + 3);
  EXPECT_TRUE(list.left_out.empty());
}

TEST_F(ChangesTest, NamesWhatMayNotBeRead) {
  if (::getuid() != 0) GTEST_SKIP() << "needs root, to become an ordinary user";
  Put(temp_ / "upper/closed/inner", "");
  Put(temp_ / "upper/secret", "text");
  Put(temp_ / "lower/open", "old");
  Put(temp_ / "upper/open", "new");
  for (const char* path : {"", "upper", "lower", "upper/open", "lower/open"})
    ASSERT_EQ(::chmod((temp_ / path).c_str(), 0755), 0);
  const OrdinaryUser user;
  EXPECT_EQ(Told(Find()),
            (Lines{"modified open", "added secret", "unreadable closed", "unreadable secret"}));
}

TEST_F(ChangesTest, CanBeCancelled) {
  Put(temp_ / "upper/file", "text");
  std::stop_source stop;
  stop.request_stop();
  const auto list =
      FindChanges({upper_.get(), UpperFormat::kUser}, {}, kMaxFileBytes, stop.get_token());
  ASSERT_FALSE(list);
  EXPECT_EQ(list.error().code, ErrorCode::kCancelled);
}

}  // namespace
}  // namespace cofferdam::projects
