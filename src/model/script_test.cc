#include "model/script.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sys/file.h"
#include "sys/testing/temp_dir.h"

namespace cofferdam::model {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// The texts between ```yaml or ```json and ``` in a document.
std::vector<std::string> ExamplesIn(std::string_view document) {
  std::vector<std::string> examples;
  for (const std::string_view fence : {"```yaml\n", "```json\n"}) {
    for (std::size_t at = document.find(fence); at != std::string_view::npos;
         at = document.find(fence, at)) {
      at += fence.size();
      const std::size_t end = document.find("```\n", at);
      examples.emplace_back(document.substr(at, end - at));
    }
  }
  return examples;
}

TEST(Script, ReadsEveryExampleOfItsDocumentation) {
  const auto document =
      sys::ReadFile(std::string(COFFERDAM_SOURCE_DIR) + "/docs/scripted-provider.md");
  ASSERT_TRUE(document) << document.error().ToString();
  const auto examples = ExamplesIn(*document);
  EXPECT_GE(examples.size(), 4u);
  for (const std::string& example : examples) {
    const auto script = ParseScript(example);
    EXPECT_TRUE(script) << script.error().ToString() << "\n" << example;
  }
}

TEST(Script, ReadsEveryMemberOfATurn) {
  const auto script = ParseScript(R"(
cases:
  - when: {contains: deploy, not_contains: [dry, test]}
    turns:
      - expect:
          user: {contains: now}
          results:
            - {}
            - {contains: [a, b], not_contains: c, is_error: true, exit_code: 3}
        thinking: hm
        text: I look.
        tool_calls:
          - {name: bash, arguments: {command: "true"}}
          - {name: ls, if_offered: true}
        error: {code: model_overloaded, message: too much, hint: later}
        hang: true
        usage: {input_tokens: 5}
        stop_reason: max_tokens
)");
  ASSERT_TRUE(script) << script.error().ToString();
  ASSERT_EQ(script->cases.size(), 1u);
  EXPECT_THAT(script->cases[0].when.contains, ElementsAre("deploy"));
  EXPECT_THAT(script->cases[0].when.not_contains, ElementsAre("dry", "test"));
  const ScriptedTurn& turn = script->cases[0].turns.at(0);
  EXPECT_THAT(turn.expect_user.contains, ElementsAre("now"));
  ASSERT_EQ(turn.expect_results.size(), 2u);
  EXPECT_FALSE(turn.expect_results[0].is_error);
  EXPECT_THAT(turn.expect_results[1].text.contains, ElementsAre("a", "b"));
  EXPECT_THAT(turn.expect_results[1].text.not_contains, ElementsAre("c"));
  EXPECT_EQ(turn.expect_results[1].is_error, true);
  EXPECT_EQ(turn.expect_results[1].exit_code, 3);
  EXPECT_EQ(turn.thinking, "hm");
  EXPECT_EQ(turn.text, "I look.");
  ASSERT_EQ(turn.tool_calls.size(), 2u);
  EXPECT_EQ(turn.tool_calls[0].arguments, json::Json({{"command", "true"}}));
  EXPECT_FALSE(turn.tool_calls[0].if_offered);
  EXPECT_EQ(turn.tool_calls[1].arguments, json::Json::object());
  EXPECT_TRUE(turn.tool_calls[1].if_offered);
  EXPECT_EQ(turn.error->ToString(), "model_overloaded: too much (later)");
  EXPECT_TRUE(turn.hang);
  EXPECT_EQ(*turn.usage, (Usage{.input_tokens = 5}));
  EXPECT_EQ(turn.stop_reason, StopReason::kMaxTokens);
}

TEST(Script, ReadsJsonWithAllItsEscapes) {
  const auto script = ParseScript(R"({"turns": [{"text": "\ud83d\ude42"}]})");
  ASSERT_TRUE(script) << script.error().ToString();
  EXPECT_EQ(script->cases[0].turns[0].text, "🙂");
}

TEST(Script, RefusesWhatItDoesNotKnowAndNamesThePlace) {
  const auto error = [](std::string_view text) {
    const auto script = ParseScript(text);
    return script ? std::string("accepted") : script.error().ToString();
  };
  EXPECT_EQ(error("turns: [{text: a}, {txt: b}]"),
            "malformed: the script: turns[1]: 'txt' is not a known key here");
  EXPECT_EQ(error("turns: [{expect: {user: {contian: b}}}]"),
            "malformed: the script: turns[0]: expect: user: 'contian' is not a known key here");
  EXPECT_EQ(
      error("turns: [{expect: {results: [{contains: 7}]}}]"),
      "malformed: the script: turns[0]: expect: results[0]: contains: is neither a text nor a "
      "list of texts");
  EXPECT_THAT(error("turns: [{error: {code: bad_luck}}]"),
              HasSubstr("'bad_luck' is no error code"));
  EXPECT_THAT(error("turns: [{stop_reason: tired}]"), HasSubstr("stop_reason: 'tired' is none"));
  for (const char* text :
       {"", "[]", "turns: []", "turns: a", "cases: []", "cases: [{when: {}}]",
        "turns: [{text: a}]\nmore: 1", "turns: [{text: 7}]",
        "turns: [{tool_calls: [{arguments: {}}]}]", "turns: [{tool_calls: [{name: ''}]}]",
        "turns: [{tool_calls: [{name: a, arguments: [1]}]}]", "turns: [{usage: {tokens: 1}}]",
        "turns: [{usage: {input_tokens: -1}}]", "turns: [&a {text: b}, *a]", "{\"turns\": [}"})
    EXPECT_THAT(error(text), testing::StartsWith("malformed: the script")) << text;
}

TEST(Script, IsReadFromAFileOfBoundedSize) {
  const sys::TempDir directory;
  const std::string path = directory / "script.yaml";
  const auto write = [&path](const std::string& text) {
    const auto file = sys::Open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ASSERT_TRUE(file);
    ASSERT_TRUE(sys::WriteAll(file->get(), text));
  };
  write("turns: [{text: hi}]");
  EXPECT_TRUE(LoadScript(path));
  write("turns: [{txt: hi}]");
  EXPECT_THAT(LoadScript(path).error().message, testing::StartsWith(path));
  write(std::string(300 << 10, '#'));
  EXPECT_EQ(LoadScript(path).error().code, ErrorCode::kTooLarge);
  EXPECT_EQ(LoadScript(directory / "none").error().code, ErrorCode::kNotFound);
}

}  // namespace
}  // namespace cofferdam::model
