// A transcript's messages as a model wants them. A transcript has one message for each step, as it
// was written; a request has one for each turn.
//
// Pure functions; safe to use from any thread.
#pragma once

#include <vector>

#include "model/message.h"

namespace cofferdam::agent {

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
