#include "model/message.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cofferdam::model {
namespace {

using json::Json;

Message WholeAssistantMessage() {
  return {.role = Role::kAssistant,
          .content = {Thinking{.text = "hm", .signature = "c2ln", .origin = "anthropic"},
                      Thinking{.redacted_data = "sealed", .origin = "anthropic"}, Text{"I look."},
                      ToolCall{.id = "t1", .name = "ls", .arguments = {{"path", "."}}},
                      ToolCall{.id = "t2", .name = "ls", .invalid_arguments = "{\"pa"}}};
}

Message WholeUserMessage() {
  return {.role = Role::kUser,
          .content = {ToolResult{.tool_call_id = "t1",
                                 .content = {Text{"a.txt"}, Image{"image/png", "AAAA"}},
                                 .is_error = true},
                      Text{"and?"}, Image{"image/jpeg", "AA=="}}};
}

TEST(Message, ComesBackFromItsTranscriptForm) {
  for (const Message& message : {WholeAssistantMessage(), WholeUserMessage(), Message{}}) {
    const auto parsed = json::Parse(json::Dump(ToJson(message)));
    ASSERT_TRUE(parsed);
    const auto back = MessageFromJson(*parsed);
    ASSERT_TRUE(back) << back.error().ToString();
    EXPECT_EQ(*back, message);
  }
}

TEST(Message, ItsTranscriptFormIsTheDocumentedOne) {
  EXPECT_EQ(json::Dump(ToJson(WholeAssistantMessage())),
            R"({"content":[)"
            R"({"origin":"anthropic","signature":"c2ln","text":"hm","type":"thinking"},)"
            R"({"origin":"anthropic","redacted_data":"sealed","type":"thinking"},)"
            R"({"text":"I look.","type":"text"},)"
            R"({"arguments":{"path":"."},"id":"t1","name":"ls","type":"tool_call"},)"
            R"({"arguments":{},"id":"t2","invalid_arguments":"{\"pa","name":"ls",)"
            R"("type":"tool_call"}],"role":"assistant"})");
}

std::string Outcome(const std::string& text) {
  const auto parsed = json::Parse(text);
  if (!parsed) return "not JSON";
  const auto message = MessageFromJson(*parsed);
  return message ? "accepted" : std::string(ErrorCodeName(message.error().code));
}

std::string OutcomeOfBlock(const std::string& role, const std::string& block) {
  return Outcome(R"({"role":")" + role + R"(","content":[)" + block + "]}");
}

TEST(Message, RefusesWhatIsNotAMessage) {
  for (const char* text :
       {R"([])", R"({"role":"user"})", R"({"role":"system","content":[]})",
        R"({"role":"user","content":"hi"})", R"({"role":"user","content":[],"extra":1})"})
    EXPECT_EQ(Outcome(text), "malformed") << text;
}

TEST(Message, RefusesWhatIsNotABlockOfAUser) {
  EXPECT_EQ(OutcomeOfBlock("user", R"({"type":"text","text":"a"})"), "accepted");
  for (const char* block :
       {R"("hi")", R"({"type":"video"})", R"({"type":"text"})", R"({"type":"text","text":7})",
        R"({"type":"text","text":"a","more":1})",
        R"({"type":"image","media_type":"text/html","data":"AAAA"})",
        R"({"type":"image","media_type":"image/png","data":"AA A"})",
        R"({"type":"image","media_type":"image/png","data":"AAA"})",
        R"({"type":"tool_call","id":"a","name":"b","arguments":{}})", R"({"type":"thinking"})",
        R"({"type":"tool_result","tool_call_id":"a","content":"x","is_error":false})",
        R"({"type":"tool_result","tool_call_id":"a","content":[{"type":"thinking"}],)"
        R"("is_error":false})",
        R"({"type":"tool_result","tool_call_id":"a","content":[]})",
        R"({"type":"tool_result","tool_call_id":"","content":[],"is_error":false})"})
    EXPECT_EQ(OutcomeOfBlock("user", block), "malformed") << block;
}

TEST(Message, RefusesWhatIsNotABlockOfAnAssistant) {
  EXPECT_EQ(OutcomeOfBlock("assistant", R"({"type":"thinking"})"), "accepted");
  for (const char* block :
       {R"({"type":"image","media_type":"image/png","data":"AAAA"})",
        R"({"type":"tool_result","tool_call_id":"a","content":[],"is_error":false})",
        R"({"type":"tool_call","id":"","name":"b","arguments":{}})",
        R"({"type":"tool_call","id":"a","name":"","arguments":{}})",
        R"({"type":"tool_call","id":"a","name":"b","arguments":[]})"})
    EXPECT_EQ(OutcomeOfBlock("assistant", block), "malformed") << block;
}

TEST(Message, NamesTheBlockThatIsWrong) {
  const auto message = MessageFromJson(
      {{"role", "user"}, {"content", {{{"type", "text"}, {"text", "a"}}, {{"type", "?"}}}}});
  ASSERT_FALSE(message);
  EXPECT_THAT(message.error().message, testing::StartsWith("content[1]: "));
}

TEST(Message, JoinsItsTextBlocks) {
  EXPECT_EQ(
      TextOf(Message{.content = {Text{"a"}, Image{"image/png", "AAAA"}, Text{""}, Text{"b"}}}),
      "a\n\nb");
  EXPECT_EQ(TextOf(Message{}), "");
}

TEST(Message, ListsItsToolCallsInOrder) {
  const Message message = WholeAssistantMessage();
  const auto calls = ToolCallsOf(message);
  ASSERT_EQ(calls.size(), 2u);
  EXPECT_EQ(calls[0]->id, "t1");
  EXPECT_EQ(calls[1]->id, "t2");
}

TEST(Usage, AddsUpAndComesBackFromJson) {
  Usage usage{
      .input_tokens = 1, .output_tokens = 2, .cache_read_tokens = 3, .cache_write_tokens = 4};
  usage += usage;
  EXPECT_EQ(usage, (Usage{2, 4, 6, 8}));
  EXPECT_EQ(usage.prompt_tokens(), 16);
  EXPECT_EQ(*UsageFromJson(ToJson(usage)), usage);
}

TEST(Usage, RefusesNegativeMissingAndUnknownCounters) {
  Json json = ToJson(Usage{});
  json["input_tokens"] = -1;
  EXPECT_EQ(UsageFromJson(json).error().code, ErrorCode::kMalformed);
  json.erase("input_tokens");
  EXPECT_EQ(UsageFromJson(json).error().code, ErrorCode::kMalformed);
  json["input_tokens"] = 1;
  json["more"] = 1;
  EXPECT_EQ(UsageFromJson(json).error().code, ErrorCode::kMalformed);
}

TEST(StopReason, HasAStableName) {
  for (const std::string_view name : {"end_turn", "tool_use", "max_tokens", "stop_sequence",
                                      "refusal", "pause", "context_overflow"}) {
    const auto reason = StopReasonFromName(name);
    ASSERT_TRUE(reason) << name;
    EXPECT_EQ(StopReasonName(*reason), name);
  }
  EXPECT_EQ(StopReasonFromName("tired"), std::nullopt);
}

}  // namespace
}  // namespace cofferdam::model
