#include "platform/kept_sandboxes.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <optional>
#include <thread>

#include <gmock/gmock.h>

#include "sandbox/overlay.h"
#include "sandbox/testing/test_control.h"
#include "sys/process.h"
#include "sys/testing/temp_dir.h"

namespace cofferdam::platform {
namespace {

using sandbox::LocalSandbox;
using Time = KeptSandboxes::Time;

class KeptSandboxesTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    auto launcher = sandbox::Launcher::Start();
    ASSERT_TRUE(launcher) << launcher.error().ToString();
    launcher_ = launcher->release();
  }
  static void TearDownTestSuite() { delete std::exchange(launcher_, nullptr); }

  void SetUp() override {
    ASSERT_NE(launcher_, nullptr);
    if (!launcher_->cgroups()) GTEST_SKIP() << launcher_->cgroups().error().message;
    MakeWorkspace();
  }

  void MakeWorkspace() {
    const std::string work = files_ / "work";
    ASSERT_EQ(::mkdir(work.c_str(), 0700), 0);
    const sandbox::HostIdentity tools = sandbox::ToolIdentity();
    ASSERT_EQ(::chown(work.c_str(), tools.uid, tools.gid), 0);
  }

  SandboxPlan Plan(const std::string& id) const {
    sandbox::SandboxSpec spec;
    spec.id = id;
    spec.mounts = {{files_ / "work", "/workspace", true}};
    return *SandboxPlan::For(spec);
  }

  static std::unique_ptr<LocalSandbox> Make(const SandboxPlan& plan) {
    auto sandbox = LocalSandbox::Create(*launcher_, plan.spec, Deadline::Never());
    EXPECT_TRUE(sandbox) << sandbox.error().ToString();
    return sandbox ? std::move(*sandbox) : nullptr;
  }

  /// Makes one and keeps it for "alice" until tomorrow; the pid of its worker.
  pid_t KeepOne(KeptSandboxes& kept, const std::string& id, Time until = kLater) {
    auto sandbox = Make(Plan(id));
    const pid_t pid = sandbox->worker_pid();
    const Status status = kept.Keep({"alice", id}, Plan(id), std::move(sandbox), until);
    EXPECT_TRUE(status) << status.error().ToString();
    return pid;
  }

  static bool Lives(pid_t pid) { return ::kill(pid, 0) == 0; }

  static inline const Time kLater = std::chrono::steady_clock::now() + std::chrono::hours(24);
  static inline sandbox::Launcher* launcher_ = nullptr;
  sys::TempDir files_;
};

TEST_F(KeptSandboxesTest, GivesTheSameSandboxBackToItsOwnerOnly) {
  KeptSandboxes kept({.most = 4});
  const pid_t pid = KeepOne(kept, "s");
  EXPECT_EQ(kept.Take({"alice", "other"}, Plan("s"), Deadline::Never()), nullptr);
  EXPECT_EQ(kept.Take({"bob", "s"}, Plan("s"), Deadline::Never()), nullptr);
  const auto sandbox = kept.Take({"alice", "s"}, Plan("next"), Deadline::Never());
  ASSERT_NE(sandbox, nullptr);
  EXPECT_EQ(sandbox->worker_pid(), pid);
  EXPECT_EQ(sandbox->id(), "s");
  EXPECT_TRUE(sandbox->Ping(Deadline::Never()));
  EXPECT_EQ(kept.Take({"alice", "s"}, Plan("next"), Deadline::Never()), nullptr)
      << "it is the taker's now";
}

TEST_F(KeptSandboxesTest, AKeptOneDoesNotAnswerUntilItIsWoken) {
  KeptSandboxes kept({.most = 4});
  auto sandbox = Make(Plan("s"));
  LocalSandbox& frozen = *sandbox;
  ASSERT_TRUE(kept.Keep({"alice", "s"}, Plan("s"), std::move(sandbox), kLater));
  EXPECT_FALSE(frozen.Ping(Deadline::After(std::chrono::milliseconds(50))));
}

