#include "projects/tree_walk.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include <gtest/gtest.h>

#include "base/utf8.h"
#include "projects/testing/files.h"
#include "sys/file.h"
#include "sys/testing/temp_dir.h"

namespace cofferdam::projects {
namespace {

using sys::TempDir;
using sys::UniqueFd;

class WalkTest : public testing::Test {
 protected:
  void SetUp() override { root_ = *sys::Open(temp_.path(), O_PATH | O_DIRECTORY); }

  std::vector<std::string> Walked() {
    std::vector<std::string> paths;
    EXPECT_TRUE(WalkTree(root_.get(), [&](const TreeEntry& entry) -> Result<Descend> {
      paths.push_back(entry.path);
      return Descend::kYes;
    }));
    return paths;
  }
  struct stat Lstat(const std::string& name) {
    struct stat info;
    EXPECT_EQ(::fstatat(root_.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW), 0) << name;
    return info;
  }
  Result<Node> Read(const std::string& name, UpperFormat format = UpperFormat::kPlain) {
    return ReadNode(root_.get(), name, Lstat(name), format);
  }

  TempDir temp_;
  UniqueFd root_;
};

TEST_F(WalkTest, VisitsDirectoriesBeforeTheirContentsInTheOrderOfTheBytes) {
  Put(temp_ / "b", "");
  Put(temp_ / "a/x", "");
  Put(temp_ / "a/inner/y", "");
  Put(temp_ / "a.txt", "");
  ASSERT_EQ(::symlink("/etc", (temp_ / "link").c_str()), 0);
  EXPECT_EQ(Walked(),
            (std::vector<std::string>{"a", "a/inner", "a/inner/y", "a/x", "a.txt", "b", "link"}));
}

TEST_F(WalkTest, TakesNamesOfAnyBytes) {
  const std::vector<std::string> names = {"\x01", "\n",   " ",        "*",
                                          "\\",   "\x7F", "\xC3\xA4", "\xFF\xFE"};
  for (const std::string& name : names) Put(temp_ / name, "");
  EXPECT_EQ(Walked(), names);
}

TEST_F(WalkTest, DoesNotDescendWhereItIsToldNotTo) {
  Put(temp_ / "a/x", "");
  Put(temp_ / "b/y", "");
  std::vector<std::string> paths;
  EXPECT_TRUE(WalkTree(root_.get(), [&](const TreeEntry& entry) -> Result<Descend> {
    paths.push_back(entry.path);
    return entry.path == "a" ? Descend::kNo : Descend::kYes;
  }));
  EXPECT_EQ(paths, (std::vector<std::string>{"a", "b", "b/y"}));
}

TEST_F(WalkTest, EndsWithTheErrorOfTheVisitor) {
  Put(temp_ / "a", "");
  const Status status = WalkTree(root_.get(), [](const TreeEntry&) -> Result<Descend> {
    return Err(ErrorCode::kTooLarge, "enough");
  });
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ErrorCode::kTooLarge);
}

TEST_F(WalkTest, CanBeCancelled) {
  for (int i = 0; i < 10; ++i) Put(temp_ / std::to_string(i), "");
  std::stop_source stop;
  int visited = 0;
  const Status status = WalkTree(
      root_.get(),
      [&](const TreeEntry&) -> Result<Descend> {
        if (++visited == 3) stop.request_stop();
        return Descend::kYes;
      },
      stop.get_token());
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ErrorCode::kCancelled);
  EXPECT_EQ(visited, 3);
}

std::size_t OpenDescriptors() {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd"))
    ++count;
  return count;
}

// A chain of directories with a file beside each, which is visited on the way back.
void MakeDeep(int root, int depth) {
  UniqueFd at = *sys::OpenAt(root, ".", O_PATH | O_DIRECTORY);
  for (int i = 0; i < depth; ++i) {
    ASSERT_EQ(::mkdirat(at.get(), "d", 0700), 0);
    ASSERT_TRUE(sys::OpenAt(at.get(), "z", O_WRONLY | O_CREAT, 0600));
    at = *sys::OpenAt(at.get(), "d", O_PATH | O_DIRECTORY);
  }
}

