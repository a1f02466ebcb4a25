#include "model/scripted.h"

#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/check.h"

namespace cofferdam::model {
namespace {

using ::testing::HasSubstr;

ScriptedProvider Playing(std::string_view text) {
  auto script = ParseScript(text);
  CHECK(script);
  return ScriptedProvider(std::move(*script));
}

Message Results(std::vector<ToolResult> results) {
  Message message;
  for (ToolResult& result : results) message.content.push_back(std::move(result));
  return message;
}

Result<Response> Ask(ScriptedProvider& provider, std::vector<Message> messages) {
  return provider.Stream({.model = "demo", .messages = std::move(messages)},
                         [](const StreamEvent&) {}, Deadline::Never(), {});
}

std::string Mismatch(ScriptedProvider& provider, std::vector<Message> messages) {
  const auto response = Ask(provider, std::move(messages));
  if (response) return "played";
  EXPECT_EQ(response.error().code, ErrorCode::kScriptMismatch);
  return response.error().message;
}

constexpr std::string_view kTwoTurns = R"(
turns:
  - text: I look.
    tool_calls:
      - {name: ls, arguments: {path: .}}
      - {name: bash, arguments: {command: "false"}}
  - expect:
      results:
        - {contains: a.txt, not_contains: secret}
        - {is_error: true, exit_code: 1}
    text: "Done: {{results}}"
)";

// The conversation after the first turn, with these results.
std::vector<Message> AfterFirstTurn(ScriptedProvider& provider, ToolResult first,
                                    ToolResult second) {
  std::vector<Message> messages = {UserText("go")};
  messages.push_back(Ask(provider, messages)->message);
  const Message answer = messages.back();
  first.tool_call_id = ToolCallsOf(answer).at(0)->id;
  second.tool_call_id = ToolCallsOf(answer).at(1)->id;
  messages.push_back(Results({std::move(second), std::move(first)}));  // in whatever order
  return messages;
}

ToolResult GoodListing() { return {.content = {Text{"a.txt\nb.txt"}}}; }
ToolResult GoodFailure() { return {.content = {Text{"(exit code 1)"}}, .is_error = true}; }

TEST(ScriptedProvider, PlaysItsTurnsByTheTranscriptAlone) {
  auto provider = Playing(kTwoTurns);
  const auto first = Ask(provider, {UserText("go")});
  ASSERT_TRUE(first) << first.error().ToString();
  EXPECT_EQ(TextOf(first->message), "I look.");
  EXPECT_EQ(first->stop_reason, StopReason::kToolUse);
  EXPECT_EQ(first->model, "demo");
  EXPECT_EQ(Ask(provider, {UserText("go")})->message, first->message);  // again, as after a crash

  auto another_process = Playing(kTwoTurns);
  const auto second = Ask(another_process, AfterFirstTurn(provider, GoodListing(), GoodFailure()));
  ASSERT_TRUE(second) << second.error().ToString();
  EXPECT_EQ(TextOf(second->message), "Done: a.txt\nb.txt\n(exit code 1)");
  EXPECT_EQ(second->stop_reason, StopReason::kEndTurn);
}

TEST(ScriptedProvider, BeginsAnewWithEachUserMessageAndWithNewCallIds) {
  auto provider = Playing(kTwoTurns);
  auto messages = AfterFirstTurn(provider, GoodListing(), GoodFailure());
  messages.push_back(Ask(provider, messages)->message);
  messages.push_back(UserText("again"));
  const auto third = Ask(provider, messages);
  ASSERT_TRUE(third) << third.error().ToString();
  EXPECT_EQ(TextOf(third->message), "I look.");
  EXPECT_NE(ToolCallsOf(third->message)[0]->id, ToolCallsOf(messages[1])[0]->id);
}

TEST(ScriptedProvider, AUserTextBesideAToolResultDoesNotBeginAnew) {
  auto provider = Playing(kTwoTurns);
  auto messages = AfterFirstTurn(provider, GoodListing(), GoodFailure());
  messages.back().content.push_back(Text{"and hurry"});
  EXPECT_THAT(TextOf(Ask(provider, messages)->message), HasSubstr("Done"));
}

TEST(ScriptedProvider, SaysWhichExpectationAToolResultFails) {
  auto provider = Playing(kTwoTurns);
  const auto mismatch = [&provider](ToolResult first, ToolResult second) {
    return Mismatch(provider, AfterFirstTurn(provider, std::move(first), std::move(second)));
  };
  EXPECT_EQ(mismatch({.content = {Text{"b.txt"}}}, GoodFailure()),
            "turn 2: result 1 should contain \"a.txt\", but is \"b.txt\"");
  EXPECT_EQ(mismatch({.content = {Text{"a.txt secret"}}}, GoodFailure()),
            "turn 2: result 1 should not contain \"secret\", but is \"a.txt secret\"");
  EXPECT_EQ(mismatch(GoodListing(), {.content = {Text{"exit code 1"}}}),
            "turn 2: result 2 should be an error, but is \"exit code 1\"");
  EXPECT_EQ(mismatch(GoodListing(), {.content = {Text{"exit code: 12"}}, .is_error = true}),
            "turn 2: result 2 should say exit code 1, but is \"exit code: 12\"");
  EXPECT_EQ(Mismatch(provider, {UserText("go"), Ask(provider, {UserText("go")})->message}),
            "turn 2: result 1 should be there, but is not");
}

TEST(ScriptedProvider, QuotesAtMostABoundedPartOfWhatCame) {
  auto provider = Playing(kTwoTurns);
  const std::string message = Mismatch(
      provider, AfterFirstTurn(provider, {.content = {Text{std::string(10'000, 'x')}}}, {}));
  EXPECT_LT(message.size(), 700u);
}

TEST(ScriptedProvider, ChecksTheUsersMessage) {
  auto provider = Playing("turns: [{expect: {user: {contains: please}}, text: ok}]");
  EXPECT_EQ(TextOf(Ask(provider, {UserText("now please")})->message), "ok");
  EXPECT_EQ(Mismatch(provider, {UserText("now")}),
            "turn 1: the user's message should contain \"please\", but is \"now\"");
}

TEST(ScriptedProvider, ChoosesTheFirstCaseThatFits) {
  auto provider = Playing(R"(
cases:
  - when: {contains: deploy}
    turns: [{text: deploying}]
  - when: {not_contains: never}
    turns: [{text: otherwise}]
)");
  EXPECT_EQ(TextOf(Ask(provider, {UserText("deploy it")})->message), "deploying");
  EXPECT_EQ(TextOf(Ask(provider, {UserText("hello")})->message), "otherwise");
  EXPECT_EQ(Mismatch(provider, {UserText("never")}), "no case fits the user's message \"never\"");
}

TEST(ScriptedProvider, RefusesATurnThatItDoesNotHave) {
  auto provider = Playing("turns: [{text: one}]");
  EXPECT_EQ(Mismatch(provider, {UserText("go"), AssistantText("one")}),
            "turn 2 was asked for, but the script has only 1");
  EXPECT_EQ(Mismatch(provider, {}), "the conversation has no user message");
}

TEST(ScriptedProvider, StreamsInPiecesThatAddUpToTheAnswer) {
  auto provider = Playing(R"(
turns:
  - thinking: Grüße denken sich langsam
    text: Die Größe der Dateien ändert sich 🙂🙂🙂🙂🙂🙂 ständig
    tool_calls: [{name: write, arguments: {path: a.txt, text: 0123456789012345678901234567890123}}]
)");
  std::string text, thinking, arguments;
  int pieces = 0;
  std::vector<std::string> calls;
  Usage usage;
  const EventSink sink = [&](const StreamEvent& event) {
    ++pieces;
    if (const auto* delta = std::get_if<TextDelta>(&event)) text += delta->text;
    if (const auto* delta = std::get_if<ThinkingDelta>(&event)) thinking += delta->text;
    if (const auto* call = std::get_if<ToolCallStarted>(&event))
      calls.push_back("start " + call->name);
    if (const auto* delta = std::get_if<ToolCallArgumentsDelta>(&event)) arguments += delta->text;
    if (const auto* call = std::get_if<ToolCallCompleted>(&event))
      calls.push_back("end " + call->call.name);
    if (const auto* update = std::get_if<UsageUpdate>(&event)) usage = update->usage;
  };
  const auto response =
      provider.Stream({.messages = {UserText("go")}}, sink, Deadline::Never(), {});
  ASSERT_TRUE(response);
  EXPECT_GT(pieces, 12);
  EXPECT_EQ(text, TextOf(response->message));
  EXPECT_EQ(thinking, std::get<Thinking>(response->message.content[0]).text);
  EXPECT_EQ(arguments, json::Dump(ToolCallsOf(response->message)[0]->arguments));
  EXPECT_THAT(calls, testing::ElementsAre("start write", "end write"));
  EXPECT_EQ(usage, response->usage);
  EXPECT_GT(usage.input_tokens, 0);
  EXPECT_GT(usage.output_tokens, 0);
}

TEST(ScriptedProvider, SaysUsageAndStopReasonOfTheScript) {
  auto provider = Playing(
      "turns: [{text: a, usage: {input_tokens: 9, output_tokens: 4}, stop_reason: refusal}]");
  const auto response = Ask(provider, {UserText("go")});
  EXPECT_EQ(response->usage, (Usage{.input_tokens = 9, .output_tokens = 4}));
  EXPECT_EQ(response->stop_reason, StopReason::kRefusal);
}

TEST(ScriptedProvider, RaisesAnErrorAfterItsText) {
  auto provider = Playing("turns: [{text: so far, error: {code: model_rate_limit}}]");
  std::string text;
  const auto response = provider.Stream(
      {.messages = {UserText("go")}},
      [&text](const StreamEvent& event) { text += std::get<TextDelta>(event).text; },
      Deadline::Never(), {});
  EXPECT_EQ(text, "so far");
  EXPECT_EQ(response.error().code, ErrorCode::kModelRateLimit);
}

TEST(ScriptedProvider, HangsUntilCancelledOrTheDeadline) {
  auto provider = Playing("turns: [{text: wait, hang: true}]");
  std::stop_source stop;
  const auto cancelled = provider.Stream(
      {.messages = {UserText("go")}}, [&stop](const StreamEvent&) { stop.request_stop(); },
      Deadline::Never(), stop.get_token());
  EXPECT_EQ(cancelled.error().code, ErrorCode::kCancelled);
  const auto late = provider.Stream({.messages = {UserText("go")}}, [](const StreamEvent&) {},
                                    Deadline::After(std::chrono::milliseconds(5)), {});
  EXPECT_EQ(late.error().code, ErrorCode::kTimeout);
}

TEST(ScriptedProvider, AStopRequestEndsTheStreamBetweenTwoPieces) {
  auto provider = Playing("turns: [{text: a text that is longer than one piece of it}]");
  std::stop_source stop;
  std::string text;
  const auto response = provider.Stream(
      {.messages = {UserText("go")}},
      [&](const StreamEvent& event) {
        text += std::get<TextDelta>(event).text;
        stop.request_stop();
      },
      Deadline::Never(), stop.get_token());
  EXPECT_EQ(response.error().code, ErrorCode::kCancelled);
  EXPECT_EQ(text, "a text that is l");
}

TEST(ScriptedProvider, DoesNotFillInWhatAUserHasWritten) {
  auto provider = Playing("turns: [{text: 'You: {{user}} {{other}}'}]");
  EXPECT_EQ(TextOf(Ask(provider, {UserText("{{results}} {{user}}")})->message),
            "You: {{results}} {{user}} {{other}}");
}

TEST(BuiltInScript, AnswersAndListsTheFilesWithOneCall) {
  ScriptedProvider provider(BuiltInScript());
  std::vector<Message> messages = {UserText("hello there")};
  Request request{.messages = messages, .tools = {{.name = "ls"}}};
  const auto ask = [&] {
    return provider.Stream(request, [](const StreamEvent&) {}, Deadline::Never(), {});
  };
  const auto first = ask();
  ASSERT_TRUE(first) << first.error().ToString();
  EXPECT_THAT(TextOf(first->message), HasSubstr("hello there"));
  EXPECT_THAT(TextOf(first->message), HasSubstr("ANTHROPIC_API_KEY"));
  ASSERT_EQ(ToolCallsOf(first->message).size(), 1u);
  const ToolCall call = *ToolCallsOf(first->message)[0];
  EXPECT_EQ(call.name, "ls");
  request.messages.push_back(first->message);
  request.messages.push_back(Results({{.tool_call_id = call.id, .content = {Text{"README.md"}}}}));
  const auto second = ask();
  ASSERT_TRUE(second) << second.error().ToString();
  EXPECT_THAT(TextOf(second->message), HasSubstr("README.md"));
  EXPECT_EQ(second->stop_reason, StopReason::kEndTurn);
}

TEST(BuiltInScript, EndsAfterItsFirstAnswerWhereNoListingToolIs) {
  ScriptedProvider provider(BuiltInScript());
  const auto response = Ask(provider, {UserText("hello")});
  ASSERT_TRUE(response);
  EXPECT_EQ(response->stop_reason, StopReason::kEndTurn);
}

}  // namespace
}  // namespace cofferdam::model