TEST_F(KeptSandboxesTest, EndsOneThatWasMadeFromAnotherPlan) {
  KeptSandboxes kept({.most = 4});
  const pid_t pid = KeepOne(kept, "s");
  SandboxPlan other_limits = Plan("s");
  other_limits.spec.limits.memory_bytes /= 2;
  EXPECT_EQ(kept.Take({"alice", "s"}, other_limits, Deadline::Never()), nullptr);
  EXPECT_FALSE(Lives(pid));
  EXPECT_EQ(kept.size(), 0U);
}

TEST_F(KeptSandboxesTest, EndsOneWhoseFolderIsAnotherNow) {
  KeptSandboxes kept({.most = 4});
  const pid_t pid = KeepOne(kept, "s");
  ASSERT_EQ(::rename((files_ / "work").c_str(), (files_ / "old").c_str()), 0);
  MakeWorkspace();
  EXPECT_EQ(kept.Take({"alice", "s"}, Plan("s"), Deadline::Never()), nullptr);
  EXPECT_FALSE(Lives(pid));
}

TEST_F(KeptSandboxesTest, DropsOneWhoseWorkerHasDied) {
  KeptSandboxes kept({.most = 4});
  const pid_t pid = KeepOne(kept, "s");
  ASSERT_EQ(::kill(pid, SIGKILL), 0);
  EXPECT_EQ(kept.Take({"alice", "s"}, Plan("s"), Deadline::Never()), nullptr);
  EXPECT_FALSE(Lives(pid));
}

TEST_F(KeptSandboxesTest, EndsWhatIsIdleTooLong) {
  KeptSandboxes kept({.most = 4});
  const pid_t early = KeepOne(kept, "early", kLater);
  const pid_t late = KeepOne(kept, "late", kLater + std::chrono::seconds(1));
  kept.EndIdle(kLater - std::chrono::seconds(1));
  EXPECT_TRUE(Lives(early));
  kept.EndIdle(kLater);
  EXPECT_FALSE(Lives(early));
  EXPECT_TRUE(Lives(late));
  EXPECT_EQ(kept.size(), 1U);
}

TEST_F(KeptSandboxesTest, ItsThreadEndsWhatIsDue) {
  KeptSandboxes kept({.most = 4});
  auto sandbox = Make(Plan("s"));
  const sys::UniqueFd worker(static_cast<int>(::syscall(SYS_pidfd_open, sandbox->worker_pid(), 0)));
  KeepOne(kept, "other");
  ASSERT_TRUE(
      kept.Keep({"alice", "s"}, Plan("s"), std::move(sandbox), std::chrono::steady_clock::now()));
  EXPECT_TRUE(sys::WaitForEnd(worker.get(), Deadline::Never()));
}

TEST_F(KeptSandboxesTest, TheOldestGoesForANewOne) {
  KeptSandboxes kept({.most = 2});
  const pid_t first = KeepOne(kept, "1");
  const pid_t second = KeepOne(kept, "2");
  const pid_t third = KeepOne(kept, "3");
  EXPECT_FALSE(Lives(first));
  EXPECT_TRUE(Lives(second));
  EXPECT_TRUE(Lives(third));
}

TEST_F(KeptSandboxesTest, TheOldestGoesWhileMemoryIsShort) {
  int times_short = 0;
  // To the thread that watches, memory is never short: what ends here is ended by Keep.
  const auto is_short = [&, test = std::this_thread::get_id()] {
    return std::this_thread::get_id() == test && times_short-- > 0;
  };
  KeptSandboxes kept({.most = 4, .memory_is_short = is_short});
  const pid_t first = KeepOne(kept, "1");
  const pid_t second = KeepOne(kept, "2");
  times_short = 1;
  const pid_t third = KeepOne(kept, "3");
  EXPECT_FALSE(Lives(first));
  EXPECT_TRUE(Lives(second));
  EXPECT_TRUE(Lives(third));
  times_short = 100;
  auto fourth = Make(Plan("4"));
  const pid_t pid = fourth->worker_pid();
  const Status refused = kept.Keep({"alice", "4"}, Plan("4"), std::move(fourth), kLater);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kBusy);
  for (const pid_t gone : {second, third, pid}) EXPECT_FALSE(Lives(gone));
}

