#include "model/anthropic_wire.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cofferdam::model {
namespace {

using json::Json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// ---- requests ----

Request Asking(std::vector<Message> messages) {
  return {.model = "claude-x", .messages = std::move(messages), .max_tokens = 100};
}

TEST(AnthropicRequest, HasTheMembersOfTheApi) {
  Request request = Asking({UserText("hi")});
  request.system = "Be brief.";
  request.tools = {{.name = "ls", .description = "Lists.", .input_schema = {{"type", "object"}}}};
  request.stop_sequences = {"END"};
  EXPECT_EQ(AnthropicRequestBody(request), *json::Parse(R"({
    "model": "claude-x", "max_tokens": 100, "stream": true,
    "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
    "tools": [{"name": "ls", "description": "Lists.", "input_schema": {"type": "object"}}],
    "stop_sequences": ["END"],
    "messages": [{"role": "user", "content": [
      {"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}]}]})"));
}

TEST(AnthropicRequest, LeavesOutWhatIsEmptyAndCachesTheToolsWithoutASystemPrompt) {
  Request request = Asking({UserText("hi")});
  EXPECT_EQ(AnthropicRequestBody(request).size(), 4u);
  request.tools = {{.name = "a"}, {.name = "b"}};
  const Json body = AnthropicRequestBody(request);
  EXPECT_FALSE(body.contains("system"));
  EXPECT_FALSE(body["tools"][0].contains("cache_control"));
  EXPECT_EQ(body["tools"][1]["cache_control"], Json({{"type", "ephemeral"}}));
}

TEST(AnthropicRequest, SaysHowMuchToThink) {
  Request request = Asking({UserText("hi")});
  request.thinking = {.mode = ThinkingConfig::Mode::kBudget, .budget_tokens = 2048};
  EXPECT_EQ(AnthropicRequestBody(request)["thinking"],
            Json({{"type", "enabled"}, {"budget_tokens", 2048}}));
  request.thinking = {.mode = ThinkingConfig::Mode::kAdaptive};
  EXPECT_EQ(AnthropicRequestBody(request)["thinking"], Json({{"type", "adaptive"}}));
}

TEST(AnthropicRequest, SendsEveryKindOfBlockBack) {
  const Message assistant{
      .role = Role::kAssistant,
      .content = {Thinking{.text = "hm", .signature = "sig", .origin = "anthropic"},
                  Thinking{.redacted_data = "sealed", .origin = "anthropic"}, Text{"I look."},
                  ToolCall{.id = "t1", .name = "ls", .arguments = {{"path", "."}}},
                  ToolCall{.id = "t2", .name = "ls", .invalid_arguments = "{"}}};
  const Message user{
      .role = Role::kUser,
      .content = {
          Text{"look"},
          ToolResult{.tool_call_id = "t1", .content = {Text{"a.txt"}, Image{"image/png", "AAAA"}}},
          ToolResult{.tool_call_id = "t2", .content = {Text{"no"}}, .is_error = true}}};
  EXPECT_EQ(AnthropicRequestBody(Asking({UserText("go"), assistant, user}))["messages"],
            *json::Parse(R"([
    {"role": "user", "content": [{"type": "text", "text": "go"}]},
    {"role": "assistant", "content": [
      {"type": "thinking", "thinking": "hm", "signature": "sig"},
      {"type": "redacted_thinking", "data": "sealed"},
      {"type": "text", "text": "I look."},
      {"type": "tool_use", "id": "t1", "name": "ls", "input": {"path": "."}},
      {"type": "tool_use", "id": "t2", "name": "ls", "input": {}}]},
    {"role": "user", "content": [
      {"type": "tool_result", "tool_use_id": "t1", "content": [
        {"type": "text", "text": "a.txt"},
        {"type": "image",
         "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}]},
      {"type": "tool_result", "tool_use_id": "t2", "is_error": true,
       "content": [{"type": "text", "text": "no"}]},
      {"type": "text", "text": "look", "cache_control": {"type": "ephemeral"}}]}])"));
}

TEST(AnthropicRequest, LeavesOutWhatTheApiRefuses) {
  const Message foreign{.role = Role::kAssistant,
                        .content = {Thinking{.text = "hm", .signature = "s", .origin = "other"},
                                    Thinking{.text = "unsigned", .origin = "anthropic"},
                                    Text{" \n"}, ToolCall{.id = "call|1.x", .name = "ls"}}};
  const Message result{.content = {ToolResult{.tool_call_id = "call|1.x", .content = {Text{""}}}}};
  EXPECT_EQ(
      AnthropicRequestBody(Asking({UserText("go"), UserText(" "), foreign, result}))["messages"],
      *json::Parse(R"([
    {"role": "user", "content": [{"type": "text", "text": "go"}]},
    {"role": "assistant", "content": [
      {"type": "tool_use", "id": "call_1_x", "name": "ls", "input": {}}]},
    {"role": "user", "content": [
      {"type": "tool_result", "tool_use_id": "call_1_x",
       "cache_control": {"type": "ephemeral"}}]}])"));
}

// ---- errors ----

ErrorCode CodeOf(int status, std::string_view type, std::string_view message = "m") {
  return AnthropicError(status, json::Dump({{"type", "error"},
                                            {"error", {{"type", type}, {"message", message}}}}))
      .code;
}

TEST(AnthropicError, FollowsTheStatus) {
  EXPECT_EQ(CodeOf(400, "invalid_request_error"), ErrorCode::kModelInvalidRequest);
  EXPECT_EQ(CodeOf(401, "authentication_error"), ErrorCode::kModelAuthentication);
  EXPECT_EQ(CodeOf(402, "billing_error"), ErrorCode::kModelBilling);
  EXPECT_EQ(CodeOf(403, "permission_error"), ErrorCode::kModelAuthentication);
  EXPECT_EQ(CodeOf(404, "not_found_error"), ErrorCode::kModelInvalidRequest);
  EXPECT_EQ(CodeOf(408, "x"), ErrorCode::kModelServer);
  EXPECT_EQ(CodeOf(409, "conflict_error"), ErrorCode::kModelServer);
  EXPECT_EQ(CodeOf(413, "request_too_large"), ErrorCode::kModelContextOverflow);
  EXPECT_EQ(CodeOf(422, "x"), ErrorCode::kModelInvalidRequest);
  EXPECT_EQ(CodeOf(429, "rate_limit_error"), ErrorCode::kModelRateLimit);
  EXPECT_EQ(CodeOf(500, "api_error"), ErrorCode::kModelServer);
  EXPECT_EQ(CodeOf(504, "timeout_error"), ErrorCode::kModelServer);
  EXPECT_EQ(CodeOf(529, "overloaded_error"), ErrorCode::kModelOverloaded);
  EXPECT_EQ(CodeOf(302, "x"), ErrorCode::kProtocol);
}

TEST(AnthropicError, FollowsTheTypeInAStream) {
  EXPECT_EQ(CodeOf(0, "overloaded_error"), ErrorCode::kModelOverloaded);
  EXPECT_EQ(CodeOf(0, "rate_limit_error"), ErrorCode::kModelRateLimit);
  EXPECT_EQ(CodeOf(0, "billing_error"), ErrorCode::kModelBilling);
  EXPECT_EQ(CodeOf(0, "invalid_request_error"), ErrorCode::kModelInvalidRequest);
  EXPECT_EQ(CodeOf(0, "invented_error"), ErrorCode::kModelServer);
}

TEST(AnthropicError, KnowsAFullContextByItsWords) {
  EXPECT_EQ(CodeOf(400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000"),
            ErrorCode::kModelContextOverflow);
  EXPECT_EQ(CodeOf(400, "invalid_request_error",
                   "input length and `max_tokens` exceed context limit: 199000 + 8192 > 200000"),
            ErrorCode::kModelContextOverflow);
}

TEST(AnthropicError, KnowsASpendLimitWhateverItsStatus) {
  EXPECT_EQ(AnthropicError(429, R"({"type":"error","error":{"type":"rate_limit_error",)"
                                R"("message":"m","details":{"error_code":)"
                                R"("enforced_spend_limit_reached"}}})")
                .code,
            ErrorCode::kModelBilling);
  for (const char* message :
       {"You have reached your specified API usage limits.", "This organization's Spend Limit is",
        "Your credit balance is too low to access the Anthropic API."})
    EXPECT_EQ(CodeOf(400, "invalid_request_error", message), ErrorCode::kModelBilling);
}

TEST(AnthropicError, RepeatsTheServersWordsAndItsRequestId) {
  EXPECT_EQ(AnthropicError(401, R"({"error":{"type":"authentication_error",)"
                                R"("message":"invalid x-api-key"},"request_id":"req_1"})")
                .ToString(),
            "model_authentication: the model provider answered 401: invalid x-api-key [req_1] "
            "(check the API key of this provider)");
}

TEST(AnthropicError, MakesDoWithAnyBody) {
  for (const char* body : {"", "<html>", "null", "[]", "{}", R"({"error":"x"})",
                           R"({"error":{"type":7,"message":null}})"})
    EXPECT_EQ(AnthropicError(502, body).ToString(),
              "model_server_error: the model provider answered 502")
        << body;
}

// ---- answers ----

// Feeds data lines to a decoder and writes down what comes out.
struct Decoding {
  AnthropicDecoder decoder;
  std::vector<std::string> seen;
  std::vector<Usage> usages;

  Status Take(std::string_view data) {
    return decoder.Take({.data = std::string(data)}, [this](const StreamEvent& event) {
      if (const auto* text = std::get_if<TextDelta>(&event)) seen.push_back("text " + text->text);
      if (const auto* thinking = std::get_if<ThinkingDelta>(&event))
        seen.push_back("thinking " + thinking->text);
      if (const auto* call = std::get_if<ToolCallStarted>(&event))
        seen.push_back("start " + call->id + " " + call->name);
      if (const auto* more = std::get_if<ToolCallArgumentsDelta>(&event))
        seen.push_back("args " + more->id + " " + more->text);
      if (const auto* call = std::get_if<ToolCallCompleted>(&event))
        seen.push_back("call " + call->call.id + " " + json::Dump(call->call.arguments));
      if (const auto* usage = std::get_if<UsageUpdate>(&event)) usages.push_back(usage->usage);
    });
  }

  // Everything up to the first error, then Finish().
  Result<Response> All(std::initializer_list<std::string_view> datas) {
    for (const std::string_view data : datas) RETURN_IF_ERROR(Take(data));
    return decoder.Finish();
  }
};

constexpr std::string_view kStart =
    R"({"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant",)"
    R"("model":"claude-x-1","content":[],"stop_reason":null,"usage":{"input_tokens":10,)"
    R"("cache_creation_input_tokens":20,"cache_read_input_tokens":30,"output_tokens":1}}})";
constexpr std::string_view kStop = R"({"type":"message_stop"})";

std::string Delta(int index, std::string_view delta) {
  return R"({"type":"content_block_delta","index":)" + std::to_string(index) + R"(,"delta":)" +
         std::string(delta) + "}";
}
std::string BlockStart(int index, std::string_view block) {
  return R"({"type":"content_block_start","index":)" + std::to_string(index) +
         R"(,"content_block":)" + std::string(block) + "}";
}
std::string BlockStop(int index) {
  return R"({"type":"content_block_stop","index":)" + std::to_string(index) + "}";
}
std::string Arguments(int index, std::string_view piece) {
  return Delta(index,
               json::Dump({{"type", "input_json_delta"}, {"partial_json", std::string(piece)}}));
}
std::string End(std::string_view reason) {
  return R"({"type":"message_delta","delta":{"stop_reason":")" + std::string(reason) +
         R"(","stop_sequence":null},"usage":{"output_tokens":42}})";
}
constexpr std::string_view kTool = R"({"type":"tool_use","id":"t1","name":"ls","input":{}})";

TEST(AnthropicDecoder, PutsTextThinkingAndToolCallsTogether) {
  Decoding decoding;
  const auto response =
      decoding.All({kStart,
                    R"({"type":"ping"})",
                    BlockStart(0, R"({"type":"thinking","thinking":""})"),
                    Delta(0, R"({"type":"thinking_delta","thinking":"h"})"),
                    Delta(0, R"({"type":"thinking_delta","thinking":"m"})"),
                    Delta(0, R"({"type":"signature_delta","signature":"sig"})"),
                    BlockStop(0),
                    BlockStart(1, R"({"type":"redacted_thinking","data":"sealed"})"),
                    BlockStop(1),
                    BlockStart(2, R"({"type":"text","text":""})"),
                    Delta(2, R"({"type":"text_delta","text":"I "})"),
                    R"({"type":"ping"})",
                    Delta(2, R"({"type":"text_delta","text":"look."})"),
                    BlockStop(2),
                    BlockStart(3, kTool),
                    Arguments(3, ""),
                    Arguments(3, R"({"pa)"),
                    Arguments(3, R"(th":"."})"),
                    BlockStop(3),
                    End("tool_use"),
                    kStop});
  ASSERT_TRUE(response) << response.error().ToString();
  const std::vector<ContentBlock> expected = {
      Thinking{.text = "hm", .signature = "sig", .origin = "anthropic"},
      Thinking{.redacted_data = "sealed", .origin = "anthropic"}, Text{"I look."},
      ToolCall{.id = "t1", .name = "ls", .arguments = {{"path", "."}}}};
  EXPECT_EQ(response->message.content, expected);
  EXPECT_EQ(response->message.role, Role::kAssistant);
  EXPECT_EQ(response->stop_reason, StopReason::kToolUse);
  EXPECT_EQ(response->model, "claude-x-1");
  EXPECT_EQ(response->id, "msg_1");
  EXPECT_THAT(decoding.seen,
              ElementsAre("thinking h", "thinking m", "text I ", "text look.", "start t1 ls",
                          R"(args t1 {"pa)", R"(args t1 th":"."})", R"(call t1 {"path":"."})"));
}

TEST(AnthropicDecoder, TakesUsageAsCumulative) {
  Decoding decoding;
  const auto response = decoding.All({kStart, End("end_turn"), kStop});
  ASSERT_TRUE(response);
  EXPECT_THAT(decoding.usages, ElementsAre(Usage{10, 1, 30, 20}, Usage{10, 42, 30, 20}));
  EXPECT_EQ(response->usage, (Usage{10, 42, 30, 20}));
}

TEST(AnthropicDecoder, KnowsEveryStopReason) {
  const auto reason = [](std::string_view wire) {
    return Decoding().All({kStart, End(wire), kStop})->stop_reason;
  };
  EXPECT_EQ(reason("end_turn"), StopReason::kEndTurn);
  EXPECT_EQ(reason("tool_use"), StopReason::kToolUse);
  EXPECT_EQ(reason("max_tokens"), StopReason::kMaxTokens);
  EXPECT_EQ(reason("stop_sequence"), StopReason::kStopSequence);
  EXPECT_EQ(reason("refusal"), StopReason::kRefusal);
  EXPECT_EQ(reason("pause_turn"), StopReason::kPause);
  EXPECT_EQ(reason("model_context_window_exceeded"), StopReason::kContextOverflow);
  EXPECT_EQ(reason("invented"), StopReason::kEndTurn);
}

TEST(AnthropicDecoder, AToolCallNeverHidesBehindAnEndOfTurn) {
  const auto response =
      Decoding().All({kStart, BlockStart(0, kTool), BlockStop(0), End("end_turn"), kStop});
  EXPECT_EQ(response->stop_reason, StopReason::kToolUse);
}

ToolCall CallWith(std::initializer_list<std::string_view> pieces) {
  Decoding decoding;
  EXPECT_TRUE(decoding.Take(kStart));
  EXPECT_TRUE(decoding.Take(BlockStart(0, kTool)));
  for (const std::string_view piece : pieces) EXPECT_TRUE(decoding.Take(Arguments(0, piece)));
  auto response = decoding.All({BlockStop(0), End("tool_use"), kStop});
  EXPECT_TRUE(response) << response.error().ToString();
  return std::get<ToolCall>(response->message.content.at(0));
}

TEST(AnthropicDecoder, TakesNoArgumentsAsAnEmptyObject) {
  for (const ToolCall& call : {CallWith({}), CallWith({""}), CallWith({"{", "}"})}) {
    EXPECT_EQ(call.arguments, Json::object());
    EXPECT_FALSE(call.invalid_arguments);
  }
}

TEST(AnthropicDecoder, KeepsArgumentsThatAreNoJsonObjectAsInvalid) {
  for (const std::string_view text : {R"({"a":)", "[1]", "null", R"({"a":1,"a":2})", "{} {}"}) {
    const ToolCall call = CallWith({text});
    EXPECT_EQ(call.arguments, Json::object()) << text;
    EXPECT_EQ(call.invalid_arguments, std::string(text));
  }
}

TEST(AnthropicDecoder, TakesArgumentsThatCameWithTheStart) {
  const auto response = Decoding().All(
      {kStart, BlockStart(0, R"({"type":"tool_use","id":"t","name":"ls","input":{"a":1}})"),
       BlockStop(0), End("tool_use"), kStop});
  EXPECT_EQ(ToolCallsOf(response->message).at(0)->arguments, Json({{"a", 1}}));
}

TEST(AnthropicDecoder, IgnoresEventsBlocksAndDeltasThatItDoesNotKnow) {
  Decoding decoding;
  const auto response =
      decoding.All({R"({"type":"ping"})", kStart, R"({"type":"weather","sun":true})",
                    BlockStart(0, R"({"type":"server_tool_use","id":"s"})"), Arguments(0, "{}"),
                    BlockStop(0), BlockStart(1, R"({"type":"text","text":"a"})"),
                    Delta(1, R"({"type":"citations_delta","citation":{}})"), BlockStop(1),
                    BlockStart(2, R"({"type":"text","text":""})"), BlockStop(2), End("end_turn"),
                    kStop, "not even JSON, but after the end"});
  ASSERT_TRUE(response) << response.error().ToString();
  EXPECT_EQ(response->message, AssistantText("a"));
  EXPECT_THAT(decoding.seen, ElementsAre("text a"));
}

TEST(AnthropicDecoder, AStreamWithoutItsEndIsAConnectionError) {
  Decoding decoding;
  const auto response = decoding.All(
      {kStart, BlockStart(0, R"({"type":"text","text":"a"})"), BlockStop(0), End("end_turn")});
  EXPECT_EQ(response.error().code, ErrorCode::kConnection);
  EXPECT_THAT(response.error().message, HasSubstr("ended early"));
  EXPECT_EQ(Decoding().decoder.Finish().error().code, ErrorCode::kConnection);
}

TEST(AnthropicDecoder, AnErrorEventIsItsError) {
  Decoding decoding;
  ASSERT_TRUE(decoding.Take(kStart));
  const Status status =
      decoding.Take(R"({"type":"error","error":{"type":"overloaded_error","message":"Busy"}})");
  EXPECT_EQ(status.error().code, ErrorCode::kModelOverloaded);
  EXPECT_THAT(status.error().message, HasSubstr("Busy"));
}

TEST(AnthropicDecoder, RefusesAStreamAgainstTheFormat) {
  const auto code = [](std::initializer_list<std::string_view> datas) {
    const auto response = Decoding().All(datas);
    return response ? std::string("accepted") : std::string(ErrorCodeName(response.error().code));
  };
  const std::string text = BlockStart(0, R"({"type":"text","text":""})");
  const std::string delta = Delta(0, R"({"type":"text_delta","text":"a"})");
  EXPECT_EQ(code({"not JSON"}), "protocol_error");
  EXPECT_EQ(code({"{}"}), "protocol_error");
  EXPECT_EQ(code({"[]"}), "protocol_error");
  EXPECT_EQ(code({kStop}), "protocol_error");
  EXPECT_EQ(code({kStart, kStart}), "protocol_error");
  EXPECT_EQ(code({R"({"type":"message_start"})"}), "protocol_error");
  EXPECT_EQ(code({text}), "protocol_error");
  EXPECT_EQ(code({kStart, text, text}), "protocol_error");
  EXPECT_EQ(code({kStart, delta}), "protocol_error");
  EXPECT_EQ(code({kStart, text, BlockStop(0), delta}), "protocol_error");
  EXPECT_EQ(code({kStart, text, BlockStop(0), BlockStop(0)}), "protocol_error");
  EXPECT_EQ(code({kStart, BlockStop(7)}), "protocol_error");
  EXPECT_EQ(code({kStart, text, kStop}), "protocol_error");
  EXPECT_EQ(code({kStart, BlockStart(-1, R"({"type":"text"})")}), "protocol_error");
  EXPECT_EQ(code({kStart, BlockStart(0, R"({"type":"tool_use","id":"","name":"a"})")}),
            "protocol_error");
  EXPECT_EQ(code({kStart, text, Delta(0, R"({"type":"text_delta"})")}), "protocol_error");
  EXPECT_EQ(
      code({R"({"type":"message_start","message":{"model":"m","usage":{"input_tokens":-1}}})"}),
      "protocol_error");
}

TEST(AnthropicDecoder, BoundsBlocksAndBytes) {
  Decoding blocks;
  ASSERT_TRUE(blocks.Take(kStart));
  for (std::size_t i = 0; i < AnthropicDecoder::kMaxBlocks; ++i)
    ASSERT_TRUE(blocks.Take(BlockStart(static_cast<int>(i), R"({"type":"text"})")));
  EXPECT_EQ(
      blocks.Take(BlockStart(AnthropicDecoder::kMaxBlocks, R"({"type":"text"})")).error().code,
      ErrorCode::kTooLarge);

  Decoding bytes;
  ASSERT_TRUE(bytes.Take(kStart));
  ASSERT_TRUE(bytes.Take(BlockStart(0, R"({"type":"text"})")));
  const std::string megabyte =
      Delta(0, R"({"type":"text_delta","text":")" + std::string(1 << 20, 'x') + R"("})");
  for (std::size_t sent = 0; sent < AnthropicDecoder::kMaxAnswerBytes; sent += 1 << 20)
    ASSERT_TRUE(bytes.Take(megabyte));
  EXPECT_EQ(bytes.Take(Delta(0, R"({"type":"text_delta","text":"x"})")).error().code,
            ErrorCode::kTooLarge);
}

}  // namespace
}  // namespace cofferdam::model