TEST_F(WalkTest, ComesBackFromAnyDepthWithFewDescriptors) {
  constexpr int kDepth = 5000;
  const TempDir in_memory("/dev/shm");
  const UniqueFd root = *sys::Open(in_memory.path(), O_PATH | O_DIRECTORY);
  MakeDeep(root.get(), kDepth);
  const std::size_t before = OpenDescriptors();
  std::size_t most = 0;
  int directories = 0;
  int files = 0;
  ASSERT_TRUE(WalkTree(root.get(), [&](const TreeEntry& entry) -> Result<Descend> {
    S_ISDIR(entry.info.st_mode) ? ++directories : ++files;
    if (directories + files == kDepth) most = OpenDescriptors();
    EXPECT_EQ(::faccessat(entry.parent, entry.name.c_str(), F_OK, 0), 0);
    return Descend::kYes;
  }));
  EXPECT_EQ(directories, kDepth);
  EXPECT_EQ(files, kDepth);
  EXPECT_LE(most, before + 70);
  EXPECT_EQ(OpenDescriptors(), before);
}

// While the walk is far down, what it came through is moved: ".." leads elsewhere.
TEST_F(WalkTest, FindsItsWayBackByTheNamesWhenTheTreeBelowIsMovedAway) {
  ASSERT_EQ(::mkdir((temp_ / "elsewhere").c_str(), 0700), 0);
  ASSERT_EQ(::mkdir((temp_ / "top").c_str(), 0700), 0);
  const UniqueFd top = *sys::Open(temp_ / "top", O_PATH | O_DIRECTORY);
  MakeDeep(top.get(), 200);
  std::vector<std::string> after;
  bool moved = false;
  ASSERT_TRUE(WalkTree(top.get(), [&](const TreeEntry& entry) -> Result<Descend> {
    if (moved && entry.path.size() < 40) after.push_back(entry.path);
    if (!moved && entry.path.ends_with("z")) {
      EXPECT_EQ(::rename((temp_ / "top/d/d").c_str(), (temp_ / "elsewhere/d").c_str()), 0);
      Put(temp_ / "elsewhere/bait", "");
      moved = true;
    }
    return Descend::kYes;
  }));
  ASSERT_GE(after.size(), 2U);
  after.erase(after.begin(), after.end() - 2);
  EXPECT_EQ(after, (std::vector<std::string>{"d/z", "z"}));
}

TEST_F(WalkTest, LeavesOutADirectoryThatIsSwappedForALink) {
  Put(temp_ / "a/x", "");
  std::vector<std::string> paths;
  ASSERT_TRUE(WalkTree(root_.get(), [&](const TreeEntry& entry) -> Result<Descend> {
    paths.push_back(entry.path);
    EXPECT_EQ(::rename((temp_ / "a").c_str(), (temp_ / "gone").c_str()), 0);
    EXPECT_EQ(::symlink("/etc", (temp_ / "a").c_str()), 0);
    return Descend::kYes;
  }));
  EXPECT_EQ(paths, (std::vector<std::string>{"a"}));
}

TEST_F(WalkTest, LeavesOutADirectoryThatIsSwappedForAnother) {
  Put(temp_ / "a/x", "");
  Put(temp_ / "b/secret", "");
  std::vector<std::string> paths;
  ASSERT_TRUE(WalkTree(root_.get(), [&](const TreeEntry& entry) -> Result<Descend> {
    paths.push_back(entry.path);
    if (entry.path == "b") return Descend::kNo;
    EXPECT_EQ(::renameat2(AT_FDCWD, (temp_ / "a").c_str(), AT_FDCWD, (temp_ / "b").c_str(),
                          RENAME_EXCHANGE),
              0);
    return Descend::kYes;
  }));
  EXPECT_EQ(paths, (std::vector<std::string>{"a", "b"}));
}

