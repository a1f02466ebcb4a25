#include "projects/tree_copy.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/check.h"
#include "sys/testing/temp_dir.h"

namespace cofferdam::projects {
namespace {

class CopyTreeTest : public testing::Test {
 protected:
  CopyTreeTest() {
    for (const char* name : {"from", "to"}) CHECK(::mkdir((temp_ / name).c_str(), 0700) == 0);
    from_ = *sys::Open(temp_ / "from", O_PATH | O_DIRECTORY);
    to_ = *sys::Open(temp_ / "to", O_RDONLY | O_DIRECTORY);
  }

  void Write(const std::string& path, const std::string& text, mode_t mode = 0600) const {
    const auto file = sys::Open(temp_ / ("from/" + path), O_WRONLY | O_CREAT | O_EXCL, 0600);
    CHECK(file && sys::WriteAll(file->get(), text) && ::fchmod(file->get(), mode) == 0);
  }
  void MakeDirectory(const std::string& path, mode_t mode = 0700) const {
    CHECK(::mkdir((temp_ / ("from/" + path)).c_str(), 0700) == 0);
    CHECK(::chmod((temp_ / ("from/" + path)).c_str(), mode) == 0);
  }
  void SetAttribute(const std::string& path, const char* name, const std::string& value) const {
    CHECK(::lsetxattr((temp_ / ("from/" + path)).c_str(), name, value.data(), value.size(), 0) ==
          0);
  }
  std::string Attribute(const std::string& path, const char* name) const {
    std::array<char, 256> value;
    const ssize_t size =
        ::lgetxattr((temp_ / ("to/" + path)).c_str(), name, value.data(), value.size());
    return size < 0 ? "none" : std::string(value.data(), static_cast<std::size_t>(size));
  }
  struct stat Info(const std::string& path) const {
    struct stat info{};
    CHECK(::lstat((temp_ / path).c_str(), &info) == 0);
    return info;
  }
  bool IsThere(const std::string& path) const {
    struct stat info;
    return ::lstat((temp_ / path).c_str(), &info) == 0;
  }
  Result<std::vector<LeftOut>> Copy(UpperFormat format = UpperFormat::kPlain) const {
    const sys::Owner self = {::geteuid(), ::getegid()};
    return CopyTree({from_.get(), format}, to_.get(), {self, self});
  }

