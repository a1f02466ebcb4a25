#include "model/anthropic_wire.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "base/utf8.h"
#include "json/fields.h"

namespace cofferdam::model {
namespace {

using json::Json;

constexpr std::string_view kOrigin = "anthropic";
// The words that arguments which are no JSON object are kept with; more is of no use to anybody.
constexpr std::size_t kMaxInvalidArgumentBytes = 16 << 10;

// ---- the request ----

bool IsBlank(std::string_view text) {
  return text.find_first_not_of(" \t\r\n\f\v") == std::string_view::npos;
}

Json CacheBreakpoint() { return {{"type", "ephemeral"}}; }

// The format's ids are of [a-zA-Z0-9_-]; another provider's may hold more.
std::string WireId(std::string_view id) {
  std::string wire(id);
  for (char& c : wire) {
    const bool allowed = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
                         (c >= 'a' && c <= 'z') || c == '_' || c == '-';
    if (!allowed) c = '_';
  }
  return wire;
}

// Each Append puts what stands for one block into `blocks`, or nothing.
void Append(const Text& text, Json& blocks) {
  if (!IsBlank(text.text)) blocks.push_back({{"type", "text"}, {"text", text.text}});
}

void Append(const Image& image, Json& blocks) {
  blocks.push_back(
      {{"type", "image"},
       {"source", {{"type", "base64"}, {"media_type", image.media_type}, {"data", image.data}}}});
}

void Append(const Thinking& thinking, Json& blocks) {
  if (thinking.origin != kOrigin) return;
  if (!thinking.redacted_data.empty()) {
    blocks.push_back({{"type", "redacted_thinking"}, {"data", thinking.redacted_data}});
  } else if (!thinking.signature.empty()) {
    blocks.push_back(
        {{"type", "thinking"}, {"thinking", thinking.text}, {"signature", thinking.signature}});
  }
}

void Append(const ToolCall& call, Json& blocks) {
  blocks.push_back({{"type", "tool_use"},
                    {"id", WireId(call.id)},
                    {"name", call.name},
                    {"input", call.arguments}});
}

void Append(const ToolResult& result, Json& blocks) {
  Json content = Json::array();
  for (const ToolResult::Part& part : result.content)
    std::visit([&content](const auto& block) { Append(block, content); }, part);
  Json block = {{"type", "tool_result"}, {"tool_use_id", WireId(result.tool_call_id)}};
  if (!content.empty()) block["content"] = std::move(content);
  if (result.is_error) block["is_error"] = true;
  blocks.push_back(std::move(block));
}

Json WireMessages(const std::vector<Message>& messages) {
  Json wire = Json::array();
  for (const Message& message : messages) {
    Json blocks = Json::array();
    const auto append = [&](bool results) {
      for (const ContentBlock& block : message.content)
        if (std::holds_alternative<ToolResult>(block) == results)
          std::visit([&blocks](const auto& alternative) { Append(alternative, blocks); }, block);
    };
    append(true);
    append(false);
    if (blocks.empty()) continue;
    wire.push_back({{"role", message.role == Role::kUser ? "user" : "assistant"},
                    {"content", std::move(blocks)}});
  }
  if (!wire.empty() && wire.back()["role"] == "user")
    wire.back()["content"].back()["cache_control"] = CacheBreakpoint();
  return wire;
}

Json WireTools(const std::vector<ToolDefinition>& tools) {
  Json wire = Json::array();
  for (const ToolDefinition& tool : tools)
    wire.push_back({{"name", tool.name},
                    {"description", tool.description},
                    {"input_schema", tool.input_schema}});
  return wire;
}

// ---- errors ----

std::string LowerCase(std::string_view text) {
  std::string lower(text);
  for (char& c : lower)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return lower;
}

bool ContainsAny(std::string_view text, std::initializer_list<std::string_view> needles) {
  return std::ranges::any_of(needles, [text](auto needle) { return text.contains(needle); });
}

// What an error document says; empty where it says nothing.
struct WireError {
  std::string type;
  std::string message;
  std::string detail_code;
  std::string request_id;
};

std::string StringOr(const Json& object, std::string_view key) {
  auto value = json::GetOptionalString(object, key);
  return value ? std::move(*value).value_or("") : "";
}

WireError ParseError(std::string_view body) {
  WireError wire;
  const auto document = json::Parse(body, {.max_bytes = 1 << 20, .max_depth = 32});
  if (!document) return wire;
  wire.request_id = StringOr(*document, "request_id");
  const auto error = json::GetObject(*document, "error");
  if (!error) return wire;
  wire.type = StringOr(**error, "type");
  wire.message = StringOr(**error, "message");
  if (const auto details = json::GetObject(**error, "details"))
    wire.detail_code = StringOr(**details, "error_code");
  return wire;
}

// A spend limit comes as 429 with a detail code, or as a plain 400 with only words to know it by.
bool IsSpendLimit(const WireError& wire) {
  return wire.detail_code == "enforced_spend_limit_reached" ||
         ContainsAny(LowerCase(wire.message), {"spend limit", "spending limit", "usage limits",
                                               "credit balance is too low"});
}

bool IsContextOverflow(int status, const WireError& wire) {
  if (status == 413 || wire.type == "request_too_large") return true;
  return ContainsAny(LowerCase(wire.message), {"prompt is too long", "exceed context limit"});
}

ErrorCode CodeOfType(std::string_view type) {
  constexpr std::array<std::pair<std::string_view, ErrorCode>, 7> kCodes = {{
      {"invalid_request_error", ErrorCode::kModelInvalidRequest},
      {"not_found_error", ErrorCode::kModelInvalidRequest},
      {"authentication_error", ErrorCode::kModelAuthentication},
      {"permission_error", ErrorCode::kModelAuthentication},
      {"billing_error", ErrorCode::kModelBilling},
      {"rate_limit_error", ErrorCode::kModelRateLimit},
      {"overloaded_error", ErrorCode::kModelOverloaded},
  }};
  const auto found = std::ranges::find(kCodes, type, [](const auto& row) { return row.first; });
  return found == kCodes.end() ? ErrorCode::kModelServer : found->second;
}

ErrorCode CodeOf(int status, const WireError& wire) {
  if (IsSpendLimit(wire)) return ErrorCode::kModelBilling;
  switch (status) {
    case 0:
      break;
    case 401:
    case 403:
      return ErrorCode::kModelAuthentication;
    case 402:
      return ErrorCode::kModelBilling;
    case 408:
    case 409:
      return ErrorCode::kModelServer;
    case 429:
      return ErrorCode::kModelRateLimit;
    case 529:
      return ErrorCode::kModelOverloaded;
    default:
      if (status < 400) return ErrorCode::kProtocol;
      if (status >= 500) return ErrorCode::kModelServer;
  }
  if (IsContextOverflow(status, wire)) return ErrorCode::kModelContextOverflow;
  return status == 0 ? CodeOfType(wire.type) : ErrorCode::kModelInvalidRequest;
}

std::string HintFor(ErrorCode code, int status) {
  switch (code) {
    case ErrorCode::kModelAuthentication:
      return "check the API key of this provider";
    case ErrorCode::kModelBilling:
      return "the account is out of money or at its spend limit";
    case ErrorCode::kModelContextOverflow:
      return "shorten or compact the conversation";
    case ErrorCode::kProtocol:
      return "check the base URL of this provider";
    default:
      return status == 404 ? "check the model's name and the base URL of this provider" : "";
  }
}

// ---- the answer ----

std::unexpected<Error> Protocol(std::string_view what) {
  return Err(ErrorCode::kProtocol, "the model's answer breaks its format: " + std::string(what));
}

std::optional<StopReason> StopReasonFromWire(std::string_view wire) {
  if (wire == "pause_turn") return StopReason::kPause;
  if (wire == "model_context_window_exceeded") return StopReason::kContextOverflow;
  return StopReasonFromName(wire);  // the others have the same names
}

// Arguments that are no object make an invalid call, which the model will be told about.
void SetArguments(ToolCall& call, std::string text) {
  if (text.empty()) return;  // what came with the block's start stands
  auto arguments = json::Parse(text);
  if (arguments && arguments->is_object()) {
    call.arguments = std::move(*arguments);
  } else {
    call.arguments = Json::object();
    call.invalid_arguments = Utf8Prefix(text, kMaxInvalidArgumentBytes);
  }
}

}  // namespace

Json AnthropicRequestBody(const Request& request) {
  Json body = {{"model", request.model},
               {"max_tokens", request.max_tokens},
               {"stream", true},
               {"messages", WireMessages(request.messages)}};
  if (!request.tools.empty()) body["tools"] = WireTools(request.tools);
  if (!IsBlank(request.system)) {
    body["system"] = Json::array(
        {{{"type", "text"}, {"text", request.system}, {"cache_control", CacheBreakpoint()}}});
  } else if (!request.tools.empty()) {
    body["tools"].back()["cache_control"] = CacheBreakpoint();
  }
  if (!request.stop_sequences.empty()) body["stop_sequences"] = request.stop_sequences;
  switch (request.thinking.mode) {
    case ThinkingConfig::Mode::kOff:
      break;
    case ThinkingConfig::Mode::kAdaptive:
      body["thinking"] = {{"type", "adaptive"}};
      break;
    case ThinkingConfig::Mode::kBudget:
      body["thinking"] = {{"type", "enabled"}, {"budget_tokens", request.thinking.budget_tokens}};
      break;
  }
  return body;
}

Error AnthropicError(int status, std::string_view body) {
  const WireError wire = ParseError(body);
  const ErrorCode code = CodeOf(status, wire);
  std::string message = "the model provider answered ";
  message += status == 0 ? "with an error in mid-stream" : std::to_string(status);
  const std::string& reason = wire.message.empty() ? wire.type : wire.message;
  if (!reason.empty()) {
    message += ": ";
    message += reason;
  }
  if (!wire.request_id.empty()) {
    message += " [" + wire.request_id + "]";
  }
  return {code, std::move(message), HintFor(code, status), 0};
}

Status AnthropicDecoder::Take(const net::SseEvent& event, const EventSink& sink) {
  if (done_) return {};
  const auto document = json::Parse(event.data);
  if (!document) return Protocol("an event is not JSON");
  const std::string type = StringOr(*document, "type");
  if (type == "error") return std::unexpected(AnthropicError(0, event.data));
  if (Status status = Dispatch(*document, sink); !status) {
    // The readers of fields call it malformed, without saying of what.
    if (status.error().code == ErrorCode::kMalformed) return Protocol(status.error().message);
    return status;
  }
  return {};
}

Status AnthropicDecoder::Dispatch(const Json& event, const EventSink& sink) {
  ASSIGN_OR_RETURN(const std::string type, json::GetString(event, "type"));
  if (type == "message_start") return StartMessage(event, sink);
  const bool known = type == "content_block_start" || type == "content_block_delta" ||
                     type == "content_block_stop" || type == "message_delta" ||
                     type == "message_stop";
  if (!known) return {};  // "ping", and what is invented later
  if (!started_) return Protocol(type + " before message_start");
  if (type == "content_block_start") return StartBlock(event, sink);
  if (type == "content_block_delta") return AddDelta(event, sink);
  if (type == "content_block_stop") return StopBlock(event, sink);
  if (type == "message_delta") return ChangeMessage(event, sink);
  return StopMessage();
}

Status AnthropicDecoder::StartMessage(const Json& event, const EventSink& sink) {
  if (std::exchange(started_, true)) return Protocol("a second message_start");
  ASSIGN_OR_RETURN(const Json* message, json::GetObject(event, "message"));
  ASSIGN_OR_RETURN(response_.model, json::GetString(*message, "model"));
  response_.id = StringOr(*message, "id");
  return TakeUsage(*message, sink);
}

Status AnthropicDecoder::TakeUsage(const Json& holder, const EventSink& sink) {
  const auto usage = json::GetObject(holder, "usage");
  if (!usage) return {};
  // Cumulative: what is there replaces, what is not stays.
  const auto take = [&usage](const char* name, std::int64_t& counter) -> Status {
    ASSIGN_OR_RETURN(const auto value, json::GetOptionalInt(**usage, name, {.min = 0}));
    counter = value.value_or(counter);
    return {};
  };
  RETURN_IF_ERROR(take("input_tokens", response_.usage.input_tokens));
  RETURN_IF_ERROR(take("output_tokens", response_.usage.output_tokens));
  RETURN_IF_ERROR(take("cache_read_input_tokens", response_.usage.cache_read_tokens));
  RETURN_IF_ERROR(take("cache_creation_input_tokens", response_.usage.cache_write_tokens));
  sink(UsageUpdate{response_.usage});
  return {};
}

Status AnthropicDecoder::StartBlock(const Json& event, const EventSink& sink) {
  ASSIGN_OR_RETURN(const std::int64_t index, json::GetInt(event, "index", {.min = 0}));
  ASSIGN_OR_RETURN(const Json* start, json::GetObject(event, "content_block"));
  ASSIGN_OR_RETURN(const std::string type, json::GetString(*start, "type"));
  if (blocks_.contains(index)) return Protocol("two blocks of one index");
  if (blocks_.size() >= kMaxBlocks)
    return Err(ErrorCode::kTooLarge, "the model's answer has too many blocks");
  Block block{.content = Ignored{}};
  if (type == "text") {
    Text text{StringOr(*start, "text")};
    RETURN_IF_ERROR(Count(text.text.size()));
    if (!text.text.empty()) sink(TextDelta{text.text});
    block.content = std::move(text);
  } else if (type == "thinking" || type == "redacted_thinking") {
    Thinking thinking{.text = StringOr(*start, "thinking"),
                      .signature = StringOr(*start, "signature"),
                      .redacted_data = StringOr(*start, "data"),
                      .origin = std::string(kOrigin)};
    RETURN_IF_ERROR(
        Count(thinking.text.size() + thinking.signature.size() + thinking.redacted_data.size()));
    if (!thinking.text.empty()) sink(ThinkingDelta{thinking.text});
    block.content = std::move(thinking);
  } else if (type == "tool_use") {
    ToolCall call;
    ASSIGN_OR_RETURN(call.id, json::GetString(*start, "id"));
    ASSIGN_OR_RETURN(call.name, json::GetString(*start, "name"));
    if (call.id.empty() || call.name.empty()) return Protocol("a tool call without id or name");
    if (const auto input = json::GetObject(*start, "input")) call.arguments = **input;
    sink(ToolCallStarted{call.id, call.name});
    block.content = std::move(call);
  }
  blocks_.emplace(index, std::move(block));
  return {};
}

Result<AnthropicDecoder::Block*> AnthropicDecoder::OpenBlock(const Json& event) {
  ASSIGN_OR_RETURN(const std::int64_t index, json::GetInt(event, "index"));
  const auto found = blocks_.find(index);
  if (found == blocks_.end() || !found->second.open) return Protocol("a block that is not open");
  return &found->second;
}

Status AnthropicDecoder::AddDelta(const Json& event, const EventSink& sink) {
  ASSIGN_OR_RETURN(Block * block, OpenBlock(event));
  ASSIGN_OR_RETURN(const Json* delta, json::GetObject(event, "delta"));
  ASSIGN_OR_RETURN(const std::string type, json::GetString(*delta, "type"));
  // A delta of a kind or for a block that we do not know is ignored.
  if (auto* text = std::get_if<Text>(&block->content); text != nullptr && type == "text_delta") {
    ASSIGN_OR_RETURN(std::string more, json::GetString(*delta, "text"));
    RETURN_IF_ERROR(Count(more.size()));
    text->text += more;
    if (!more.empty()) sink(TextDelta{std::move(more)});
  } else if (auto* thinking = std::get_if<Thinking>(&block->content); thinking != nullptr) {
    const std::string more = StringOr(*delta, "thinking");
    const std::string signature = StringOr(*delta, "signature");
    RETURN_IF_ERROR(Count(more.size() + signature.size()));
    thinking->text += more;
    thinking->signature += signature;
    if (!more.empty()) sink(ThinkingDelta{more});
  } else if (auto* call = std::get_if<ToolCall>(&block->content);
             call != nullptr && type == "input_json_delta") {
    ASSIGN_OR_RETURN(std::string more, json::GetString(*delta, "partial_json"));
    RETURN_IF_ERROR(Count(more.size()));
    block->partial_json += more;
    if (!more.empty()) sink(ToolCallArgumentsDelta{call->id, std::move(more)});
  }
  return {};
}

Status AnthropicDecoder::StopBlock(const Json& event, const EventSink& sink) {
  ASSIGN_OR_RETURN(Block * block, OpenBlock(event));
  block->open = false;
  if (auto* call = std::get_if<ToolCall>(&block->content)) {
    SetArguments(*call, std::exchange(block->partial_json, {}));
    sink(ToolCallCompleted{*call});
  }
  return {};
}

Status AnthropicDecoder::ChangeMessage(const Json& event, const EventSink& sink) {
  ASSIGN_OR_RETURN(const Json* delta, json::GetObject(event, "delta"));
  ASSIGN_OR_RETURN(auto stop_reason, json::GetOptionalString(*delta, "stop_reason"));
  if (stop_reason) stop_reason_ = std::move(stop_reason);
  return TakeUsage(event, sink);
}

Status AnthropicDecoder::StopMessage() {
  for (const auto& [index, block] : blocks_)
    if (block.open) return Protocol("message_stop before the end of a block");
  done_ = true;
  return {};
}

Status AnthropicDecoder::Count(std::size_t bytes) {
  answer_bytes_ += bytes;
  if (answer_bytes_ <= kMaxAnswerBytes) return {};
  return Err(ErrorCode::kTooLarge, "the model's answer is too long");
}

Result<Response> AnthropicDecoder::Finish() {
  if (!done_)
    return Err(ErrorCode::kConnection, "the model's answer ended early: the stream was cut");
  bool has_calls = false;
  for (auto& [index, block] : blocks_) {
    if (auto* text = std::get_if<Text>(&block.content)) {
      if (!text->text.empty()) response_.message.content.push_back(std::move(*text));
    } else if (auto* thinking = std::get_if<Thinking>(&block.content)) {
      response_.message.content.push_back(std::move(*thinking));
    } else if (auto* call = std::get_if<ToolCall>(&block.content)) {
      has_calls = true;
      response_.message.content.push_back(std::move(*call));
    }
  }
  // A reason that is not known ends the turn; so it does not hide a call that waits for its result.
  response_.stop_reason =
      StopReasonFromWire(stop_reason_.value_or("")).value_or(StopReason::kEndTurn);
  if (response_.stop_reason == StopReason::kEndTurn && has_calls)
    response_.stop_reason = StopReason::kToolUse;
  return std::move(response_);
}

}  // namespace cofferdam::model