// Whoever swaps a directory for a link in a loop gets nothing of what the link points to walked.
TEST_F(WalkTest, NeverFollowsALinkThatIsSwappedInWhileItWalks) {
  const TempDir outside;
  Put(outside / "secret", "");
  for (int i = 0; i < 20; ++i) Put(temp_ / ("tree/" + std::to_string(i) + "/inside"), "");
  ASSERT_EQ(::symlink(outside.path().c_str(), (temp_ / "link").c_str()), 0);
  std::jthread swapper([&](const std::stop_token& stop) {
    const std::string link = temp_ / "link";
    for (int i = 0; !stop.stop_requested(); ++i) {
      const std::string victim = temp_ / ("tree/" + std::to_string(i % 20));
      ::renameat2(AT_FDCWD, link.c_str(), AT_FDCWD, victim.c_str(), RENAME_EXCHANGE);
      ::renameat2(AT_FDCWD, link.c_str(), AT_FDCWD, victim.c_str(), RENAME_EXCHANGE);
    }
  });
  const UniqueFd tree = *sys::Open(temp_ / "tree", O_PATH | O_DIRECTORY);
  int inside = 0;
  for (int i = 0; i < 300; ++i)
    ASSERT_TRUE(WalkTree(tree.get(), [&](const TreeEntry& entry) -> Result<Descend> {
      EXPECT_NE(entry.name, "secret") << entry.path;
      // It is looked at, and not open yet: the time for a swap.
      for (int j = 0; j < 5; ++j) ::sched_yield();
      inside += entry.name == "inside" ? 1 : 0;
      auto file = OpenFile(entry.parent, entry.name, entry.info);
      EXPECT_TRUE(file || file.error().code == ErrorCode::kNotFound) << file.error().ToString();
      return Descend::kYes;
    }));
  EXPECT_GT(inside, 300);
}

TEST_F(WalkTest, DoesNotEnterMountPoints) {
  if (::getuid() != 0) GTEST_SKIP() << "needs root, to mount";
  Put(temp_ / "bound/inner", "");
  ASSERT_EQ(::mkdir((temp_ / "bind").c_str(), 0700), 0);
  ASSERT_EQ(::mkdir((temp_ / "tmpfs").c_str(), 0700), 0);
  const OwnMounts mounts;
  ASSERT_EQ(::mount((temp_ / "bound").c_str(), (temp_ / "bind").c_str(), nullptr, MS_BIND, nullptr),
            0);
  ASSERT_EQ(::mount("none", (temp_ / "tmpfs").c_str(), "tmpfs", 0, nullptr), 0);
  Put(temp_ / "tmpfs/inner", "");
  root_ = *sys::Open(temp_.path(), O_PATH | O_DIRECTORY);
  EXPECT_EQ(Walked(), (std::vector<std::string>{"bind", "bound", "bound/inner", "tmpfs"}));
}

TEST_F(WalkTest, NamesADirectoryThatMayNotBeRead) {
  if (::getuid() != 0) GTEST_SKIP() << "needs root, to become an ordinary user";
  Put(temp_ / "closed/x", "");
  Put(temp_ / "open/y", "");
  Put(temp_ / "unsearchable/z", "");
  ASSERT_EQ(::chmod(temp_.path().c_str(), 0755), 0);
  ASSERT_EQ(::chmod((temp_ / "open").c_str(), 0755), 0);
  ASSERT_EQ(::chmod((temp_ / "unsearchable").c_str(), 0744), 0);
  const OrdinaryUser user;
  std::vector<std::string> paths;
  std::vector<std::string> unreadable;
  const auto visit = [&](const TreeEntry& entry) -> Result<Descend> {
    paths.push_back(entry.path);
    return Descend::kYes;
  };
  const Status status = WalkTree(root_.get(), visit);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ErrorCode::kPermissionDenied);
  paths.clear();
  EXPECT_TRUE(WalkTree(root_.get(), visit, {},
                       [&](const std::string& path) { unreadable.push_back(path); }));
  EXPECT_EQ(paths, (std::vector<std::string>{"closed", "open", "open/y", "unsearchable"}));
  EXPECT_EQ(unreadable, (std::vector<std::string>{"closed", "unsearchable"}));
}

TEST_F(WalkTest, ReadsWhatFilesDirectoriesAndLinksAre) {
  Put(temp_ / "file", "four");
  ASSERT_EQ(::chmod((temp_ / "file").c_str(), 06750), 0);
  ASSERT_EQ(::mkdir((temp_ / "directory").c_str(), 0700), 0);
  ASSERT_EQ(::chmod((temp_ / "directory").c_str(), 01777), 0);
  ASSERT_EQ(::symlink("to\nnowhere", (temp_ / "link").c_str()), 0);
  ASSERT_EQ(::mkfifo((temp_ / "fifo").c_str(), 0600), 0);
  const timespec times[2] = {{1, 2}, {3, 4}};
  for (const char* name : {"file", "directory", "link", "fifo"})
    ASSERT_EQ(::utimensat(root_.get(), name, times, AT_SYMLINK_NOFOLLOW), 0);
  constexpr std::int64_t kModified = 3'000'000'004;
  EXPECT_EQ(*Read("file"), (Node{NodeKind::kFile, 0750, 4, kModified}));
  EXPECT_EQ(*Read("directory"), (Node{NodeKind::kDirectory, 0777, 0, kModified}));
  EXPECT_EQ(*Read("link"), (Node{NodeKind::kSymlink, 0, 0, kModified, "to\nnowhere"}));
  EXPECT_EQ(*Read("fifo"), (Node{NodeKind::kOther, 0, 0, kModified}));
}