  const sys::TempDir temp_;
  sys::UniqueFd from_;
  sys::UniqueFd to_;
};

TEST_F(CopyTreeTest, FilesDirectoriesAndLinksAreCopiedWithModesAndTimes) {
  MakeDirectory("d", 0750);
  MakeDirectory("d/closed", 0700);
  Write("d/closed/f", "text", 0640);
  CHECK(::symlink("/etc/passwd", (temp_ / "from/d/link").c_str()) == 0);
  CHECK(::chmod((temp_ / "from/d/closed").c_str(), 0500) == 0);
  const std::array<timespec, 2> times = {timespec{1, 0}, timespec{1234567, 89}};
  for (const char* name : {"d/closed/f", "d/link", "d/closed", "d"})
    CHECK(::utimensat(AT_FDCWD, (temp_ / ("from/" + std::string(name))).c_str(), times.data(),
                      AT_SYMLINK_NOFOLLOW) == 0);
  const auto left_out = Copy();
  ASSERT_TRUE(left_out) << left_out.error().message;
  EXPECT_TRUE(left_out->empty());
  EXPECT_EQ(sys::ReadFile(temp_ / "to/d/closed/f").value_or(""), "text");
  for (const char* name : {"d", "d/closed", "d/closed/f", "d/link"}) {
    const struct stat from = Info("from/" + std::string(name));
    const struct stat to = Info("to/" + std::string(name));
    EXPECT_EQ(to.st_mode, from.st_mode) << name;
    EXPECT_EQ(to.st_mtim.tv_sec, 1234567) << name;
    EXPECT_EQ(to.st_mtim.tv_nsec, 89) << name;
  }
  std::array<char, 64> target;
  EXPECT_EQ(::readlink((temp_ / "to/d/link").c_str(), target.data(), target.size()), 11);
}

TEST_F(CopyTreeTest, SpecialFilesAreLeftOutAndNamed) {
  CHECK(::mkfifo((temp_ / "from/fifo").c_str(), 0600) == 0);
  CHECK(::mknod((temp_ / "from/socket").c_str(), S_IFSOCK | 0600, 0) == 0);
  std::vector<LeftOut> expected = {{"fifo", LeftOut::Why::kSpecial, 0},
                                   {"socket", LeftOut::Why::kSpecial, 0}};
  if (::geteuid() == 0) {
    CHECK(::mknod((temp_ / "from/disk").c_str(), S_IFBLK | 0666, makedev(7, 0)) == 0);
    expected.insert(expected.begin(), {"disk", LeftOut::Why::kSpecial, 0});
  }
  EXPECT_EQ(*Copy(UpperFormat::kTrusted), expected);
  EXPECT_TRUE(sys::ListDirectory(to_.get())->empty());
}

TEST_F(CopyTreeTest, SetuidSetgidAndStickyBitsAreNotCopied) {
  Write("root", "#!", 06755);
  MakeDirectory("shared", 03777);
  ASSERT_TRUE(Copy());
  EXPECT_EQ(Info("to/root").st_mode & 07777, 0755U);
  EXPECT_EQ(Info("to/shared").st_mode & 07777, 0777U);
}

TEST_F(CopyTreeTest, ASymlinkInTheSourceIsNeverFollowed) {
  CHECK(::mkdir((temp_ / "secret").c_str(), 0700) == 0);
  CHECK(::mkdir((temp_ / "secret/inside").c_str(), 0700) == 0);
  CHECK(::symlink((temp_ / "secret").c_str(), (temp_ / "from/d").c_str()) == 0);
  ASSERT_TRUE(Copy());
  EXPECT_TRUE(S_ISLNK(Info("to/d").st_mode));
}

TEST_F(CopyTreeTest, WhiteoutsAreCopiedOfAnOverlayAndLeftOutOfPlainFiles) {
  if (::mknod((temp_ / "from/gone").c_str(), S_IFCHR, makedev(0, 0)) != 0)
    GTEST_SKIP() << "needs a kernel that lets this user make whiteouts";
  EXPECT_EQ(*Copy(UpperFormat::kPlain),
            (std::vector<LeftOut>{{"gone", LeftOut::Why::kSpecial, 0}}));
  EXPECT_FALSE(IsThere("to/gone"));
  EXPECT_TRUE(Copy(UpperFormat::kTrusted)->empty());
  EXPECT_TRUE(S_ISCHR(Info("to/gone").st_mode));
  EXPECT_EQ(Info("to/gone").st_rdev, makedev(0, 0));
}

TEST_F(CopyTreeTest, MarksOfADirectoryAreThoseOfItsFormatAndNoOther) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, to set attributes trusted.*";
  MakeDirectory("d");
  SetAttribute("d", "trusted.overlay.opaque", "y");
  SetAttribute("d", "trusted.overlay.redirect", "/a/b");
  SetAttribute("d", "trusted.overlay.origin", "x");
  SetAttribute("d", "user.overlay.opaque", "y");
  SetAttribute("d", "user.overlay.redirect", "/a/b");
  SetAttribute("d", "user.mine", "kept");
  Write("f", "");
  SetAttribute("f", "trusted.overlay.metacopy", "");
  SetAttribute("f", "trusted.overlay.redirect", "/etc/shadow");
  SetAttribute("f", "user.overlay.metacopy", "");
  ASSERT_TRUE(Copy(UpperFormat::kTrusted));
  EXPECT_EQ(Attribute("d", "trusted.overlay.opaque"), "y");
  EXPECT_EQ(Attribute("d", "trusted.overlay.redirect"), "/a/b");
  EXPECT_EQ(Attribute("d", "trusted.overlay.origin"), "none");
  EXPECT_EQ(Attribute("d", "user.overlay.opaque"), "none");
  EXPECT_EQ(Attribute("d", "user.overlay.redirect"), "none");
  EXPECT_EQ(Attribute("d", "user.mine"), "kept");
  EXPECT_EQ(Attribute("f", "trusted.overlay.metacopy"), "none");
  EXPECT_EQ(Attribute("f", "trusted.overlay.redirect"), "none");
  EXPECT_EQ(Attribute("f", "user.overlay.metacopy"), "none");
}

TEST_F(CopyTreeTest, OfAnOrdinaryUsersOverlayOnlyOpaqueIsKept) {
  MakeDirectory("d");
  SetAttribute("d", "user.overlay.opaque", "y");
  SetAttribute("d", "user.overlay.redirect", "/a/b");
  ASSERT_TRUE(Copy(UpperFormat::kUser));
  EXPECT_EQ(Attribute("d", "user.overlay.opaque"), "y");
  EXPECT_EQ(Attribute("d", "user.overlay.redirect"), "none");
}

TEST_F(CopyTreeTest, CapabilitiesOfFilesAreNotCopied) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, to set a capability";
  Write("program", "#!", 0755);
  // VFS_CAP_REVISION_2, effective; CAP_SYS_ADMIN permitted.
  const std::string all(
      "\x01\x00\x00\x02\x00\x00\x20\x00\x00\x00\x00\x00"
      "\x00\x00\x00\x00\x00\x00\x00\x00",
      20);
  SetAttribute("program", "security.capability", all);
  ASSERT_TRUE(Copy());
  EXPECT_EQ(Attribute("program", "security.capability"), "none");
}