TEST_F(KeptSandboxesTest, EndsAllOfAWorkspaceAndAllAtItsOwnEnd) {
  std::optional<KeptSandboxes> kept;
  kept.emplace(KeptSandboxes::Options{.most = 4});
  const pid_t of_alice = KeepOne(*kept, "s");
  auto sandbox = Make(Plan("t"));
  const pid_t of_bob = sandbox->worker_pid();
  ASSERT_TRUE(kept->Keep({"bob", "t"}, Plan("t"), std::move(sandbox), kLater));
  kept->End("alice");
  EXPECT_FALSE(Lives(of_alice));
  EXPECT_TRUE(Lives(of_bob));
  kept.reset();
  EXPECT_FALSE(Lives(of_bob));
}

TEST_F(KeptSandboxesTest, WhatHasEndedOrCannotBeFrozenIsNotKept) {
  KeptSandboxes kept({.most = 4});
  auto ended = Make(Plan("ended"));
  ended->Kill();
  EXPECT_EQ(kept.Keep({"alice", "s"}, Plan("ended"), std::move(ended), kLater).error().code,
            ErrorCode::kSandboxLost);
  SandboxPlan plan = Plan("no-group");
  plan.spec = sandbox::TestControl::WithoutForTest(plan.spec, sandbox::Layer::kCgroup);
  EXPECT_EQ(kept.Keep({"alice", "s"}, plan, Make(plan), kLater).error().code,
            ErrorCode::kUnsupported);
  EXPECT_EQ(kept.size(), 0U);
}

TEST_F(KeptSandboxesTest, OneWithASharedMountIsForThatMountOnly) {
  const std::string parent = files_ / "changes";
  const sandbox::HostIdentity tools = sandbox::ToolIdentity();
  for (const std::string& path : {parent, parent + "/upper"}) {
    ASSERT_EQ(::mkdir(path.c_str(), 0755), 0);
    ASSERT_EQ(::chown(path.c_str(), tools.uid, tools.gid), 0);
  }
  const auto planned = [&] {
    const auto mount = sandbox::MountOverlay(*launcher_, {.lowers = {{files_ / "work", tools}},
                                                          .parent = parent,
                                                          .upper = "upper",
                                                          .work = "work",
                                                          .identity = tools});
    EXPECT_TRUE(mount) << mount.error().ToString();
    sandbox::SandboxSpec spec;
    spec.id = "s";
    spec.mounts = {{.target = "/workspace", .writable = true, .shared = *mount}};
    return *SandboxPlan::For(spec);
  };
  KeptSandboxes kept({.most = 4});
  const SandboxPlan plan = planned();
  ASSERT_TRUE(kept.Keep({"alice", "s"}, plan, Make(plan), kLater));
  const auto same = kept.Take({"alice", "s"}, plan, Deadline::Never());
  ASSERT_NE(same, nullptr);
  same->Kill();
  ASSERT_TRUE(kept.Keep({"alice", "s"}, plan, Make(plan), kLater));
  EXPECT_EQ(kept.Take({"alice", "s"}, planned(), Deadline::Never()), nullptr);
}

// It would keep the image mounted, and no later run could take it.
TEST_F(KeptSandboxesTest, OneWhoseFilesAreInAMountOfItsOwnEnds) {
  KeptSandboxes kept({.most = 4});
  auto sandbox = Make(Plan("s"));
  const pid_t pid = sandbox->worker_pid();
  SandboxPlan plan = Plan("s");
  plan.spec.mounts[0].tree = std::make_shared<const sys::UniqueFd>();
  EXPECT_EQ(kept.Keep({"alice", "s"}, plan, std::move(sandbox), kLater).error().code,
            ErrorCode::kUnsupported);
  EXPECT_FALSE(Lives(pid));
}

}  // namespace
}  // namespace cofferdam::platform
