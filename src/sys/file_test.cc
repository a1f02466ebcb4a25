#include "sys/file.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include <gtest/gtest.h>

#include "sys/testing/temp_dir.h"

namespace cofferdam::sys {
namespace {

void Put(const std::string& path, std::string_view text) {
  const UniqueFd fd = *Open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  ASSERT_TRUE(WriteAll(fd.get(), text));
}

class OpenBeneathTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(MakeDirectories(temp_ / "root/inner", 0700));
    Put(temp_ / "secret", "secret");
    Put(temp_ / "root/inner/file", "inside");
    ASSERT_EQ(::symlink("inner/file", (temp_ / "root/good-link").c_str()), 0);
    ASSERT_EQ(::symlink("../secret", (temp_ / "root/bad-link").c_str()), 0);
    ASSERT_EQ(::symlink("/etc/passwd", (temp_ / "root/absolute-link").c_str()), 0);
    root_ = *Open(temp_ / "root", O_PATH | O_DIRECTORY);
  }
  ErrorCode Refusal(const std::string& path, Links links) {
    auto fd = OpenBeneath(root_.get(), path, O_RDONLY, links);
    return fd ? ErrorCode::kInternal : fd.error().code;
  }
  TempDir temp_;
  UniqueFd root_;
};

TEST_F(OpenBeneathTest, OpensWhatStaysBeneath) {
  EXPECT_EQ(*ReadAll(OpenBeneath(root_.get(), "inner/file", O_RDONLY, Links::kRefuse)->get(), 99),
            "inside");
  EXPECT_EQ(*ReadAll(OpenBeneath(root_.get(), "good-link", O_RDONLY, Links::kBeneath)->get(), 99),
            "inside");
  EXPECT_TRUE(OpenBeneath(root_.get(), "inner/../inner/file", O_RDONLY, Links::kBeneath));
}

TEST_F(OpenBeneathTest, RefusesWhatLeadsOut) {
  for (const Links links : {Links::kBeneath, Links::kRefuse})
    for (const char* path :
         {"../secret", "bad-link", "absolute-link", "/etc/passwd", "inner/../../secret"})
      EXPECT_EQ(Refusal(path, links), ErrorCode::kPermissionDenied) << path;
  EXPECT_EQ(Refusal("good-link", Links::kRefuse), ErrorCode::kPermissionDenied);
}

TEST_F(OpenBeneathTest, OpensAnEntryThatIsNoLinkAndNoWayUp) {
  const auto refusal = [&](const std::string& name) {
    auto fd = OpenEntry(root_.get(), name, O_RDONLY);
    return fd ? 0 : fd.error().sys_errno;
  };
  EXPECT_EQ(refusal("inner"), 0);
  EXPECT_EQ(refusal("good-link"), ELOOP);
  EXPECT_EQ(refusal("absolute-link"), ELOOP);
  EXPECT_EQ(refusal(".."), EXDEV);
  ASSERT_EQ(::mkfifo((temp_ / "root/fifo").c_str(), 0600), 0);
  EXPECT_EQ(refusal("fifo"), 0) << "without waiting for a writer";
}

TEST(RemoveTree, RemovesEverythingBelowAndNothingThatASymlinkPointsTo) {
  const TempDir temp;
  ASSERT_TRUE(MakeDirectories(temp / "tree/a/b", 0700));
  Put(temp / "kept", "x");
  Put(temp / "tree/a/b/file", "x");
  ASSERT_EQ(::symlink("../../kept", (temp / "tree/a/link").c_str()), 0);
  const UniqueFd dir = *Open(temp.path(), O_RDONLY | O_DIRECTORY);
  ASSERT_TRUE(RemoveTree(dir.get(), "tree"));
  EXPECT_EQ(*ListDirectory(dir.get()), std::vector<std::string>{"kept"});
  EXPECT_TRUE(RemoveTree(dir.get(), "tree"));
}

