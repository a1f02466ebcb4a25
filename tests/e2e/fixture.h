// A platform of the test's own with one workspace, and ways to play a script in it and to look at
// what that leaves.
#pragma once

#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include <gmock/gmock.h>

#include <cofferdam/platform.h>

#include "json/json.h"
#include "sys/file.h"
#include "sys/testing/temp_dir.h"

namespace cofferdam::e2e {

class PlatformFixture : public testing::Test {
 protected:
  void SetUp() override {
    auto platform = Platform::Open({.state = temp_ / "state"});
    ASSERT_TRUE(platform) << platform.error().ToString();
    platform_.emplace(std::move(*platform));
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

  RunResult Play(const RunOptions& options) {
    auto run = alice_->Run(options);
    if (!run) return {.error = run.error()};
    return (*run)->Wait();
  }
  RunResult Play(const std::string& script) { return Play(Options(script)); }

  /// One call of a tool, with `arguments` as YAML; the text of its result.
  std::string Call(const std::string& tool, const std::string& arguments,
                   const Settings& settings = {}) {
    RunOptions options = Options("turns:\n  - tool_calls: [{name: " + tool +
                                     ", arguments: " + arguments + "}]\n  - text: '{{results}}'\n",
                                 "call-" + std::to_string(++calls_));
    options.settings = settings;
    const RunResult result = Play(options);
    EXPECT_FALSE(result.error) << result.error->ToString();
    return result.text;
  }

  static std::vector<json::Json> Events(const RunResult& result) {
    std::vector<json::Json> events;
    std::ifstream file(result.folder + "/events.jsonl");
    std::string line;
    std::getline(file, line);  // the header
    while (std::getline(file, line)) events.push_back(*json::Parse(line));
    return events;
  }

  /// The types of the events in a run's record, in order.
  static std::vector<std::string> EventTypes(const RunResult& result) {
    std::vector<std::string> types;
    for (const json::Json& event : Events(result)) types.push_back(event.at("type"));
    return types;
  }

  /// The transcript's blocks as one text each: "user: …", "assistant: …", "call: …", "result: …".
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

  void PutFile(const std::string& name, const std::string& bytes) {
    std::ofstream(alice_->work_folder() + "/" + name, std::ios::binary) << bytes;
  }
  std::string GetFile(const std::string& name) {
    return *sys::ReadFile(alice_->work_folder() + "/" + name, 64 << 20);
  }

  sys::TempDir temp_;
  std::optional<Platform> platform_;
  std::optional<Workspace> alice_;
  int scripts_ = 0;
  int calls_ = 0;
};

}  // namespace cofferdam::e2e
