// A transcript's messages, and how a model wants them. A transcript has one entry for each step:
//
//   {"type": "message", "run": "<run id>", "message": <model::ToJson>}
//
// and what a rewind (sessions/rewind.h) took back does not count. A request has one message for
// each turn.
//
// Pure functions; safe to use from any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "json/json.h"
#include "model/message.h"

namespace cofferdam::agent {

/// A message as a transcript's entry, and the messages of all entries that count. An entry that is
/// none of these is ErrorCode::kUnsupported (another type) or kCorrupt (not a message): a
/// conversation is never continued with a part of it missing.
json::Json EntryOf(const model::Message& message, const std::string& run_id);
Result<std::vector<model::Message>> MessagesOf(const std::vector<json::Json>& entries);

/// The messages to send: the tool results of a turn become one message, and messages without
/// content are left out.
std::vector<model::Message> ForModel(const std::vector<model::Message>& transcript);

/// The tool calls that have no result, in order. After a host was killed these may have run or not.
std::vector<model::ToolCall> UnansweredCalls(const std::vector<model::Message>& transcript);

/// The result that tells the model that nobody knows what became of the call.
model::ToolResult UnknownOutcome(const model::ToolCall& call);

/// One turn of a conversation: an answer of the model with the results of its calls.
struct Turn {
  /// The run that it belongs to.
  std::string run;
  /// The id of the entry that ends it.
  std::string last_entry;
  /// Whether it called tools; they may have changed files.
  bool called_tools = false;
  bool operator==(const Turn&) const = default;
};

/// The turns among all entries that count, in order: turn 1 is the first. Errors as MessagesOf.
Result<std::vector<Turn>> TurnsOf(const std::vector<json::Json>& entries);

/// The entries that take the conversation of `entries` back to the end of a turn (0: to its
/// beginning), and then tell the model `note`. What it called and nobody answered is answered
/// first, so that what follows is a conversation that every provider takes. Without `turn` nothing
/// is taken back. ErrorCode::kInvalidArgument for a turn that there is not; else as MessagesOf.
Result<std::vector<json::Json>> EntriesToRewind(const std::vector<json::Json>& entries,
                                                std::optional<std::int64_t> turn,
                                                const std::string& note,
                                                const std::string& rewind_id);

/// A result of text.
model::ToolResult TextResult(const model::ToolCall& call, std::string text, bool is_error);

}  // namespace cofferdam::agent
