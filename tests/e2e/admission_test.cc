// Who may start: runs and commands that wait for a slot, and what that leaves.
#include "fixture.h"

namespace cofferdam::e2e {
namespace {

using testing::ElementsAre;

constexpr char kHangs[] = "turns: [{text: I work., hang: true}]";
constexpr char kShort[] = "turns: [{text: Done.}]";

class AdmissionTest : public PlatformFixture {
 protected:
  std::unique_ptr<cofferdam::Run> Start(Workspace& workspace, const std::string& script,
                                        const Settings& settings = {}) {
    RunOptions options = Options(script, "");
    options.settings = settings;
    auto run = workspace.Run(options);
    EXPECT_TRUE(run) << run.error().ToString();
    return run ? std::move(*run) : nullptr;
  }

  /// Reads a run's events up to the first of that kind.
  template <typename Event>
  static bool Reaches(cofferdam::Run& run) {
    for (const RunEvent& event : run.Events())
      if (std::holds_alternative<Event>(event)) return true;
    return false;
  }

  static RunResult Cancelled(cofferdam::Run& run) {
    run.Cancel();
    return run.Wait();
  }

  /// Of a command that does nothing; nothing when it ran.
  static std::optional<ErrorCode> ExecCode(Workspace& workspace, const Settings& settings) {
    const auto outcome =
        workspace.Exec({.argv = {"true"}, .settings = settings}, [](bool, std::string_view) {}, {});
    return outcome ? std::nullopt : std::optional(outcome.error().code);
  }
};

TEST_F(AdmissionTest, ARunBeyondTheLimitWaitsForASlotAndSaysSo) {
  ASSERT_TRUE(alice_->SetSettings({.max_concurrent_runs = 1}));
  const auto first = Start(*alice_, kHangs);
  ASSERT_TRUE(Reaches<TextEvent>(*first));
  const auto second = Start(*alice_, kShort);
  ASSERT_TRUE(Reaches<QueuedEvent>(*second));
  EXPECT_FALSE(Cancelled(*first).queued_ms);
  const RunResult& result = second->Wait();
  EXPECT_EQ(result.text, "Done.");
  EXPECT_TRUE(result.queued_ms);
  EXPECT_THAT(EventTypes(result),
              ElementsAre("run.queued", "run.started", "model.called", "run.ended"));
}

TEST_F(AdmissionTest, ARunThatIsNotToWaitIsRefusedAndLeavesNothing) {
  const Settings one{.max_concurrent_runs = 1, .queue_timeout_s = 0};
  const auto first = Start(*alice_, kHangs, one);
  ASSERT_TRUE(Reaches<TextEvent>(*first));
  RunOptions options = Options(kShort, "");
  options.settings = one;
  const auto refused = alice_->Run(options);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kAdmissionRefused);
  EXPECT_THAT(*alice_->Runs(), ElementsAre(first->id()));
}

TEST_F(AdmissionTest, ARunThatWaitsCanBeCancelledAndHasAWholeRecord) {
  const Settings one{.max_concurrent_runs = 1};
  const auto first = Start(*alice_, kHangs, one);
  ASSERT_TRUE(Reaches<TextEvent>(*first));
  const auto second = Start(*alice_, kShort, one);
  ASSERT_TRUE(Reaches<QueuedEvent>(*second));
  const RunResult result = Cancelled(*second);
  EXPECT_EQ(result.outcome, RunOutcome::kCancelled);
  EXPECT_THAT(EventTypes(result), ElementsAre("run.queued", "run.ended"));
  EXPECT_TRUE(alice_->VerifyRun(result.run_id)->complete);
}

TEST_F(AdmissionTest, WhoFindsNoSlotInTimeHasNotBegun) {
  const Settings one{.max_concurrent_runs = 1, .queue_timeout_s = 1};
  const auto first = Start(*alice_, kHangs, one);
  ASSERT_TRUE(Reaches<TextEvent>(*first));
  const RunResult result = Start(*alice_, kShort, one)->Wait();
  EXPECT_EQ(result.outcome, RunOutcome::kFailed);
  ASSERT_TRUE(result.error);
  EXPECT_EQ(result.error->code, ErrorCode::kAdmissionTimeout);
  EXPECT_THAT(EventTypes(result), ElementsAre("run.queued", "run.ended"));
  EXPECT_EQ(ExecCode(*alice_, one), ErrorCode::kAdmissionTimeout);
}

TEST_F(AdmissionTest, ACommandCountsAsARun) {
  const auto first = Start(*alice_, kHangs);
  ASSERT_TRUE(Reaches<TextEvent>(*first));
  EXPECT_EQ(ExecCode(*alice_, {.max_concurrent_runs = 1, .queue_timeout_s = 0}),
            ErrorCode::kAdmissionRefused);
  EXPECT_EQ(ExecCode(*alice_, {.max_concurrent_runs = 2, .queue_timeout_s = 0}), std::nullopt);
}

TEST_F(AdmissionTest, ATenantsCrowdDoesNotKeepAnothersFirstRunOut) {
  auto small = Platform::Open({.state = temp_ / "small", .max_platform_runs = 4});
  ASSERT_TRUE(small);
  Workspace greedy = *small->CreateWorkspace("greedy");
  Workspace newcomer = *small->CreateWorkspace("newcomer");
  std::vector<std::unique_ptr<cofferdam::Run>> crowd;
  for (int i = 0; i < 40; ++i) crowd.push_back(Start(greedy, kHangs));
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(Reaches<TextEvent>(*crowd[static_cast<std::size_t>(i)]));
  const RunResult result = Start(newcomer, kShort)->Wait();
  EXPECT_EQ(result.text, "Done.");
  EXPECT_FALSE(result.queued_ms);
  ASSERT_TRUE(small->DeleteWorkspace("greedy", LiveRuns::kEnd)) << "those that wait end too";
  for (const auto& run : crowd) EXPECT_EQ(run->Wait().outcome, RunOutcome::kCancelled);
}

TEST_F(AdmissionTest, APlatformWithoutSlotsIsRefused) {
  const auto platform = Platform::Open({.state = temp_ / "none", .max_platform_runs = 0});
  ASSERT_FALSE(platform);
  EXPECT_EQ(platform.error().code, ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace cofferdam::e2e