TEST(RemoveTree, RemovesATreeDeeperThanAnyPathAndThanWhatMayBeOpen) {
  const TempDir temp;
  const UniqueFd top = *Open(temp.path(), O_RDONLY | O_DIRECTORY);
  const std::string name(250, 'd');
  ASSERT_EQ(::mkdirat(top.get(), name.c_str(), 0700), 0);
  UniqueFd at = *OpenAt(top.get(), name, O_RDONLY | O_DIRECTORY);
  ASSERT_EQ(::mkdirat(at.get(), ".deeper-1", 0700), 0) << "a name that it may take itself";
  for (int i = 0; i < 500; ++i) {
    ASSERT_EQ(::mkdirat(at.get(), name.c_str(), 0700), 0);
    at = *OpenAt(at.get(), name, O_RDONLY | O_DIRECTORY);
  }
  ASSERT_TRUE(OpenAt(at.get(), "bottom", O_WRONLY | O_CREAT, 0600));
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit few{200, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
  const Status removed = RemoveTree(top.get(), name);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_TRUE(removed) << removed.error().ToString();
  EXPECT_TRUE(ListDirectory(top.get())->empty());
}

TEST(RemoveTree, RemovesDirectoriesWhoseOwnerMayNotEnterOrChangeThem) {
  const TempDir temp;
  std::vector<std::string> names = {"tree"};
  for (const mode_t mode : {0000, 0100, 0200, 0400, 0500, 0600}) {
    const std::string closed = "tree/" + std::to_string(mode);
    ASSERT_TRUE(MakeDirectories(temp / closed, 0700));
    Put(temp / (closed + "/file"), "x");
    names.insert(names.end(), {closed, closed + "/file"});
    ASSERT_EQ(::chmod((temp / closed).c_str(), mode), 0);
  }
  ASSERT_EQ(::chown(temp.path().c_str(), 65534, 65534) == 0 || ::geteuid() != 0, true);
  for (const std::string& name : names)
    ASSERT_TRUE(::lchown((temp / name).c_str(), 65534, 65534) == 0 || ::geteuid() != 0);
  // The superuser enters everything, so the question is asked as somebody else.
  const pid_t pid = ::fork();
  if (pid == 0) {
    if (::geteuid() == 0 &&
        (::setresgid(65534, 65534, 65534) != 0 || ::setresuid(65534, 65534, 65534) != 0))
      ::_exit(2);
    const auto dir = Open(temp.path(), O_RDONLY | O_DIRECTORY);
    ::_exit(dir && RemoveTree(dir->get(), "tree") ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(GiveTree, GivesWhatWasItsOwnersAndNothingThatASymlinkPointsTo) {
  if (::geteuid() != 0) GTEST_SKIP() << "only the superuser gives files away";
  constexpr uid_t kOld = 12'288;
  constexpr uid_t kNew = 16'384;
  const TempDir temp;
  ASSERT_TRUE(MakeDirectories(temp / "tree/a/b", 0700));
  for (const char* name : {"outside", "tree/a/b/file", "tree/another's"}) Put(temp / name, "x");
  ASSERT_EQ(::symlink("../../outside", (temp / "tree/a/link").c_str()), 0);
  ASSERT_EQ(::symlink("../outside", (temp / "tree/directory").c_str()), 0);
  for (const char* name :
       {"outside", "tree", "tree/a", "tree/a/b", "tree/a/b/file", "tree/a/link", "tree/directory"})
    ASSERT_EQ(::lchown((temp / name).c_str(), kOld, kOld), 0);
  const UniqueFd dir = *Open(temp.path(), O_RDONLY | O_DIRECTORY);
  ASSERT_TRUE(GiveTree(dir.get(), "tree", {kNew, kNew}));
  const auto owner = [&](const char* name) {
    struct stat info{};
    EXPECT_EQ(::lstat((temp / name).c_str(), &info), 0);
    return info.st_uid == info.st_gid ? info.st_uid : ~0U;
  };
  for (const char* name :
       {"tree", "tree/a", "tree/a/b", "tree/a/b/file", "tree/a/link", "tree/directory"})
    EXPECT_EQ(owner(name), kNew) << name;
  EXPECT_EQ(owner("tree/another's"), 0U);
  EXPECT_EQ(owner("outside"), kOld);
}

TEST(OpenNamed, FollowsSymlinksButNoMagicLink) {
  const TempDir temp;
  Put(temp / "file", "text");
  ASSERT_EQ(::symlink("file", (temp / "link").c_str()), 0);
  EXPECT_TRUE(OpenNamed(temp / "link", O_RDONLY));
  EXPECT_TRUE(OpenNamed(temp / "new", O_WRONLY | O_CREAT, 0600));
  const UniqueFd open = *Open(temp / "file", O_RDONLY);
  const std::string magic = "/proc/self/fd/" + std::to_string(open.get());
  EXPECT_TRUE(Open(magic, O_RDONLY));
  EXPECT_EQ(OpenNamed(magic, O_RDONLY).error().sys_errno, ELOOP);
  EXPECT_EQ(OpenNamed("/proc/self/exe", O_RDONLY).error().sys_errno, ELOOP);
  ASSERT_EQ(::symlink(magic.c_str(), (temp / "to-magic").c_str()), 0);
  EXPECT_EQ(OpenNamed(temp / "to-magic", O_RDONLY).error().sys_errno, ELOOP);
}

TEST(ListDirectory, NamesEveryEntryOnce) {
  const TempDir temp;
  Put(temp / "a", "");
  Put(temp / "b\n", "");
  const UniqueFd dir = *Open(temp.path(), O_PATH | O_DIRECTORY);
  auto names = *ListDirectory(dir.get());
  std::ranges::sort(names);
  EXPECT_EQ(names, (std::vector<std::string>{"a", "b\n"}));
}

TEST(ReadFile, RefusesAFileAboveTheLimit) {
  const TempDir temp;
  Put(temp / "f", "12345");
  EXPECT_EQ(*ReadFile(temp / "f", 5), "12345");
  EXPECT_EQ(ReadFile(temp / "f", 4).error().code, ErrorCode::kTooLarge);
}

}  // namespace
}  // namespace cofferdam::sys