TEST_F(CopyTreeTest, HolesStayHoles) {
  const auto file = sys::Open(temp_ / "from/sparse", O_WRONLY | O_CREAT, 0600);
  ASSERT_TRUE(file);
  ASSERT_EQ(::pwrite(file->get(), "end", 3, off_t{1} << 40), 3);
  ASSERT_TRUE(Copy());
  const struct stat info = Info("to/sparse");
  EXPECT_EQ(info.st_size, (off_t{1} << 40) + 3);
  EXPECT_LT(info.st_blocks, 1024);
}

TEST_F(CopyTreeTest, FilesOfTheOwnerGetTheNewOneAndThoseOfOthersStayTheirs) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, to give files away";
  MakeDirectory("d");
  Write("d/own", "x", 0644);
  Write("d/others", "x");
  CHECK(::symlink("x", (temp_ / "from/link").c_str()) == 0);
  for (const char* name : {"from", "from/d", "from/d/own", "from/link"})
    CHECK(::lchown((temp_ / name).c_str(), 5000, 6000) == 0);
  CHECK(::lchown((temp_ / "from/d/others").c_str(), 5001, 6000) == 0);
  ASSERT_TRUE(CopyTree({from_.get(), UpperFormat::kPlain}, to_.get(),
                       {.from = {5000, 6000}, .to = {7000, 8000}}));
  for (const char* name : {"to", "to/d", "to/d/own", "to/link"}) {
    EXPECT_EQ(Info(name).st_uid, 7000U) << name;
    EXPECT_EQ(Info(name).st_gid, 8000U) << name;
  }
  EXPECT_EQ(Info("to/d/others").st_uid, 5001U);
  EXPECT_EQ(Info("to/d/own").st_mode & 07777, 0644U);
}

TEST_F(CopyTreeTest, ATreeDeeperThanAnyPathIsCopiedWhole) {
  constexpr int kDepth = 120;
  const std::string name(200, 'n');
  sys::UniqueFd at = *sys::OpenAt(from_.get(), ".", O_PATH | O_DIRECTORY);
  for (int i = 0; i < kDepth; ++i) {
    CHECK(::mkdirat(at.get(), name.c_str(), 0700) == 0);
    at = *sys::OpenAt(at.get(), name, O_PATH | O_DIRECTORY);
  }
  CHECK(sys::OpenAt(at.get(), "bottom", O_WRONLY | O_CREAT, 0600));
  const auto copied = Copy();
  ASSERT_TRUE(copied) << copied.error().message;
  at = *sys::OpenAt(to_.get(), ".", O_PATH | O_DIRECTORY);
  for (int i = 0; i < kDepth; ++i) {
    auto below = sys::OpenAt(at.get(), name, O_PATH | O_DIRECTORY);
    ASSERT_TRUE(below) << i;
    at = std::move(*below);
  }
  EXPECT_TRUE(sys::OpenAt(at.get(), "bottom", O_RDONLY));
}

