// A provider answers a conversation with the next message, streaming while it comes.
#pragma once

#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/deadline.h"
#include "base/error.h"
#include "json/json.h"
#include "model/message.h"

namespace cofferdam::model {

/// A tool that the model may call.
struct ToolDefinition {
  /// 1 to 128 of A-Z a-z 0-9 _ -: what all providers accept.
  std::string name = {};
  std::string description = {};
  /// A JSON Schema whose type is "object".
  json::Json input_schema = json::Json{{"type", "object"}};
};

/// How much a model may think before it answers; a provider without such a thing ignores it.
struct ThinkingConfig {
  enum class Mode {
    kOff,
    kAdaptive,  // the model decides
    kBudget,    // at most budget_tokens
  };
  Mode mode = Mode::kOff;
  std::int64_t budget_tokens = 0;
};

/// One model call. The conversation must end with a user's message.
struct Request {
  /// The provider's own name of the model, without the provider: "claude-sonnet-4-5".
  std::string model = {};
  /// The system prompt; may be empty.
  std::string system = {};
  std::vector<Message> messages = {};
  std::vector<ToolDefinition> tools = {};
  /// The most tokens that the answer may have, thinking included.
  std::int64_t max_tokens = 8192;
  ThinkingConfig thinking = {};
  std::vector<std::string> stop_sequences = {};
};

/// More of the answer's text.
struct TextDelta {
  std::string text;
};
/// More of its thinking.
struct ThinkingDelta {
  std::string text;
};
/// The model begins to write a tool call.
struct ToolCallStarted {
  std::string id;
  std::string name;
};
/// More of that call's arguments: a piece of JSON text, for display only.
struct ToolCallArgumentsDelta {
  std::string id;
  std::string text;
};
/// A tool call is whole.
struct ToolCallCompleted {
  ToolCall call;
};
/// What the call has used up to now; replaces what an earlier event of the same call said.
struct UsageUpdate {
  Usage usage;
};

using StreamEvent = std::variant<TextDelta, ThinkingDelta, ToolCallStarted, ToolCallArgumentsDelta,
                                 ToolCallCompleted, UsageUpdate>;

/// Called on the thread that called Stream(), in order, never after Stream() has returned.
using EventSink = std::function<void(const StreamEvent&)>;

/// A whole answer. `message` is what a transcript keeps and the next request sends back.
struct Response {
  Message message{.role = Role::kAssistant, .content = {}};
  Usage usage = {};
  StopReason stop_reason = StopReason::kEndTurn;
  /// The model that answered, as the provider names it; may be more exact than the one asked for.
  std::string model = {};
  /// The provider's id for this answer, for a support request; may be empty.
  std::string id = {};
};

/// One account at one provider. Implementations may be used by several threads at once.
class Provider {
 public:
  virtual ~Provider() = default;

  /// "anthropic", "scripted": the part before the slash of a model reference.
  virtual std::string_view name() const = 0;

  /// Sends the request and gives `sink` what comes, until the answer is whole. Blocks; ends early
  /// with kCancelled when `stop` is requested and with kTimeout when `deadline` passes.
  ///
  /// Errors, by what a caller can do about them:
  ///   kModelAuthentication   the key is dead: not again before a person has acted
  ///   kModelBilling          out of money or at a spend limit: likewise, never retried
  ///   kModelRateLimit        too much; the hint says when to come back, if the provider did
  ///   kModelOverloaded       the provider is: later, or another model
  ///   kModelServer           the provider failed: likewise
  ///   kModelContextOverflow  the conversation is too long: compact it
  ///   kTooLarge              request or answer has more bytes than allowed
  ///   kModelInvalidRequest   the provider did not accept the request
  ///   kConnection            no connection, or cut before the answer was whole
  ///   kProtocol              the answer does not follow the provider's format
  /// An implementation retries by itself only while `sink` has been given nothing.
  virtual Result<Response> Stream(const Request& request, const EventSink& sink, Deadline deadline,
                                  std::stop_token stop) = 0;
};

}  // namespace cofferdam::model