TEST_F(WalkTest, TakesTimesThatNanosecondsCannotSay) {
  Put(temp_ / "file", "");
  const timespec times[2] = {{15'000'000'000, 0}, {15'000'000'000, 999'999'999}};
  ASSERT_EQ(::utimensat(root_.get(), "file", times, 0), 0);
  EXPECT_GT(Read("file")->modified_nanos, std::int64_t{9'000'000'000} * 1'000'000'000);
}

TEST_F(WalkTest, AWhiteoutIsOneOnlyWhereAnOverlayWroteIt) {
  ASSERT_EQ(::mknod((temp_ / "gone").c_str(), S_IFCHR, 0), 0);
  EXPECT_EQ(Read("gone", UpperFormat::kTrusted)->kind, NodeKind::kWhiteout);
  EXPECT_EQ(Read("gone", UpperFormat::kUser)->kind, NodeKind::kWhiteout);
  EXPECT_EQ(Read("gone", UpperFormat::kPlain)->kind, NodeKind::kOther);
  if (::mknod((temp_ / "null").c_str(), S_IFCHR, makedev(1, 3)) == 0) {
    EXPECT_EQ(Read("null", UpperFormat::kTrusted)->kind, NodeKind::kOther);
  }
}

void Mark(const std::string& path, const char* name, std::string_view value) {
  ASSERT_EQ(::setxattr(path.c_str(), name, value.data(), value.size(), 0), 0) << name;
}

TEST_F(WalkTest, AnAttributeMeansSomethingOnlyInItsFormat) {
  ASSERT_EQ(::mkdir((temp_ / "d").c_str(), 0700), 0);
  Mark(temp_ / "d", "user.overlay.opaque", "y");
  Mark(temp_ / "d", "user.overlay.redirect", "/old/place");
  for (const UpperFormat format : {UpperFormat::kPlain, UpperFormat::kTrusted}) {
    EXPECT_FALSE(Read("d", format)->opaque);
    EXPECT_EQ(Read("d", format)->redirect, "");
  }
  EXPECT_TRUE(Read("d", UpperFormat::kUser)->opaque);
  EXPECT_EQ(Read("d", UpperFormat::kUser)->redirect, "/old/place");
  if (::getuid() != 0) GTEST_SKIP() << "needs root, for trusted attributes";
  Mark(temp_ / "d", "trusted.overlay.opaque", "y");
  Mark(temp_ / "d", "trusted.overlay.redirect", "beside");
  EXPECT_TRUE(Read("d", UpperFormat::kTrusted)->opaque);
  EXPECT_EQ(Read("d", UpperFormat::kTrusted)->redirect, "beside");
  EXPECT_EQ(Read("d", UpperFormat::kUser)->redirect, "/old/place");
}

TEST_F(WalkTest, OpaqueIsOnlyWhatTheKernelTakesForIt) {
  ASSERT_EQ(::mkdir((temp_ / "d").c_str(), 0700), 0);
  for (const char* value : {"", "x", "n", "yy"}) {
    Mark(temp_ / "d", "user.overlay.opaque", value);
    EXPECT_FALSE(Read("d", UpperFormat::kUser)->opaque) << value;
  }
}

TEST_F(WalkTest, ARedirectThatLeadsNowhereIsDamage) {
  ASSERT_EQ(::mkdir((temp_ / "d").c_str(), 0700), 0);
  for (const std::string& value :
       {std::string("/"), std::string("//a"), std::string("/a/"), std::string("/a//b"),
        std::string("a/b"), std::string(".."), std::string("/.."), std::string("/a/../../etc"),
        std::string("."), std::string("/a/."), std::string("a\0b", 3), std::string(300, 'a')}) {
    Mark(temp_ / "d", "user.overlay.redirect", value);
    const auto node = Read("d", UpperFormat::kUser);
    ASSERT_FALSE(node) << value;
    EXPECT_EQ(node.error().code, ErrorCode::kCorrupt) << value;
  }
}

TEST_F(WalkTest, OpensNothingButTheVeryFileThatWasSeen) {
  Put(temp_ / "file", "first");
  const struct stat info = Lstat("file");
  EXPECT_EQ(*sys::ReadAll(OpenFile(root_.get(), "file", info)->get(), 99), "first");
  const auto refused = [&] {
    const auto file = OpenFile(root_.get(), "file", info);
    return !file && file.error().code == ErrorCode::kNotFound;
  };
  ASSERT_EQ(::rename((temp_ / "file").c_str(), (temp_ / "first").c_str()), 0);
  EXPECT_TRUE(refused());
  Put(temp_ / "file", "second");
  EXPECT_TRUE(refused());
  ASSERT_EQ(::unlink((temp_ / "file").c_str()), 0);
  ASSERT_EQ(::symlink("first", (temp_ / "file").c_str()), 0);
  EXPECT_TRUE(refused());
  ASSERT_EQ(::unlink((temp_ / "file").c_str()), 0);
  ASSERT_EQ(::mkdir((temp_ / "file").c_str(), 0700), 0);
  EXPECT_TRUE(refused());
}

TEST_F(WalkTest, NeitherAFifoNorASocketBlocksIt) {
  Put(temp_ / "file", "");
  const struct stat info = Lstat("file");
  ASSERT_EQ(::unlink((temp_ / "file").c_str()), 0);
  ASSERT_EQ(::mkfifo((temp_ / "file").c_str(), 0600), 0);
  EXPECT_FALSE(OpenFile(root_.get(), "file", info));
  EXPECT_FALSE(OpenFile(root_.get(), "file", Lstat("file")));
  ASSERT_EQ(::unlink((temp_ / "file").c_str()), 0);
  const UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  (temp_ / "file").copy(address.sun_path, sizeof(address.sun_path) - 1);
  ASSERT_EQ(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  EXPECT_FALSE(OpenFile(root_.get(), "file", info));
  EXPECT_EQ(Read("file")->kind, NodeKind::kOther);
}

TEST_F(WalkTest, AStampOfAFileThatWasJustChangedFitsNothing) {
  Put(temp_ / "file", "1");
  const struct stat info = Lstat("file");
  const std::int64_t changed =
      std::int64_t{info.st_ctim.tv_sec} * 1'000'000'000 + info.st_ctim.tv_nsec;
  const Stamp fresh = StampOf(info, changed + kStampSettleNanos - 1);
  EXPECT_EQ(fresh.changed_nanos, 0);
  EXPECT_FALSE(StampsFit(fresh, fresh));
  const Stamp settled = StampOf(info, changed + kStampSettleNanos);
  EXPECT_EQ(settled, (Stamp{info.st_ino, 1, changed}));
  EXPECT_TRUE(StampsFit(settled, settled));
  EXPECT_FALSE(StampsFit(settled, fresh));
}

TEST(PathForPerson, ShowsWhatCannotBeReadAsItsBytes) {
  EXPECT_EQ(PathForPerson("src/\xC3\xA4.txt"), "src/\xC3\xA4.txt");
  EXPECT_EQ(PathForPerson("a\nb\x1B[2J\x7F"), "a\\x0ab\\x1b[2J\\x7f");
  EXPECT_EQ(PathForPerson("\xFF\xC3"), "\\xff\\xc3");
  EXPECT_EQ(PathForPerson("a\\x0a"), "a\\x5cx0a");
  EXPECT_EQ(PathForPerson("\xC2\x9B"), "\\xc2\\x9b");           // CSI, as C1
  EXPECT_EQ(PathForPerson("\xE2\x80\xAE"), "\\xe2\\x80\\xae");  // right-to-left override
  EXPECT_EQ(PathForPerson("\xE2\x81\xA6"), "\\xe2\\x81\\xa6");  // isolate
  EXPECT_EQ(PathForPerson("\xE2\x82\xAC"), "\xE2\x82\xAC");     // euro
}

TEST(PathForPerson, IsBoundedAndNeverCutsACharacter) {
  EXPECT_EQ(PathForPerson(std::string(4093, 'a')), std::string(4093, 'a'));
  EXPECT_EQ(PathForPerson(std::string(5000, 'a')), std::string(4093, 'a') + "...");
  std::string long_path;
  for (int i = 0; i < 3000; ++i) long_path += "\xC3\xA4";
  const std::string shown = PathForPerson(long_path);
  EXPECT_LE(shown.size(), 4096U);
  EXPECT_TRUE(IsValidUtf8(shown));
}

}  // namespace
}  // namespace cofferdam::projects
