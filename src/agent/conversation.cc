#include "agent/conversation.h"

#include <algorithm>

#include "json/fields.h"
#include "sessions/rewind.h"

namespace cofferdam::agent {

namespace {

constexpr std::string_view kMessageType = "message";

bool HoldsResults(const model::Message& message) {
  return std::ranges::all_of(message.content, [](const model::ContentBlock& block) {
    return std::holds_alternative<model::ToolResult>(block);
  });
}

/// What one entry says; it counts.
Result<model::Message> MessageOf(const json::Json& entry) {
  ASSIGN_OR_RETURN(const std::string type, json::GetString(entry, "type"));
  if (type != kMessageType)
    return Err(
        ErrorCode::kUnsupported,
        "the transcript has an entry of type '" + type + "', which this program does not know",
        "use a newer version, or begin a new session");
  ASSIGN_OR_RETURN(const json::Json* stored, json::GetObject(entry, "message"));
  auto message = model::MessageFromJson(*stored);
  if (!message)
    return Err(ErrorCode::kCorrupt, "the transcript is damaged: " + message.error().message);
  return message;
}

}  // namespace

json::Json EntryOf(const model::Message& message, const std::string& run_id) {
  return {{"type", kMessageType}, {"run", run_id}, {"message", model::ToJson(message)}};
}

Result<std::vector<model::Message>> MessagesOf(const std::vector<json::Json>& entries) {
  ASSIGN_OR_RETURN(const std::vector<json::Json> counting, sessions::EffectiveEntries(entries));
  std::vector<model::Message> messages;
  for (const json::Json& entry : counting) {
    ASSIGN_OR_RETURN(model::Message message, MessageOf(entry));
    messages.push_back(std::move(message));
  }
  return messages;
}

Result<std::vector<Turn>> TurnsOf(const std::vector<json::Json>& entries) {
  ASSIGN_OR_RETURN(const std::vector<json::Json> counting, sessions::EffectiveEntries(entries));
  std::vector<Turn> turns;
  for (const json::Json& entry : counting) {
    ASSIGN_OR_RETURN(const model::Message message, MessageOf(entry));
    ASSIGN_OR_RETURN(std::string id, json::GetString(entry, "id"));
    if (message.role == model::Role::kAssistant) {
      ASSIGN_OR_RETURN(std::string run, json::GetString(entry, "run"));
      turns.push_back({std::move(run), std::move(id), !model::ToolCallsOf(message).empty()});
    } else if (!turns.empty() && !message.content.empty() && HoldsResults(message)) {
      turns.back().last_entry = std::move(id);
    }
  }
  return turns;
}

Result<std::vector<json::Json>> EntriesToRewind(const std::vector<json::Json>& entries,
                                                std::optional<std::int64_t> turn,
                                                const std::string& note,
                                                const std::string& rewind_id) {
  std::vector<json::Json> added;
  std::vector<json::Json> after = entries;
  if (turn) {
    ASSIGN_OR_RETURN(const std::vector<Turn> turns, TurnsOf(entries));
    if (*turn < 0 || *turn > std::ssize(turns))
      return Err(ErrorCode::kInvalidArgument, "there is no turn " + std::to_string(*turn) +
                                                  " in this session, which has " +
                                                  std::to_string(turns.size()));
    const std::string keep =
        *turn == 0 ? "" : turns[static_cast<std::size_t>(*turn) - 1].last_entry;
    added.push_back(sessions::RewindEntry(rewind_id, keep, *turn));
    after.push_back(added.back());
  }
  ASSIGN_OR_RETURN(const std::vector<model::Message> kept, MessagesOf(after));
  for (const model::ToolCall& call : UnansweredCalls(kept))
    added.push_back(
        EntryOf({.role = model::Role::kUser, .content = {UnknownOutcome(call)}}, rewind_id));
  added.push_back(EntryOf(model::UserText(note), rewind_id));
  return added;
}

std::vector<model::Message> ForModel(const std::vector<model::Message>& transcript) {
  std::vector<model::Message> messages;
  for (const model::Message& message : transcript) {
    if (message.content.empty()) continue;
    if (!messages.empty() && HoldsResults(message) && HoldsResults(messages.back())) {
      auto& content = messages.back().content;
      content.insert(content.end(), message.content.begin(), message.content.end());
    } else {
      messages.push_back(message);
    }
  }
  return messages;
}

std::vector<model::ToolCall> UnansweredCalls(const std::vector<model::Message>& transcript) {
  std::vector<model::ToolCall> open;
  for (const model::Message& message : transcript)
    for (const model::ContentBlock& block : message.content)
      if (const auto* call = std::get_if<model::ToolCall>(&block))
        open.push_back(*call);
      else if (const auto* result = std::get_if<model::ToolResult>(&block))
        std::erase_if(open, [result](const model::ToolCall& candidate) {
          return candidate.id == result->tool_call_id;
        });
  return open;
}

model::ToolResult UnknownOutcome(const model::ToolCall& call) {
  return TextResult(call,
                    "Error: the host stopped while this call was running, so its outcome is "
                    "unknown: it may have taken effect, wholly or in part, or not at all. It was "
                    "not run again. Look before you repeat it.",
                    true);
}

model::ToolResult TextResult(const model::ToolCall& call, std::string text, bool is_error) {
  return {.tool_call_id = call.id, .content = {model::Text{std::move(text)}}, .is_error = is_error};
}

}  // namespace cofferdam::agent
