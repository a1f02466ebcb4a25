// Against a file system with project quota: the directory that COFFERDAM_TEST_QUOTA_DIRECTORY
// names, as tests/guest sets it. Elsewhere only what says that there is none can be tested.
#include "sandbox/disk_quota.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/fs.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <functional>
#include <memory>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sandbox/local_sandbox.h"
#include "sys/file.h"
#include "sys/process.h"
#include "sys/testing/temp_dir.h"

namespace cofferdam::sandbox {
namespace {

using testing::AnyOf;
using testing::HasSubstr;

constexpr std::uint64_t kMiB = 1 << 20;

TEST(CheckProjectQuota, SaysWhatIsMissing) {
  const sys::UniqueFd proc = *sys::Open("/proc", O_RDONLY | O_DIRECTORY);
  const Status possible = CheckProjectQuota(proc.get());
  ASSERT_FALSE(possible);
  EXPECT_EQ(possible.error().code, ErrorCode::kUnsupported);
  EXPECT_THAT(possible.error().message, HasSubstr("there is no project quota here"));
  EXPECT_THAT(possible.error().hint, HasSubstr("prjquota"));
}

TEST(ProjectOf, IsNoneWhereThereAreNoProjects) {
  const sys::UniqueFd proc = *sys::Open("/proc", O_RDONLY | O_DIRECTORY);
  EXPECT_EQ(ProjectOf(proc.get()).value_or(1), 0U);
}

/// What `work` gives in a process in a user namespace of the tools' ids.
int InUserNamespace(const std::function<int()>& work) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    // The directory's owner, so that nothing but the namespace is in the way.
    const HostIdentity tools = ToolIdentity();
    if (::setgroups(0, nullptr) != 0 || ::setresgid(tools.gid, tools.gid, tools.gid) != 0 ||
        ::setresuid(tools.uid, tools.uid, tools.uid) != 0 || ::unshare(CLONE_NEWUSER) != 0)
      ::_exit(100);
    ::_exit(work());
  }
  const auto status = sys::Reap(pid);
  return status && WIFEXITED(*status) ? WEXITSTATUS(*status) : 101;
}

struct QuotaDisk {
  const char* name;
  const char* file_system;
};

class DiskQuotaTest : public testing::TestWithParam<QuotaDisk> {
 protected:
  void SetUp() override {
    if (const std::string why = Mount(); !why.empty()) GTEST_SKIP() << why;
    for (sys::UniqueFd* fd : {&work_, &home_}) {
      const std::string path = mount_point_ / (fd == &work_ ? "work" : "home");
      ASSERT_TRUE(sys::RemoveTree(AT_FDCWD, path));
      ASSERT_EQ(::mkdir(path.c_str(), 0700), 0);
      ASSERT_EQ(::chown(path.c_str(), ToolIdentity().uid, ToolIdentity().gid), 0);
      *fd = *sys::Open(path, O_RDONLY | O_DIRECTORY);
    }
    const Status possible = CheckProjectQuota(work_.get());
    ASSERT_TRUE(possible) << possible.error().ToString();
    auto launcher = Launcher::Start();
    ASSERT_TRUE(launcher) << launcher.error().ToString();
    launcher_ = std::move(*launcher);
  }

  void TearDown() override {
    launcher_.reset();
    work_.Reset();
    home_.Reset();
    if (mounted_) {
      EXPECT_EQ(::umount2(mount_point_.path().c_str(), 0), 0);
    }
  }

  /// Why the disk cannot be had; empty when it is mounted.
  std::string Mount() {
    const char* disks = ::getenv("COFFERDAM_GUEST_DISKS");
    if (disks == nullptr) return "disks with project quota are in the guest (tests/guest) only";
    if (::geteuid() != 0) return "only the superuser mounts";
    const std::string device = std::string(disks) + "/" + GetParam().name;
    mounted_ = ::mount(device.c_str(), mount_point_.path().c_str(), GetParam().file_system,
                       MS_NOSUID | MS_NODEV, "prjquota") == 0;
    return mounted_ ? "" : device + ": " + std::strerror(errno);
  }

  Status Limit(std::uint64_t bytes) { return LimitByProject({work_.get(), home_.get()}, bytes); }

  std::string Shell(const std::string& line) {
    SandboxSpec spec;
    spec.id = "quota-" + std::to_string(++count_);
    spec.mounts = {{mount_point_ / "work", "/workspace", true},
                   {mount_point_ / "home", "/home/agent", true}};
    if (!launcher_->cgroups()) spec.allow_missing = LayerSet().With(Layer::kCgroup);
    const auto sandbox = LocalSandbox::Create(*launcher_, spec, Deadline::Never());
    EXPECT_TRUE(sandbox) << sandbox.error().ToString();
    if (!sandbox) return {};
    std::string output;
    const auto result =
        (*sandbox)->Exec({.argv = {"/bin/sh", "-c", line}},
                         [&](OutputStream, std::string_view bytes) { output += bytes; }, {});
    EXPECT_TRUE(result) << result.error().ToString();
    return output;
  }

