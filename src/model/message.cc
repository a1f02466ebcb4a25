#include "model/message.h"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <utility>

#include "base/check.h"
#include "json/fields.h"

namespace cofferdam::model {
namespace {

using json::Json;

constexpr std::array<std::pair<StopReason, std::string_view>, 7> kStopReasons = {{
    {StopReason::kEndTurn, "end_turn"},
    {StopReason::kToolUse, "tool_use"},
    {StopReason::kMaxTokens, "max_tokens"},
    {StopReason::kStopSequence, "stop_sequence"},
    {StopReason::kRefusal, "refusal"},
    {StopReason::kPause, "pause"},
    {StopReason::kContextOverflow, "context_overflow"},
}};

constexpr std::string_view kBase64Alphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

bool IsBase64(std::string_view text) {
  if (text.empty() || text.size() % 4 != 0) return false;
  if (text.ends_with('=')) text.remove_suffix(1);
  if (text.ends_with('=')) text.remove_suffix(1);
  return text.find_first_not_of(kBase64Alphabet) == std::string_view::npos;
}

// Only these: a member that we do not know may be one that changes the meaning.
Status CheckMembers(const Json& object, std::initializer_list<std::string_view> known) {
  if (!object.is_object()) return Err(ErrorCode::kMalformed, "is not an object");
  for (const auto& [name, value] : object.items())
    if (std::ranges::find(known, name) == known.end())
      return Err(ErrorCode::kMalformed, "has a member that is not known");
  return {};
}

template <typename Part>
std::string JoinText(const std::vector<Part>& parts) {
  std::string joined;
  bool first = true;
  for (const Part& part : parts) {
    const Text* text = std::get_if<Text>(&part);
    if (text == nullptr) continue;
    if (!std::exchange(first, false)) joined += '\n';
    joined += text->text;
  }
  return joined;
}

Json BlockToJson(const Text& text) { return {{"type", "text"}, {"text", text.text}}; }

Json BlockToJson(const Thinking& thinking) {
  Json json = {{"type", "thinking"}};
  const auto put = [&json](const char* name, const std::string& value) {
    if (!value.empty()) json[name] = value;
  };
  put("text", thinking.text);
  put("signature", thinking.signature);
  put("redacted_data", thinking.redacted_data);
  put("origin", thinking.origin);
  return json;
}

Json BlockToJson(const Image& image) {
  return {{"type", "image"}, {"media_type", image.media_type}, {"data", image.data}};
}

Json BlockToJson(const ToolCall& call) {
  Json json = {
      {"type", "tool_call"}, {"id", call.id}, {"name", call.name}, {"arguments", call.arguments}};
  if (call.invalid_arguments) json["invalid_arguments"] = *call.invalid_arguments;
  return json;
}

Json BlockToJson(const ToolResult& result) {
  Json content = Json::array();
  for (const ToolResult::Part& part : result.content)
    content.push_back(std::visit([](const auto& block) { return BlockToJson(block); }, part));
  return {{"type", "tool_result"},
          {"tool_call_id", result.tool_call_id},
          {"content", std::move(content)},
          {"is_error", result.is_error}};
}

Result<Text> TextFromJson(const Json& value) {
  RETURN_IF_ERROR(CheckMembers(value, {"type", "text"}));
  ASSIGN_OR_RETURN(std::string text, json::GetString(value, "text"));
  return Text{std::move(text)};
}

Result<Thinking> ThinkingFromJson(const Json& value) {
  RETURN_IF_ERROR(CheckMembers(value, {"type", "text", "signature", "redacted_data", "origin"}));
  ASSIGN_OR_RETURN(auto text, json::GetOptionalString(value, "text"));
  ASSIGN_OR_RETURN(auto signature, json::GetOptionalString(value, "signature"));
  ASSIGN_OR_RETURN(auto redacted_data, json::GetOptionalString(value, "redacted_data"));
  ASSIGN_OR_RETURN(auto origin, json::GetOptionalString(value, "origin"));
  return Thinking{.text = std::move(text).value_or(""),
                  .signature = std::move(signature).value_or(""),
                  .redacted_data = std::move(redacted_data).value_or(""),
                  .origin = std::move(origin).value_or("")};
}

Result<Image> ImageFromJson(const Json& value) {
  RETURN_IF_ERROR(CheckMembers(value, {"type", "media_type", "data"}));
  ASSIGN_OR_RETURN(std::string media_type, json::GetString(value, "media_type"));
  ASSIGN_OR_RETURN(std::string data, json::GetString(value, "data"));
  if (!media_type.starts_with("image/"))
    return Err(ErrorCode::kMalformed, "media_type does not name an image");
  if (!IsBase64(data)) return Err(ErrorCode::kMalformed, "data is not base64");
  return Image{.media_type = std::move(media_type), .data = std::move(data)};
}

Result<ToolCall> ToolCallFromJson(const Json& value) {
  RETURN_IF_ERROR(CheckMembers(value, {"type", "id", "name", "arguments", "invalid_arguments"}));
  ASSIGN_OR_RETURN(std::string id, json::GetString(value, "id"));
  ASSIGN_OR_RETURN(std::string name, json::GetString(value, "name"));
  ASSIGN_OR_RETURN(const Json* arguments, json::GetObject(value, "arguments"));
  ASSIGN_OR_RETURN(auto invalid_arguments, json::GetOptionalString(value, "invalid_arguments"));
  if (id.empty() || name.empty()) return Err(ErrorCode::kMalformed, "id or name is empty");
  return ToolCall{.id = std::move(id),
                  .name = std::move(name),
                  .arguments = *arguments,
                  .invalid_arguments = std::move(invalid_arguments)};
}

Result<ToolResult::Part> PartFromJson(const Json& value) {
  ASSIGN_OR_RETURN(const std::string type, json::GetString(value, "type"));
  if (type == "text") return TextFromJson(value);
  if (type == "image") return ImageFromJson(value);
  return Err(ErrorCode::kMalformed, "a tool result holds something other than text and images");
}

Result<ToolResult> ToolResultFromJson(const Json& value) {
  RETURN_IF_ERROR(CheckMembers(value, {"type", "tool_call_id", "content", "is_error"}));
  ToolResult result;
  ASSIGN_OR_RETURN(result.tool_call_id, json::GetString(value, "tool_call_id"));
  ASSIGN_OR_RETURN(result.is_error, json::GetBool(value, "is_error"));
  ASSIGN_OR_RETURN(const Json* content, json::GetArray(value, "content"));
  if (result.tool_call_id.empty()) return Err(ErrorCode::kMalformed, "tool_call_id is empty");
  for (const Json& item : *content) {
    ASSIGN_OR_RETURN(ToolResult::Part part, PartFromJson(item));
    result.content.push_back(std::move(part));
  }
  return result;
}

Result<ContentBlock> BlockFromJson(const Json& value) {
  ASSIGN_OR_RETURN(const std::string type, json::GetString(value, "type"));
  if (type == "text") return TextFromJson(value);
  if (type == "thinking") return ThinkingFromJson(value);
  if (type == "image") return ImageFromJson(value);
  if (type == "tool_call") return ToolCallFromJson(value);
  if (type == "tool_result") return ToolResultFromJson(value);
  return Err(ErrorCode::kMalformed, "is of a type that is not known");
}

bool MayStandIn(const ContentBlock& block, Role role) {
  if (std::holds_alternative<Text>(block)) return true;
  const bool is_assistants =
      std::holds_alternative<Thinking>(block) || std::holds_alternative<ToolCall>(block);
  return is_assistants == (role == Role::kAssistant);
}

}  // namespace

Message UserText(std::string text) {
  return {.role = Role::kUser, .content = {Text{std::move(text)}}};
}

Message AssistantText(std::string text) {
  return {.role = Role::kAssistant, .content = {Text{std::move(text)}}};
}

std::string TextOf(const Message& message) { return JoinText(message.content); }
std::string TextOf(const ToolResult& result) { return JoinText(result.content); }

std::vector<const ToolCall*> ToolCallsOf(const Message& message) {
  std::vector<const ToolCall*> calls;
  for (const ContentBlock& block : message.content)
    if (const auto* call = std::get_if<ToolCall>(&block)) calls.push_back(call);
  return calls;
}

Usage& Usage::operator+=(const Usage& other) {
  input_tokens += other.input_tokens;
  output_tokens += other.output_tokens;
  cache_read_tokens += other.cache_read_tokens;
  cache_write_tokens += other.cache_write_tokens;
  return *this;
}

std::string_view StopReasonName(StopReason reason) {
  const auto found =
      std::ranges::find(kStopReasons, reason, [](const auto& row) { return row.first; });
  CHECK(found != kStopReasons.end());
  return found->second;
}

std::optional<StopReason> StopReasonFromName(std::string_view name) {
  const auto found =
      std::ranges::find(kStopReasons, name, [](const auto& row) { return row.second; });
  if (found == kStopReasons.end()) return std::nullopt;
  return found->first;
}

Json ToJson(const ContentBlock& block) {
  return std::visit([](const auto& alternative) { return BlockToJson(alternative); }, block);
}

Json ToJson(const Message& message) {
  Json content = Json::array();
  for (const ContentBlock& block : message.content) content.push_back(ToJson(block));
  return {{"role", message.role == Role::kUser ? "user" : "assistant"},
          {"content", std::move(content)}};
}

Json ToJson(const Usage& usage) {
  return {{"input_tokens", usage.input_tokens},
          {"output_tokens", usage.output_tokens},
          {"cache_read_tokens", usage.cache_read_tokens},
          {"cache_write_tokens", usage.cache_write_tokens}};
}

Result<Message> MessageFromJson(const Json& value) {
  if (Status status = CheckMembers(value, {"role", "content"}); !status)
    return std::unexpected(status.error().With("the message"));
  Message message;
  ASSIGN_OR_RETURN(const std::string role, json::GetString(value, "role"));
  if (role != "user" && role != "assistant")
    return Err(ErrorCode::kMalformed, "a message's role is neither user nor assistant");
  message.role = role == "user" ? Role::kUser : Role::kAssistant;
  ASSIGN_OR_RETURN(const Json* content, json::GetArray(value, "content"));
  for (const Json& item : *content) {
    const std::string place = "content[" + std::to_string(message.content.size()) + "]";
    auto block = BlockFromJson(item);
    if (!block) return std::unexpected(block.error().With(place));
    if (!MayStandIn(*block, message.role))
      return Err(ErrorCode::kMalformed, place + ": may not stand in a message of this role");
    message.content.push_back(std::move(*block));
  }
  return message;
}

Result<Usage> UsageFromJson(const Json& value) {
  if (Status status = CheckMembers(
          value, {"input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens"});
      !status)
    return std::unexpected(status.error().With("the usage"));
  Usage usage;
  ASSIGN_OR_RETURN(usage.input_tokens, json::GetInt(value, "input_tokens", {.min = 0}));
  ASSIGN_OR_RETURN(usage.output_tokens, json::GetInt(value, "output_tokens", {.min = 0}));
  ASSIGN_OR_RETURN(usage.cache_read_tokens, json::GetInt(value, "cache_read_tokens", {.min = 0}));
  ASSIGN_OR_RETURN(usage.cache_write_tokens, json::GetInt(value, "cache_write_tokens", {.min = 0}));
  return usage;
}

}  // namespace cofferdam::model
