// Messages as every provider understands them, and their form in a transcript. A conversation is a
// vector of these; each provider translates it to its own wire format and back. Values; nothing
// here is shared between threads.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/error.h"
#include "json/json.h"

namespace cofferdam::model {

/// Words, valid UTF-8.
struct Text {
  std::string text;
  bool operator==(const Text&) const = default;
};

/// What a model thought before it answered. A provider that signs its thinking wants it back
/// unchanged in the next request, and refuses another provider's.
struct Thinking {
  /// Empty when the provider shows nothing.
  std::string text = {};
  /// The provider's proof that the text is its own; opaque.
  std::string signature = {};
  /// The provider's sealed form of thinking that it does not show; opaque. Not empty only for
  /// redacted thinking, whose text is then empty.
  std::string redacted_data = {};
  /// The wire format that can read signature and redacted_data, for example "anthropic".
  std::string origin = {};
  bool operator==(const Thinking&) const = default;
};

/// A picture.
struct Image {
  /// "image/png", "image/jpeg", "image/gif" or "image/webp".
  std::string media_type;
  /// RFC 4648 base64 with padding, without line breaks.
  std::string data;
  bool operator==(const Image&) const = default;
};

/// The model asks for a tool.
struct ToolCall {
  /// Unique in the conversation; the result names it.
  std::string id = {};
  std::string name = {};
  /// Always an object.
  json::Json arguments = json::Json::object();
  /// What the model wrote, when that was not a JSON object; `arguments` is then empty. Such a call
  /// must not be executed: its result is an error that tells the model so.
  std::optional<std::string> invalid_arguments = {};
  bool operator==(const ToolCall&) const = default;
};

/// What became of a tool call.
struct ToolResult {
  using Part = std::variant<Text, Image>;
  std::string tool_call_id = {};
  std::vector<Part> content = {};
  bool is_error = false;
  bool operator==(const ToolResult&) const = default;
};

using ContentBlock = std::variant<Text, Thinking, Image, ToolCall, ToolResult>;

enum class Role { kUser, kAssistant };

/// One message. A user's holds Text, Image and ToolResult; an assistant's Text, Thinking and
/// ToolCall.
struct Message {
  Role role = Role::kUser;
  std::vector<ContentBlock> content = {};
  bool operator==(const Message&) const = default;
};

/// A message of one text block.
Message UserText(std::string text);
Message AssistantText(std::string text);

/// All Text blocks in order, joined by line feeds.
std::string TextOf(const Message& message);
std::string TextOf(const ToolResult& result);

/// The tool calls of a message, in order; borrowed from it.
std::vector<const ToolCall*> ToolCallsOf(const Message& message);

/// Tokens of one or more model calls. The four counters do not overlap, whatever a provider's own
/// convention is: the size of the prompt is input + cache_read + cache_write.
struct Usage {
  std::int64_t input_tokens = 0;
  std::int64_t output_tokens = 0;
  std::int64_t cache_read_tokens = 0;
  std::int64_t cache_write_tokens = 0;

  std::int64_t prompt_tokens() const {
    return input_tokens + cache_read_tokens + cache_write_tokens;
  }
  Usage& operator+=(const Usage& other);
  bool operator==(const Usage&) const = default;
};

/// Why the model stopped.
enum class StopReason {
  kEndTurn,          // it has said what it wanted
  kToolUse,          // it waits for tool results
  kMaxTokens,        // Request::max_tokens is used up; the last block may be cut
  kStopSequence,     // it wrote one of Request::stop_sequences
  kRefusal,          // it or its provider declined
  kPause,            // the provider paused a long turn: send the message back to go on
  kContextOverflow,  // the model's window is full
};

/// The stable text of a reason, as transcripts and events carry it: "end_turn", "tool_use",
/// "max_tokens", "stop_sequence", "refusal", "pause", "context_overflow".
std::string_view StopReasonName(StopReason reason);
std::optional<StopReason> StopReasonFromName(std::string_view name);

/// The form in a transcript:
///   {"role": "user"|"assistant", "content": [block, …]} where a block is one of
///   {"type":"text","text"}
///   {"type":"thinking","text","signature","redacted_data","origin"}    empty members left out
///   {"type":"image","media_type","data"}
///   {"type":"tool_call","id","name","arguments","invalid_arguments"?}
///   {"type":"tool_result","tool_call_id","content":[text or image …],"is_error"}
json::Json ToJson(const Message& message);
json::Json ToJson(const ContentBlock& block);
/// {"input_tokens","output_tokens","cache_read_tokens","cache_write_tokens"}
json::Json ToJson(const Usage& usage);

/// The reverse. Everything is checked (members, their types, which block may stand in whose
/// message); unknown members and types are refused. ErrorCode::kMalformed, naming the place.
Result<Message> MessageFromJson(const json::Json& value);
Result<Usage> UsageFromJson(const json::Json& value);

}  // namespace cofferdam::model
