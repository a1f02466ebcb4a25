// Attacks on the processes that hold a sandbox together, and by processes that want to outlive it.

#include <signal.h>
#include <unistd.h>

#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fixture.h"
#include "outside.h"

namespace cofferdam::escape {
namespace {

using sandbox::Layer;
using testing::HasSubstr;

class ProcessAttacks : public EscapeTest {
 protected:
  std::vector<std::string> Outside(const char* attack) {
    return {host().attack_program(), attack, mark_};
  }
};

TEST_F(ProcessAttacks, NoSignalReachesTheWorker) {
  const auto sandbox = Make();
  ASSERT_NE(sandbox, nullptr);
  // The kernel takes the signals and drops them: this process is the first of its namespace.
  EXPECT_EQ(Attack(*sandbox, {"signal_worker", "1"}).outcome, "succeeded");
  ExpectWorking(*sandbox);
}

TEST_F(ProcessAttacks, ControlASignalReachesTheWorkerWithoutThePidNamespace) {
  // Without one there is no /proc of its own, by which others are seen.
  const auto sandbox = Make({Layer::kPidNamespace, Layer::kRoot, Layer::kCgroupNamespace});
  ASSERT_NE(sandbox, nullptr);
  const pid_t worker = sandbox->worker_pid();
  EXPECT_FALSE(Attack(*sandbox, {"signal_worker", std::to_string(worker)}).result);
  EXPECT_TRUE(AllGone({worker}));
}

TEST_F(ProcessAttacks, KillingEverythingLeavesTheSandboxUsable) {
  auto sandbox = Make();
  ASSERT_NE(sandbox, nullptr);
  const Attempt attempt = Attack(*sandbox, {"kill_everything"});
  EXPECT_FALSE(attempt.result);
  EXPECT_THAT(attempt.outcome, HasSubstr("supervisor was killed"));
  EXPECT_THAT(ProcessesOf(*sandbox), testing::IsEmpty());
  ExpectWorking(*sandbox);
  ExpectNothingSurvives(std::move(sandbox));
}

TEST_F(ProcessAttacks, ControlKillingEverythingWorksInAPidNamespaceOfItsOwn) {
  if (Sysctl("user/max_user_namespaces", 1) == 0) {
    NoteSkipped("control KillingEverything", "user/max_user_namespaces is 0");
    GTEST_SKIP() << "user/max_user_namespaces is 0";
  }
  EXPECT_EQ(AttackOutside({"--own=user,pid", "kill_everything"}), "succeeded");
}

TEST_F(ProcessAttacks, AStoppedSupervisorEndsTheSandboxWhichSaysSo) {
  auto sandbox = Make();
  ASSERT_NE(sandbox, nullptr);
  std::set<pid_t> processes;
  std::stop_source stop;
  const Attempt attempt = Attack(
      *sandbox, {"stop_supervisor"},
      [&](const std::string&) {
        processes = ProcessesOf(*sandbox);
        stop.request_stop();
      },
      {}, stop.get_token());
  EXPECT_EQ(attempt.outcome, "succeeded");
  ASSERT_FALSE(attempt.result);
  EXPECT_EQ(attempt.result.error().code, ErrorCode::kSandboxLost);
  EXPECT_THAT(attempt.result.error().message, HasSubstr("did not end when they were killed"));
  EXPECT_FALSE(processes.empty());
  EXPECT_TRUE(AllGone(processes));
  ExpectNothingSurvives(std::move(sandbox));
}

TEST_F(ProcessAttacks, ControlASupervisorOutsideIsStopped) {
  EXPECT_TRUE(ParentFallsTo(Outside("stop_supervisor")));
  EXPECT_FALSE(ProcessesMarked(mark_).empty()) << "its daemon has survived";
  KillAll(ProcessesMarked(mark_));
}

TEST_F(ProcessAttacks, AKilledSupervisorIsReportedAndNothingOfItsOperationSurvives) {
  auto sandbox = Make();
  ASSERT_NE(sandbox, nullptr);
  const Attempt attempt = Attack(*sandbox, {"kill_supervisor"});
  ASSERT_FALSE(attempt.result);
  EXPECT_THAT(attempt.outcome, HasSubstr("supervisor was killed"));
  EXPECT_THAT(ProcessesOf(*sandbox), testing::IsEmpty());
  ExpectWorking(*sandbox);
  ExpectNothingSurvives(std::move(sandbox));
}

TEST_F(ProcessAttacks, ControlASupervisorOutsideIsKilled) {
  EXPECT_TRUE(ParentFallsTo(Outside("kill_supervisor")));
  EXPECT_FALSE(ProcessesMarked(mark_).empty()) << "its daemon has survived";
  KillAll(ProcessesMarked(mark_));
}

TEST_F(ProcessAttacks, ADaemonDoesNotOutliveItsOperation) {
  auto sandbox = Make();
  ASSERT_NE(sandbox, nullptr);
  EXPECT_EQ(Attack(*sandbox, {"daemon"}).outcome, "succeeded");
  EXPECT_THAT(ProcessesOf(*sandbox), testing::IsEmpty());
  ExpectNothingSurvives(std::move(sandbox));
}

TEST_F(ProcessAttacks, ADaemonDoesNotOutliveItsSandbox) {
  auto sandbox = Make();
  ASSERT_NE(sandbox, nullptr);
  std::set<pid_t> processes;
  const Attempt attempt = Attack(*sandbox, {"daemon_and_wait"},
                                 [&](const std::string&) {
                                   processes = ProcessesOf(*sandbox);
                                   sandbox->Kill();
                                 },
                                 {}, {});
  ASSERT_FALSE(attempt.result);
  EXPECT_EQ(attempt.result.error().code, ErrorCode::kSandboxLost);
  EXPECT_GE(processes.size(), 2u) << "the attack and its daemon were there";
  EXPECT_TRUE(AllGone(processes));
}

TEST_F(ProcessAttacks, ControlADaemonOutsideOutlivesItsParent) {
  EXPECT_EQ(AttackOutside({"daemon"}), "succeeded");
  EXPECT_FALSE(ProcessesMarked(mark_).empty());
  KillAll(ProcessesMarked(mark_));
}

// ---- At a timeout

TEST_F(ProcessAttacks, WhoIgnoresEverySignalIsKilledAtItsTimeout) {
  auto sandbox = Make();
  ASSERT_NE(sandbox, nullptr);
  const Attempt attempt = Attack(*sandbox, {"ignore_signals", "wait"}, [](const std::string&) {},
                                 {.timeout = std::chrono::milliseconds(300)}, {});
  EXPECT_EQ(attempt.outcome, "succeeded") << "it did ignore them";
  ASSERT_TRUE(attempt.result) << attempt.result.error().ToString();
  EXPECT_TRUE(attempt.result->timed_out);
  EXPECT_EQ(attempt.result->signal, SIGKILL);
  EXPECT_THAT(ProcessesOf(*sandbox), testing::IsEmpty());
  ExpectWorking(*sandbox);
  ExpectNothingSurvives(std::move(sandbox));
}

TEST_F(ProcessAttacks, ControlSignalsCanBeIgnored) {
  EXPECT_EQ(AttackOutside({"ignore_signals", "end"}), "succeeded");
}

TEST_F(ProcessAttacks, ADaemonDoesNotOutliveATimeout) {
  auto sandbox = Make();
  ASSERT_NE(sandbox, nullptr);
  std::set<pid_t> processes;
  const Attempt attempt = Attack(*sandbox, {"daemon_and_wait"},
                                 [&](const std::string&) { processes = ProcessesOf(*sandbox); },
                                 {.timeout = std::chrono::milliseconds(500)}, {});
  ASSERT_TRUE(attempt.result) << attempt.result.error().ToString();
  EXPECT_TRUE(attempt.result->timed_out);
  EXPECT_GE(processes.size(), 2u) << "the attack and its daemon were there";
  EXPECT_TRUE(AllGone(processes));
  EXPECT_THAT(ProcessesOf(*sandbox), testing::IsEmpty());
  ExpectWorking(*sandbox);
}

// ---- Ended processes for which nobody waits

TEST_F(ProcessAttacks, AThousandZombiesGoWithTheirParent) {
  spec_.limits.processes = 1200;
  auto sandbox = Make();
  ASSERT_NE(sandbox, nullptr);
  EXPECT_EQ(Attack(*sandbox, {"zombies", "1000"}).outcome, "succeeded");
  EXPECT_THAT(ProcessesOf(*sandbox), testing::IsEmpty());
  EXPECT_EQ(Attack(*sandbox, {"zombies", "1000"}).outcome, "succeeded") << "there is room again";
  ExpectNothingSurvives(std::move(sandbox));
}

TEST_F(ProcessAttacks, ZombiesCountAsProcesses) {
  spec_.limits.processes = 20;
  const auto sandbox = Make();
  ASSERT_NE(sandbox, nullptr);
  EXPECT_EQ(Attack(*sandbox, {"zombies", "60"}).outcome, "errno EAGAIN");
  ExpectWorking(*sandbox);
}

TEST_F(ProcessAttacks, ControlZombiesAreFreeWithoutLimits) {
  spec_.limits.processes = 20;
  const auto sandbox = Make({Layer::kCgroup, Layer::kRlimits});
  ASSERT_NE(sandbox, nullptr);
  EXPECT_EQ(Attack(*sandbox, {"zombies", "60"}).outcome, "succeeded");
}

// They become the supervisor's, which has to take each of them for the next to find a place.
TEST_F(ProcessAttacks, ThousandsOfOrphansAreReaped) {
  spec_.limits.processes = 50;
  auto sandbox = Make();
  ASSERT_NE(sandbox, nullptr);
  EXPECT_EQ(Attack(*sandbox, {"orphans", "3000"}).outcome, "succeeded");
  EXPECT_THAT(ProcessesOf(*sandbox), testing::IsEmpty());
  ExpectWorking(*sandbox);
  ExpectNothingSurvives(std::move(sandbox));
}

TEST_F(ProcessAttacks, ControlOrphansOfAParentThatDoesNotWaitUseUpTheLimit) {
  // Children that have ended and are not waited for, of the one process that could.
  spec_.limits.processes = 50;
  const auto sandbox = Make();
  ASSERT_NE(sandbox, nullptr);
  EXPECT_EQ(Attack(*sandbox, {"zombies", "3000"}).outcome, "errno EAGAIN");
}

// ---- Through a working directory

// CVE-2024-21626: a working directory by the number of a descriptor that was left open.
TEST_F(ProcessAttacks, NoDescriptorIsAWorkingDirectoryOfTheHosts) {
  const auto sandbox = Make();
  ASSERT_NE(sandbox, nullptr);
  std::string canary = host().Find("canary").value;
  for (int number = 0; number < 64; ++number) {
    for (const char* process : {"self", "1"}) {
      sandbox::ExecRequest request;
      request.working_directory = "/proc/" + std::string(process) + "/fd/" + std::to_string(number);
      const Attempt attempt = Attack(*sandbox, {"host_file_by_dotdot", canary},
                                     [](const std::string&) {}, std::move(request), {});
      // Either there is no such directory, or it is one of the sandbox's own.
      if (attempt.result) {
        EXPECT_EQ(attempt.outcome, "errno ENOENT") << process << " " << number;
      }
    }
  }
}

TEST_F(ProcessAttacks, ControlADescriptorThatWasLeftOpenLeadsOut) {
  if (Sysctl("user/max_user_namespaces", 1) == 0) {
    NoteSkipped("control WorkingDirectory", "user/max_user_namespaces is 0");
    GTEST_SKIP() << "user/max_user_namespaces is 0";
  }
  EXPECT_EQ(AttackOutside({"--own=user,mnt", "leaked_directory", host().Find("canary").value},
                          {.leak = Leak::kRoot}),
            "succeeded");
}

}  // namespace
}  // namespace cofferdam::escape
