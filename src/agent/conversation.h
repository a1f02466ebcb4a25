// A transcript's messages, and how a model wants them. A transcript has one entry for each step:
//
//   {"type": "message", "run": "<run id>", "message": <model::ToJson>}
//
// A request has one message for each turn.
//
// Pure functions; safe to use from any thread.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "json/json.h"
#include "model/message.h"

namespace cofferdam::agent {

/// A message as a transcript's entry, and the messages of all entries. An entry that is none of
/// these is ErrorCode::kUnsupported (another type) or kCorrupt (not a message): a conversation is
/// never continued with a part of it missing.
json::Json EntryOf(const model::Message& message, const std::string& run_id);
Result<std::vector<model::Message>> MessagesOf(const std::vector<json::Json>& entries);

/// The messages to send: the tool results of a turn become one message, and messages without
/// content are left out.
std::vector<model::Message> ForModel(const std::vector<model::Message>& transcript);

/// The tool calls that have no result, in order. After a host was killed these may have run or not.
std::vector<model::ToolCall> UnansweredCalls(const std::vector<model::Message>& transcript);

/// The result that tells the model that nobody knows what became of the call.
model::ToolResult UnknownOutcome(const model::ToolCall& call);

/// A result of text.
model::ToolResult TextResult(const model::ToolCall& call, std::string text, bool is_error);

}  // namespace cofferdam::agent
