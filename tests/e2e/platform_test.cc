// The public C++ API with real sandboxes and the scripted provider: what a run does, what it leaves
// on disk, and how it ends.
#include <fcntl.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "fixture.h"
#include "model/message.h"
#include "sessions/session.h"

namespace cofferdam::e2e {
namespace {

using testing::_;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

using PlatformTest = PlatformFixture;

/// Cancels the run at its first event of the given kind, and waits for the end.
template <typename Event>
RunResult CancelAt(Run& run) {
  for (const RunEvent& event : run.Events())
    if (std::holds_alternative<Event>(event)) run.Cancel();
  return run.Wait();
}

TEST_F(PlatformTest, ARunWithToolsLeavesFilesTranscriptAndRecord) {
  const RunResult result = Play(R"(
turns:
  - text: I write.
    tool_calls:
      - {name: write, arguments: {path: src/a.txt, content: "one\ntwo\n"}}
  - tool_calls:
      - {name: edit, arguments: {path: src/a.txt, old_string: two, new_string: three}}
      - {name: bash, arguments: {command: "cat src/a.txt; echo to stderr >&2; exit 3"}}
  - expect:
      results:
        - {contains: Replaced 1 occurrence}
        - {contains: ["one\nthree\n", to stderr], exit_code: 3, is_error: true}
    text: Done.
)");
  ASSERT_FALSE(result.error) << result.error->ToString();
  EXPECT_EQ(result.outcome, RunOutcome::kCompleted);
  EXPECT_EQ(result.text, "Done.");
  EXPECT_EQ(result.turns, 3);
  EXPECT_TRUE(result.sandbox_ready_ms);
  EXPECT_GT(result.usage.output_tokens, 0);
  EXPECT_EQ(GetFile("src/a.txt"), "one\nthree\n");
  EXPECT_THAT(Transcript(), ElementsAre("user: go", "assistant: I write.", "call: write",
                                        StartsWith("result: Wrote 8 bytes"), "call: edit",
                                        "call: bash", StartsWith("result: Replaced"),
                                        HasSubstr("[exit code 3]"), "assistant: Done."));
  EXPECT_THAT(EventTypes(result),
              ElementsAre("run.started", "model.called", "tool.started", "view.opened",
                          "sandbox.made", "sandbox.verified", "tool.ended", "file.changed",
                          "checkpoint.taken", "model.called", "tool.started", "tool.ended",
                          "tool.started", "tool.ended", "file.changed", "checkpoint.taken",
                          "model.called", "sandbox.ended", "run.ended"));
  const auto check = alice_->VerifyRun(result.run_id);
  ASSERT_TRUE(check) << check.error().ToString();
  EXPECT_TRUE(check->complete);
  EXPECT_EQ(check->head, result.record_head);
  EXPECT_THAT(*alice_->Runs(), ElementsAre(result.run_id));
}

TEST_F(PlatformTest, ARunWithoutToolsMakesNoSandbox) {
  const RunResult result = Play("turns: [{text: Hello.}]");
  EXPECT_FALSE(result.sandbox_ready_ms);
  EXPECT_THAT(EventTypes(result), Not(Contains("sandbox.made")));
}

TEST_F(PlatformTest, EventsAreSeenByIteratorAndCallbackAlike) {
  std::string called;
  RunOptions options = Options(R"(
turns:
  - {text: One., tool_calls: [{name: ls}]}
  - {text: Two.}
)");
  options.on_event = [&called](const RunEvent& event) {
    if (const auto* text = std::get_if<TextEvent>(&event)) called += text->text;
    if (const auto* ended = std::get_if<ToolEndedEvent>(&event)) called += "[" + ended->tool + "]";
  };
  auto run = alice_->Run(options);
  ASSERT_TRUE(run);
  std::string read;
  for (const RunEvent& event : (*run)->Events()) {
    if (const auto* text = std::get_if<TextEvent>(&event)) read += text->text;
    if (const auto* ended = std::get_if<ToolEndedEvent>(&event)) read += "[" + ended->tool + "]";
  }
  EXPECT_EQ(read, "One.[ls]Two.");
  EXPECT_EQ((*run)->Wait().outcome, RunOutcome::kCompleted);
  EXPECT_EQ(called, read);
}

TEST_F(PlatformTest, ASessionGoesOnWhereItStands) {
  Play("turns: [{text: First answer.}]");
  Play("turns: [{text: Second answer.}]");
  EXPECT_THAT(Transcript(), ElementsAre("user: go", "assistant: First answer.", "user: go",
                                        "assistant: Second answer."));
  const auto sessions = alice_->Sessions();
  ASSERT_TRUE(sessions);
  ASSERT_EQ(sessions->size(), 1U);
  EXPECT_EQ(sessions->front().id, "main");
  EXPECT_EQ(sessions->front().entries, 4U);
}

TEST_F(PlatformTest, AnErrorOfTheModelIsTheRunsErrorAndOnRecord) {
  const RunResult result = Play(R"(
turns:
  - text: I was about to
    error: {code: model_overloaded, message: too much to do}
)");
  EXPECT_EQ(result.outcome, RunOutcome::kFailed);
  ASSERT_TRUE(result.error);
  EXPECT_EQ(result.error->code, ErrorCode::kModelOverloaded);
  EXPECT_THAT(EventTypes(result), ElementsAre("run.started", "model.called", "error", "run.ended"));
  EXPECT_THAT(Transcript(), ElementsAre("user: go"));
}

TEST_F(PlatformTest, AnAnswerThatWasCutOrDeclinedIsNoSuccess) {
  const auto code = [this](const std::string& reason) {
    return Play("turns: [{text: x, stop_reason: " + reason + "}]").error->code;
  };
  EXPECT_EQ(code("max_tokens"), ErrorCode::kTooLarge);
  EXPECT_EQ(code("refusal"), ErrorCode::kModelRefusal);
  EXPECT_EQ(code("context_overflow"), ErrorCode::kModelContextOverflow);
  EXPECT_EQ(code("tool_use"), ErrorCode::kProtocol);
}

TEST_F(PlatformTest, CallsOfAnAnswerThatWasCutAreNotMade) {
  const RunResult result = Play(R"(
turns:
  - tool_calls: [{name: write, arguments: {path: half, content: x}}]
    stop_reason: max_tokens
  - expect: {results: [{is_error: true, contains: not run}]}
    text: I see.
)");
  EXPECT_FALSE(result.error) << result.error->ToString();
  EXPECT_FALSE(sys::ReadFile(alice_->work_folder() + "/half"));
}

TEST_F(PlatformTest, TheTurnLimitEndsARunThatGoesInCircles) {
  RunOptions options = Options(R"(
turns:
  - tool_calls: [{name: ls}]
  - tool_calls: [{name: ls}]
  - text: never said
)");
  options.settings.max_turns = 2;
  const RunResult result = Play(options);
  ASSERT_TRUE(result.error);
  EXPECT_EQ(result.error->code, ErrorCode::kTurnLimit);
  EXPECT_EQ(result.turns, 2);
}

TEST_F(PlatformTest, CancelEndsACommandAndLeavesAWholeTranscript) {
  auto run = alice_->Run(Options(R"(
turns:
  - tool_calls:
      - {name: bash, arguments: {command: "sleep 1000"}}
      - {name: write, arguments: {path: after, content: x}}
  - text: never said
)"));
  ASSERT_TRUE(run);
  const RunResult result = CancelAt<ToolStartedEvent>(**run);
  EXPECT_EQ(result.outcome, RunOutcome::kCancelled);
  EXPECT_THAT(Transcript(), ElementsAre("user: go", "call: bash", "call: write", _,
                                        HasSubstr("not run, because the run ended")));
  EXPECT_FALSE(sys::ReadFile(alice_->work_folder() + "/after"));
  EXPECT_TRUE(alice_->VerifyRun(result.run_id)->complete);
}

TEST_F(PlatformTest, CancelEndsAModelCall) {
  auto run = alice_->Run(Options("turns: [{text: I wait., hang: true}]"));
  ASSERT_TRUE(run);
  EXPECT_EQ(CancelAt<TextEvent>(**run).outcome, RunOutcome::kCancelled);
}

TEST_F(PlatformTest, DestroyingARunEndsIt) {
  auto run = alice_->Run(Options("turns: [{text: I wait., hang: true}]"));
  ASSERT_TRUE(run);
  const std::string id = (*run)->id();
  run->reset();
  EXPECT_TRUE(alice_->VerifyRun(id)->complete);
}

TEST_F(PlatformTest, RunsOfOneSessionComeOneAfterTheOther) {
  auto first = alice_->Run(Options("turns: [{text: First., hang: true}]"));
  auto second = alice_->Run(Options("turns: [{text: Second.}]"));
  auto elsewhere = alice_->Run(Options("turns: [{text: Elsewhere.}]", "other"));
  EXPECT_EQ((*elsewhere)->Wait().text, "Elsewhere.");
  EXPECT_EQ(CancelAt<TextEvent>(**first).outcome, RunOutcome::kCancelled);
  EXPECT_EQ((*second)->Wait().text, "Second.");
  EXPECT_THAT(Transcript(), ElementsAre("user: go", "user: go", "assistant: Second."));
}

TEST_F(PlatformTest, ARunThatWaitsForItsSessionCanBeCancelled) {
  auto first = alice_->Run(Options("turns: [{text: First., hang: true}]"));
  auto second = alice_->Run(Options("turns: [{text: Second.}]"));
  (*second)->Cancel();
  EXPECT_EQ((*second)->Wait().outcome, RunOutcome::kCancelled);
  EXPECT_TRUE(alice_->VerifyRun((*second)->id())->complete);
  EXPECT_EQ(CancelAt<TextEvent>(**first).outcome, RunOutcome::kCancelled);
}

TEST_F(PlatformTest, ACallWhoseHostWasKilledIsToldAsUnknownAndNotMadeAgain) {
  {
    // What a host leaves that dies between a call and its result.
    const SystemClock clock;
    const sys::UniqueFd folder =
        *sys::Open(temp_ / "state/workspaces/alice/sessions", O_PATH | O_DIRECTORY);
    auto session =
        sessions::Session::Open(folder.get(), "main", "alice", clock, Deadline::Never(), {});
    ASSERT_TRUE(session);
    std::vector<json::Json> entries;
    for (const model::Message& message :
         {model::UserText("start"),
          model::Message{.role = model::Role::kAssistant,
                         .content = {model::ToolCall{
                             .id = "1", .name = "write", .arguments = {{"path", "again"}}}}}})
      entries.push_back(
          {{"type", "message"}, {"run", "dead"}, {"message", model::ToJson(message)}});
    ASSERT_TRUE(session->Append(entries));
  }
  const RunResult result = Play("turns: [{text: I look first.}]");
  ASSERT_FALSE(result.error) << result.error->ToString();
  EXPECT_THAT(Transcript(),
              ElementsAre("user: start", "call: write", HasSubstr("outcome is unknown"), "user: go",
                          "assistant: I look first."));
  EXPECT_FALSE(sys::ReadFile(alice_->work_folder() + "/again"));
}

TEST_F(PlatformTest, OptionsThatCannotBeAreRefusedBeforeThereIsARun) {
  const auto code = [this](const RunOptions& options) {
    const auto run = alice_->Run(options);
    return run ? ErrorCode::kInternal : run.error().code;
  };
  EXPECT_EQ(code({.message = ""}), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code({.message = "x", .session = "../x"}), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code({.message = "x", .settings = {.provider = "nobody", .model = "m"}}),
            ErrorCode::kConfig);
  EXPECT_EQ(code({.message = "x", .settings = {.provider = "anthropic", .model = "m"}}),
            ErrorCode::kConfig)
      << "without a key";
  EXPECT_EQ(code({.message = "x", .settings = {.mounts = {{"/root", "/mnt/x"}}}}),
            ErrorCode::kMountRefused);
  EXPECT_TRUE(alice_->Runs()->empty());
}

TEST_F(PlatformTest, OpeningAWorkspaceTwiceSharesItsState) {
  auto again = platform_->GetWorkspace("alice");
  ASSERT_TRUE(again);
  ASSERT_TRUE(alice_->SetSettings({.model = "new"}));
  EXPECT_EQ(again->settings().model, "new");
}

TEST_F(PlatformTest, AWorkspaceWithLiveRunsIsNotDeletedUnlessTheyAreToEnd) {
  auto run = alice_->Run(Options("turns: [{text: I wait., hang: true}]"));
  ASSERT_TRUE(run);
  EXPECT_EQ(platform_->DeleteWorkspace("alice", LiveRuns::kRefuse).error().code, ErrorCode::kBusy);
  ASSERT_TRUE(platform_->DeleteWorkspace("alice", LiveRuns::kEnd));
  EXPECT_EQ((*run)->Wait().outcome, RunOutcome::kCancelled);
  EXPECT_TRUE(platform_->ListWorkspaces()->empty());
  EXPECT_EQ(platform_->GetWorkspace("alice").error().code, ErrorCode::kNotFound);
  EXPECT_FALSE(alice_->Run(Options("turns: [{text: x}]")));
}

TEST_F(PlatformTest, AWorkspaceMadeAnewIsNotTheOldOne) {
  ASSERT_TRUE(alice_->SetSettings({.model = "old"}));
  // As another process would do it.
  auto other = Platform::Open({.state = temp_ / "state"});
  ASSERT_TRUE(other->DeleteWorkspace("alice", LiveRuns::kRefuse));
  ASSERT_TRUE(other->CreateWorkspace("alice"));
  EXPECT_EQ(platform_->GetWorkspace("alice")->settings(), Settings());
}

TEST_F(PlatformTest, ATamperedRecordIsFound) {
  const RunResult result = Play("turns: [{text: Hello.}]");
  const std::string path = result.folder + "/events.jsonl";
  std::string text = *sys::ReadFile(path);
  text.replace(text.find("completed"), 9, "cancelled");
  std::ofstream(path, std::ios::trunc) << text;
  EXPECT_EQ(alice_->VerifyRun(result.run_id).error().code, ErrorCode::kCorrupt);
}

TEST_F(PlatformTest, ARunWhoseHostWasKilledBeforeItsRecordBeganIsIncompleteNotCorrupt) {
  const std::string id = "0199f3a1-7c00-7000-8000-000000000001";
  const std::string folder = temp_ / "state/workspaces/alice/runs/" + id;
  ASSERT_EQ(::mkdir(folder.c_str(), 0700), 0);
  for (const char* written : {"", "{\"platform\""}) {
    const auto check = alice_->VerifyRun(id);
    ASSERT_TRUE(check) << check.error().ToString();
    EXPECT_FALSE(check->complete);
    EXPECT_EQ(check->events, 0U);
    EXPECT_EQ(check->head, "");
    std::ofstream(folder + "/events.jsonl") << written;
  }
  EXPECT_TRUE(alice_->VerifyRun(id)) << "half a header";
  EXPECT_EQ(alice_->VerifyRun("0199f3a1-7c00-7000-8000-000000000002").error().code,
            ErrorCode::kNotFound);
}

TEST_F(PlatformTest, ARecordOfAnotherRunIsNotTakenForThisOne) {
  const RunResult first = Play("turns: [{text: Hello.}]");
  const RunResult second = Play("turns: [{text: Hello.}]");
  const std::string text = *sys::ReadFile(second.folder + "/events.jsonl");
  std::ofstream(first.folder + "/events.jsonl", std::ios::trunc) << text;
  EXPECT_EQ(alice_->VerifyRun(first.run_id).error().code, ErrorCode::kCorrupt);
}

TEST_F(PlatformTest, SingleUserModeMakesItsWorkspaceOnFirstUse) {
  for (int i = 0; i < 2; ++i) {
    auto runtime = Runtime::Open({.state = temp_ / "mine"});
    ASSERT_TRUE(runtime) << runtime.error().ToString();
    EXPECT_EQ(runtime->workspace().id(), kDefaultWorkspace);
  }
}

TEST_F(PlatformTest, ExecGivesOutputExitCodeAndWhatEndedIt) {
  std::string out;
  std::string err;
  const auto sink = [&](bool is_stderr, std::string_view bytes) {
    (is_stderr ? err : out) += bytes;
  };
  const auto outcome = alice_->Exec({.argv = {"sh", "-c", "cat; pwd; echo $X >&2; exit 5"},
                                     .environment = {{"X", "y"}},
                                     .stdin_bytes = "in\n"},
                                    sink, {});
  ASSERT_TRUE(outcome) << outcome.error().ToString();
  EXPECT_EQ(outcome->exit_code, 5);
  EXPECT_EQ(out, "in\n/workspace\n");
  EXPECT_EQ(err, "y\n");
}

}  // namespace
}  // namespace cofferdam::e2e
