#include "agent/conversation.h"

#include <algorithm>

#include "json/fields.h"

namespace cofferdam::agent {

namespace {

constexpr std::string_view kMessageType = "message";

bool HoldsResults(const model::Message& message) {
  return std::ranges::all_of(message.content, [](const model::ContentBlock& block) {
    return std::holds_alternative<model::ToolResult>(block);
  });
}

}  // namespace

json::Json EntryOf(const model::Message& message, const std::string& run_id) {
  return {{"type", kMessageType}, {"run", run_id}, {"message", model::ToJson(message)}};
}

Result<std::vector<model::Message>> MessagesOf(const std::vector<json::Json>& entries) {
  std::vector<model::Message> messages;
  for (const json::Json& entry : entries) {
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
    messages.push_back(std::move(*message));
  }
  return messages;
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