  const sys::TempDir mount_point_;
  bool mounted_ = false;
  sys::UniqueFd work_;
  sys::UniqueFd home_;
  std::unique_ptr<Launcher> launcher_;
  int count_ = 0;
};

const auto kRefused = AnyOf(HasSubstr("quota exceeded"), HasSubstr("No space left"));

TEST_P(DiskQuotaTest, TheKernelRefusesWhatIsBeyondTheLimit) {
  ASSERT_TRUE(Limit(8 * kMiB));
  EXPECT_EQ(Shell("head -c 4194304 /dev/zero > file"), "");
  EXPECT_THAT(Shell("head -c 8388608 /dev/zero > /home/agent/file"), kRefused);
  const auto usage = ProjectUsage(home_.get());
  ASSERT_TRUE(usage);
  EXPECT_GT(usage->bytes, 7 * kMiB);
  EXPECT_LE(usage->bytes, 8 * kMiB);
}

TEST_P(DiskQuotaTest, ManyEmptyFilesAreRefused) {
  ASSERT_TRUE(Limit(1 * kMiB));
  EXPECT_THAT(Shell("i=0; while [ $i -lt 300 ]; do : > f$i || break; i=$((i+1)); done"), kRefused);
  EXPECT_LE(ProjectUsage(work_.get())->files, 256U);
}

TEST_P(DiskQuotaTest, ADeletedFileThatIsOpenCounts) {
  ASSERT_TRUE(Limit(8 * kMiB));
  EXPECT_THAT(
      Shell("exec 3> f; rm f; head -c 6291456 /dev/zero >&3; head -c 6291456 /dev/zero > g"),
      kRefused);
}

TEST_P(DiskQuotaTest, ALimitCanBeRaisedAndTakenAway) {
  ASSERT_TRUE(Limit(1 * kMiB));
  ASSERT_TRUE(Limit(8 * kMiB));
  EXPECT_EQ(Shell("head -c 4194304 /dev/zero > file"), "");
  ASSERT_TRUE(Limit(0));
  EXPECT_EQ(Shell("head -c 16777216 /dev/zero > file"), "");
}

TEST_P(DiskQuotaTest, WhatIsThereAlreadyIsNotTakenIn) {
  ASSERT_EQ(::mkdirat(work_.get(), "old", 0700), 0);
  const Status limited = Limit(8 * kMiB);
  ASSERT_FALSE(limited);
  EXPECT_EQ(limited.error().code, ErrorCode::kBusy);
}

TEST_P(DiskQuotaTest, TwoTreesHaveTwoProjects) {
  ASSERT_TRUE(Limit(8 * kMiB));
  const std::string other = mount_point_ / "other";
  ASSERT_EQ(::mkdir(other.c_str(), 0700), 0);
  const sys::UniqueFd fd = *sys::Open(other, O_RDONLY | O_DIRECTORY);
  ASSERT_TRUE(LimitByProject({fd.get()}, 8 * kMiB));
  EXPECT_NE(*ProjectOf(fd.get()), *ProjectOf(work_.get()));
  EXPECT_EQ(*ProjectOf(home_.get()), *ProjectOf(work_.get()));
}

// What is made in a tree has its project, and a tenant cannot leave it.
TEST_P(DiskQuotaTest, TheProjectIsInheritedByWhatASandboxMakes) {
  ASSERT_TRUE(Limit(8 * kMiB));
  Shell("mkdir -p a/b");
  const sys::UniqueFd inner = *sys::Open(mount_point_ / "work/a/b", O_RDONLY | O_DIRECTORY);
  EXPECT_EQ(*ProjectOf(inner.get()), *ProjectOf(work_.get()));
}

// Only the initial user namespace may change a project; a tenant is in one of its own.
TEST_P(DiskQuotaTest, ATenantCannotLeaveItsProject) {
  ASSERT_TRUE(Limit(8 * kMiB));
  const int status = InUserNamespace([&] {
    fsxattr attributes{};
    const sys::UniqueFd fd(::openat(work_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (::ioctl(fd.get(), FS_IOC_FSGETXATTR, &attributes) != 0) return 1;
    attributes.fsx_projid = 0;
    return ::ioctl(fd.get(), FS_IOC_FSSETXATTR, &attributes) == 0 ? 2 : 0;
  });
  EXPECT_EQ(status, 0);
  EXPECT_NE(*ProjectOf(work_.get()), 0U);
}

INSTANTIATE_TEST_SUITE_P(All, DiskQuotaTest,
                         testing::Values(QuotaDisk{"ext4-quota", "ext4"},
                                         QuotaDisk{"xfs-quota", "xfs"}),
                         [](const auto& disk) { return std::string(disk.param.file_system); });

}  // namespace
}  // namespace cofferdam::sandbox
