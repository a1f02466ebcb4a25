#include "sandbox/disk_watch.h"

#include <sys/stat.h>
#include <unistd.h>

#include <functional>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sys/testing/temp_dir.h"

namespace cofferdam::sandbox {
namespace {

using testing::HasSubstr;

constexpr std::uint64_t kMiB = 1 << 20;

class DiskWatchTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    auto launcher = Launcher::Start();
    ASSERT_TRUE(launcher) << launcher.error().ToString();
    launcher_ = std::move(*launcher);
  }
  static void TearDownTestSuite() { launcher_.reset(); }

  void SetUp() override {
    ASSERT_NE(launcher_, nullptr);
    ASSERT_EQ(::mkdir(work_.c_str(), 0700), 0);
    ASSERT_EQ(::chown(work_.c_str(), ToolIdentity().uid, ToolIdentity().gid), 0);
  }

  std::unique_ptr<LocalSandbox> Make(bool with_cgroup = true) {
    SandboxSpec spec;
    spec.id = "disk-" + std::to_string(++count_);
    spec.mounts = {{work_, "/workspace", true}};
    if (!launcher_->cgroups() || !with_cgroup) spec.allow_missing = LayerSet().With(Layer::kCgroup);
    auto sandbox = LocalSandbox::Create(*launcher_, spec, Deadline::Never());
    EXPECT_TRUE(sandbox) << sandbox.error().ToString();
    return sandbox ? std::move(*sandbox) : nullptr;
  }

  /// Runs a shell line; `then` is called when it has printed something.
  static Result<ExecResult> Shell(
      LocalSandbox& sandbox, const std::string& line, const std::function<void()>& then = [] {}) {
    return sandbox.Exec({.argv = {"/bin/sh", "-c", line}},
                        [&](OutputStream, std::string_view) { then(); }, {});
  }

  static inline std::unique_ptr<Launcher> launcher_;
  static inline int count_ = 0;
  sys::TempDir files_;
  const std::string work_ = files_ / "work";
  DiskWatch watch_{std::nullopt};
};

TEST_F(DiskWatchTest, WhatIsWithinItsLimitGoesOn) {
  const auto sandbox = Make();
  DiskWatch::Watched watched = watch_.Watch(*sandbox, {work_}, 8 * kMiB);
  ASSERT_TRUE(Shell(*sandbox, "head -c 4194304 /dev/zero > file"));
  watch_.Visit();
  EXPECT_TRUE(watched.Check());
  EXPECT_TRUE(sandbox->Ping(Deadline::Never()));
}

TEST_F(DiskWatchTest, ATurnThatIsOverEndsTheSandboxAndSaysByHowMuch) {
  const auto sandbox = Make();
  DiskWatch::Watched watched = watch_.Watch(*sandbox, {work_}, 8 * kMiB);
  ASSERT_TRUE(Shell(*sandbox, "head -c 12582912 /dev/zero > file"));
  const Status checked = watched.Check();
  ASSERT_FALSE(checked);
  EXPECT_EQ(checked.error().code, ErrorCode::kDiskLimit);
  EXPECT_THAT(checked.error().message, HasSubstr("take 12.0 MiB of disk, more than 8.0 MiB"));
  EXPECT_THAT(checked.error().hint, HasSubstr("disk_mib"));
  EXPECT_EQ(watched.Check().error().code, ErrorCode::kDiskLimit);
  EXPECT_EQ(Shell(*sandbox, "true").error().code, ErrorCode::kDiskLimit);
}

TEST_F(DiskWatchTest, AVisitEndsTheOperationThatIsUnderWay) {
  const auto sandbox = Make();
  const DiskWatch::Watched watched = watch_.Watch(*sandbox, {work_}, 8 * kMiB);
  const auto result = Shell(*sandbox, "head -c 12582912 /dev/zero > file; echo written; sleep 1000",
                            [this] { watch_.Visit(); });
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kDiskLimit);
}

TEST_F(DiskWatchTest, DeletedFilesOfAllSandboxesOfAWorkspaceCountTogether) {
  const auto first = Make();
  const auto second = Make();
  DiskWatch::Watched watched = watch_.Watch(*first, {work_}, 8 * kMiB);
  const DiskWatch::Watched other = watch_.Watch(*second, {work_}, 8 * kMiB);
  const std::string hide = "exec 3> f; rm f; head -c 6291456 /dev/zero >&3; echo; sleep 1000";
  const auto result = Shell(*first, hide, [&] {
    watch_.Visit();
    EXPECT_TRUE(watched.Check()) << "one of them alone is within the limit";
    const auto inner = Shell(*second, hide, [&] { watch_.Visit(); });
    EXPECT_EQ(inner.error().code, ErrorCode::kDiskLimit);
    EXPECT_THAT(inner.error().message, HasSubstr("deleted while open"));
  });
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kDiskLimit);
}

TEST_F(DiskWatchTest, AWorkspaceThatIsOverCanBeCleaned) {
  const auto first = Make();
  ASSERT_TRUE(Shell(*first, "head -c 12582912 /dev/zero > file"));
  const auto sandbox = Make();
  DiskWatch::Watched watched = watch_.Watch(*sandbox, {work_}, 8 * kMiB);
  ASSERT_TRUE(Shell(*sandbox, "rm file"));
  EXPECT_TRUE(watched.Check());
}

TEST_F(DiskWatchTest, WithoutAControlGroupItEndsAllTheSame) {
  const auto sandbox = Make(false);
  const DiskWatch::Watched watched = watch_.Watch(*sandbox, {work_}, 8 * kMiB);
  const auto result = Shell(*sandbox, "head -c 12582912 /dev/zero > file; echo written; sleep 1000",
                            [this] { watch_.Visit(); });
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kDiskLimit);
}

TEST_F(DiskWatchTest, FilesThatCannotBeCountedEndTheSandbox) {
  const auto sandbox = Make();
  DiskWatch::Watched watched = watch_.Watch(*sandbox, {work_ + "/nothing"}, 8 * kMiB);
  const Status checked = watched.Check();
  ASSERT_FALSE(checked);
  EXPECT_EQ(checked.error().code, ErrorCode::kNotFound);
  EXPECT_FALSE(sandbox->Ping(Deadline::Never()));
}

TEST_F(DiskWatchTest, WhatIsNotWatchedAnyMoreIsLeftAlone) {
  const auto sandbox = Make();
  {
    const DiskWatch::Watched watched = watch_.Watch(*sandbox, {work_}, 1 * kMiB);
  }
  ASSERT_TRUE(Shell(*sandbox, "head -c 4194304 /dev/zero > file"));
  watch_.Visit();
  EXPECT_TRUE(sandbox->Ping(Deadline::Never()));
}

// The thread of a watch, with an interval that lets it visit often.
TEST_F(DiskWatchTest, TheThreadVisitsByItself) {
  DiskWatch watch(std::chrono::milliseconds(1));
  const auto sandbox = Make();
  const DiskWatch::Watched watched = watch.Watch(*sandbox, {work_}, 8 * kMiB);
  const auto result = Shell(*sandbox, "head -c 12582912 /dev/zero > file; sleep 1000");
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kDiskLimit);
}

}  // namespace
}  // namespace cofferdam::sandbox
