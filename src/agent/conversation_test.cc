#include "agent/conversation.h"

#include <gmock/gmock.h>

namespace cofferdam::agent {
namespace {

using model::Message;
using model::Role;
using model::ToolCall;

Message Calls(std::vector<std::string> ids) {
  Message message{.role = Role::kAssistant};
  for (std::string& id : ids)
    message.content.push_back(ToolCall{.id = std::move(id), .name = "ls"});
  return message;
}

Message ResultOf(const std::string& id) {
  return {.role = Role::kUser, .content = {TextResult({.id = id}, "done", false)}};
}

TEST(MessagesOf, GivesBackWhatEntriesHold) {
  const std::vector<Message> messages = {model::UserText("go"), Calls({"1"}), ResultOf("1")};
  std::vector<json::Json> entries;
  for (const Message& message : messages) {
    entries.push_back(EntryOf(message, "run-1"));
    EXPECT_EQ(entries.back().at("run"), "run-1");
  }
  EXPECT_EQ(*MessagesOf(entries), messages);
}

TEST(MessagesOf, AnEntryThatIsNotUnderstoodIsNotPassedOver) {
  const auto code = [](json::Json entry) {
    std::vector<json::Json> entries;
    entries.push_back(std::move(entry));
    return MessagesOf(entries).error().code;
  };
  EXPECT_EQ(code({{"type", "compaction"}}), ErrorCode::kUnsupported);
  EXPECT_EQ(code({{"type", "message"}, {"message", {{"role", "nobody"}}}}), ErrorCode::kCorrupt);
  EXPECT_FALSE(code({{"type", "message"}}) == ErrorCode::kInternal);
}

TEST(ForModel, PutsTheResultsOfATurnIntoOneMessage) {
  const auto messages = ForModel({model::UserText("go"), Calls({"1", "2"}), ResultOf("1"),
                                  ResultOf("2"), model::UserText("and now")});
  ASSERT_EQ(messages.size(), 4U);
  EXPECT_EQ(messages[2].role, Role::kUser);
  ASSERT_EQ(messages[2].content.size(), 2U);
  EXPECT_EQ(std::get<model::ToolResult>(messages[2].content[1]).tool_call_id, "2");
  EXPECT_EQ(messages[3], model::UserText("and now"));
}

TEST(ForModel, LeavesOutMessagesWithoutContent) {
  const auto messages =
      ForModel({model::UserText("a"), {.role = Role::kAssistant}, model::UserText("b")});
  EXPECT_EQ(messages, (std::vector{model::UserText("a"), model::UserText("b")}));
}

TEST(UnansweredCalls, AreThoseWithoutAResult) {
  EXPECT_TRUE(UnansweredCalls({model::UserText("a"), model::AssistantText("b")}).empty());
  EXPECT_TRUE(UnansweredCalls({Calls({"1"}), ResultOf("1")}).empty());
  const auto open = UnansweredCalls({Calls({"1", "2", "3"}), ResultOf("2")});
  ASSERT_EQ(open.size(), 2U);
  EXPECT_EQ(open[0].id, "1");
  EXPECT_EQ(open[1].id, "3");
}

TEST(UnansweredCalls, AnIdThatIsUsedAgainIsOpenAgain) {
  EXPECT_EQ(UnansweredCalls({Calls({"1"}), ResultOf("1"), Calls({"1"})}).size(), 1U);
}

TEST(UnknownOutcome, IsAnErrorThatSaysThatNothingIsKnown) {
  const model::ToolResult result = UnknownOutcome({.id = "7", .name = "bash"});
  EXPECT_EQ(result.tool_call_id, "7");
  EXPECT_TRUE(result.is_error);
  EXPECT_THAT(model::TextOf(result), testing::HasSubstr("outcome is unknown"));
}

}  // namespace
}  // namespace cofferdam::agent
