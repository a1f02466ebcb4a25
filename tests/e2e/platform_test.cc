// The public C++ API with real sandboxes and the scripted provider: what a run does, what it leaves
// on disk, and how it ends.
#include <fcntl.h>

#include <fstream>
#include <thread>

#include <gmock/gmock.h>

#include <cofferdam/platform.h>

#include "json/json.h"
#include "sys/file.h"
#include "sys/testing/temp_dir.h"

namespace cofferdam {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class PlatformTest : public testing::Test {
 protected:
  void SetUp() override {
    platform_.emplace(*Platform::Open({.state = temp_ / "state"}));
    alice_.emplace(*platform_->CreateWorkspace("alice"));
  }

  std::string Script(const std::string& text) {
    const std::string path = temp_ / ("script-" + std::to_string(++scripts_) + ".yaml");
    std::ofstream(path) << text;
    return path;
  }

  RunOptions Options(const std::string& script, const std::string& session = "main") {
    return {.message = "go", .session = session, .script = Script(script)};
  }

  RunResult Play(const std::string& script, const std::string& session = "main") {
    auto run = alice_->Run(Options(script, session));
    if (!run) return {.error = run.error()};
    return (*run)->Wait();
  }

  /// The types of the events in a run's record, in order.
  static std::vector<std::string> EventTypes(const RunResult& result) {
    std::vector<std::string> types;
    for (const json::Json& event : Events(result)) types.push_back(event.at("type"));
    return types;
  }

  static std::vector<json::Json> Events(const RunResult& result) {
    std::vector<json::Json> events;
    std::ifstream file(result.folder + "/events.jsonl");
    std::string line;
    std::getline(file, line);  // the header
    while (std::getline(file, line)) events.push_back(*json::Parse(line));
    return events;
  }

  /// The transcript's messages as one text each: "user: …", "assistant: …", "result: …".
  std::vector<std::string> Transcript(const std::string& session = "main") {
    std::vector<std::string> lines;
    const std::vector<std::string> entries = *alice_->ReadSession(session);
    for (const std::string& entry : entries) {
      const json::Json message = json::Parse(entry)->at("message");
      for (const json::Json& block : message.at("content"))
        if (block.at("type") == "text")
          lines.push_back(message.at("role").get<std::string>() + ": " +
                          block.at("text").get<std::string>());
        else if (block.at("type") == "tool_call")
          lines.push_back("call: " + block.at("name").get<std::string>());
        else if (block.at("type") == "tool_result")
          lines.push_back("result: " + block.at("content").at(0).at("text").get<std::string>());
    }
    return lines;
  }

  sys::TempDir temp_;
  std::optional<Platform> platform_;
  std::optional<Workspace> alice_;
  int scripts_ = 0;
};

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
  EXPECT_EQ(*sys::ReadFile(alice_->work_folder() + "/src/a.txt"), "one\nthree\n");
  EXPECT_THAT(Transcript(),
              ElementsAre("user: go", "assistant: I write.", "call: write",
                          StartsWith("result: Wrote 8 bytes"), "call: edit", "call: bash",
                          StartsWith("result: Replaced"), HasSubstr("[exit code 3]"),
                          "assistant: Done."));
  EXPECT_THAT(EventTypes(result),
              ElementsAre("run.started", "model.called", "tool.started", "sandbox.made",
                          "sandbox.verified", "file.changed", "tool.ended", "model.called",
                          "tool.started", "file.changed", "tool.ended", "tool.started", "tool.ended",
                          "model.called", "run.ended"));
  const auto check = alice_->VerifyRun(result.run_id);
  ASSERT_TRUE(check) << check.error().ToString();
  EXPECT_TRUE(check->complete);
  EXPECT_EQ(check->head, result.record_head);
  EXPECT_THAT(*alice_->Runs(), ElementsAre(result.run_id));
}

}  // namespace
}  // namespace cofferdam
