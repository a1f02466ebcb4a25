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

/// A transcript's entries with ids "1", "2" and so on, as if they had been written.
class Entries {
 public:
  Entries& Add(const Message& message, const std::string& run = "run-1") {
    return Add(EntryOf(message, run));
  }
  Entries& Add(json::Json entry) {
    entry["id"] = std::to_string(entries_.size() + 1);
    entries_.push_back(std::move(entry));
    return *this;
  }
  Entries& Rewind(std::optional<std::int64_t> turn) {
    const std::vector<json::Json> added = *EntriesToRewind(entries_, turn, "note", "rewind-1");
    for (const json::Json& entry : added) Add(entry);
    return *this;
  }
  const std::vector<json::Json>& get() const { return entries_; }

 private:
  std::vector<json::Json> entries_;
};

/// Two runs: turns 1 (two calls) and 2, then turn 3.
Entries TwoRuns() {
  Entries entries;
  entries.Add(model::UserText("go")).Add(Calls({"a", "b"})).Add(ResultOf("a")).Add(ResultOf("b"));
  entries.Add(model::AssistantText("done"));
  entries.Add(model::UserText("more"), "run-2").Add(Calls({"c"}), "run-2");
  return entries.Add(ResultOf("c"), "run-2");
}

TEST(TurnsOf, ATurnIsAnAnswerWithTheResultsOfItsCalls) {
  EXPECT_EQ(*TurnsOf(TwoRuns().get()),
            (std::vector<Turn>{{"run-1", "4", true}, {"run-1", "5", false}, {"run-2", "8", true}}));
  EXPECT_TRUE(TurnsOf({})->empty());
}

TEST(TurnsOf, CountsOnlyWhatWasNotTakenBack) {
  EXPECT_EQ(TurnsOf(TwoRuns().Rewind(1).Add(Calls({"d"})).get()),
            (std::vector<Turn>{{"run-1", "4", true}, {"run-1", "11", true}}));
}

TEST(EntriesToRewind, KeepsATurnWithItsResultsAndTellsTheModel) {
  EXPECT_EQ(*MessagesOf(TwoRuns().Rewind(1).get()),
            (std::vector{model::UserText("go"), Calls({"a", "b"}), ResultOf("a"), ResultOf("b"),
                         model::UserText("note")}));
}

TEST(EntriesToRewind, ToTheBeginningKeepsNothing) {
  EXPECT_EQ(*MessagesOf(TwoRuns().Rewind(0).get()), std::vector{model::UserText("note")});
}

TEST(EntriesToRewind, WithoutATurnOnlyTellsTheModel) {
  const Entries entries = TwoRuns().Rewind(std::nullopt);
  EXPECT_EQ(MessagesOf(entries.get())->size(), 9U);
  EXPECT_EQ(MessagesOf(entries.get())->back(), model::UserText("note"));
}

TEST(EntriesToRewind, AgainReplacesTheNoteOfTheRewindBefore) {
  EXPECT_EQ(*MessagesOf(TwoRuns().Rewind(2).Rewind(1).get()),
            *MessagesOf(TwoRuns().Rewind(1).get()));
}

TEST(EntriesToRewind, AnswersWhatAKilledHostLeftOpenBeforeTheNote) {
  Entries entries;
  entries.Add(model::UserText("go")).Add(Calls({"a", "b"})).Add(ResultOf("a"));
  const auto messages = *MessagesOf(entries.Rewind(1).get());
  ASSERT_EQ(messages.size(), 5U);
  EXPECT_TRUE(UnansweredCalls(messages).empty());
  EXPECT_EQ(std::get<model::ToolResult>(messages[3].content[0]).tool_call_id, "b");
  EXPECT_EQ(messages[4], model::UserText("note"));
}

TEST(EntriesToRewind, RefusesATurnThatThereIsNot) {
  for (const std::int64_t turn : {-1, 4})
    EXPECT_EQ(EntriesToRewind(TwoRuns().get(), turn, "note", "r").error().code,
              ErrorCode::kInvalidArgument);
  EXPECT_TRUE(EntriesToRewind(TwoRuns().get(), 3, "note", "r"));
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