TEST_F(CopyTreeTest, NamesAreBytesOfAnyKind) {
  const std::string name = "line\nfeed \xFF\x01 -rf *";
  Write(name, "x");
  ASSERT_TRUE(Copy());
  EXPECT_EQ(*sys::ListDirectory(to_.get()), std::vector<std::string>{name});
}

TEST_F(CopyTreeTest, HardLinksComeApart) {
  Write("one", "x");
  CHECK(::link((temp_ / "from/one").c_str(), (temp_ / "from/two").c_str()) == 0);
  ASSERT_TRUE(Copy());
  EXPECT_NE(Info("to/one").st_ino, Info("to/two").st_ino);
  EXPECT_NE(Info("to/one").st_ino, Info("from/one").st_ino);
}

TEST_F(CopyTreeTest, LayersAreCopiedAsTheyShowThemselvesTogether) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, for attributes trusted.* and owners";
  for (const char* layer : {"from/upper", "from/lower"})
    CHECK(::mkdir((temp_ / layer).c_str(), 0700) == 0);
  MakeDirectory("lower/d");
  Write("lower/d/hidden", "hidden");
  MakeDirectory("lower/old", 0750);
  Write("lower/old/kept", "kept");
  Write("lower/gone", "gone");
  MakeDirectory("upper/d");
  SetAttribute("upper/d", "trusted.overlay.opaque", "y");
  Write("upper/d/new", "new");
  MakeDirectory("upper/moved", 0750);
  SetAttribute("upper/moved", "trusted.overlay.redirect", "old");
  for (const char* name : {"gone", "old"})
    CHECK(::mknod((temp_ / ("from/upper/" + std::string(name))).c_str(), S_IFCHR, makedev(0, 0)) ==
          0);
  for (const char* name : {"from/lower/old", "from/lower/old/kept"})
    CHECK(::lchown((temp_ / name).c_str(), 5000, 5000) == 0);
  const sys::UniqueFd upper = *sys::Open(temp_ / "from/upper", O_PATH | O_DIRECTORY);
  const sys::UniqueFd lower = *sys::Open(temp_ / "from/lower", O_PATH | O_DIRECTORY);
  const auto copied = CopyMergedTree(
      {{upper.get(), UpperFormat::kTrusted}, {lower.get(), UpperFormat::kPlain}}, to_.get(),
      {{.from = {0, 0}, .to = {7000, 7000}}, {.from = {5000, 5000}, .to = {7000, 7000}}});
  ASSERT_TRUE(copied) << copied.error().message;
  EXPECT_TRUE(copied->empty());
  std::vector<std::string> names = *sys::ListDirectory(to_.get());
  std::ranges::sort(names);
  EXPECT_EQ(names, (std::vector<std::string>{"d", "moved"}));
  EXPECT_FALSE(IsThere("to/d/hidden"));
  EXPECT_EQ(sys::ReadFile(temp_ / "to/d/new").value_or(""), "new");
  EXPECT_EQ(sys::ReadFile(temp_ / "to/moved/kept").value_or(""), "kept");
  EXPECT_EQ(Info("to/moved/kept").st_uid, 7000U);
  EXPECT_EQ(Info("to/d/new").st_uid, 7000U);
  EXPECT_EQ(Attribute("d", "trusted.overlay.opaque"), "none");
  EXPECT_EQ(Attribute("moved", "trusted.overlay.redirect"), "none");
}

TEST_F(CopyTreeTest, EndsWhenItIsCancelled) {
  Write("f", "x");
  std::stop_source stop;
  stop.request_stop();
  const sys::Owner self = {::geteuid(), ::getegid()};
  const auto copied =
      CopyTree({from_.get(), UpperFormat::kPlain}, to_.get(), {self, self}, stop.get_token());
  EXPECT_EQ(copied.error().code, ErrorCode::kCancelled);
}

}  // namespace
}  // namespace cofferdam::projects
