// The loop: model, tools, model, until the model has said what it wanted.
//
// What is on disk when: an event goes into the record before what it announces can have an effect
// (tool.started) or as soon as it has had one (model.called, tool.ended), and then
// the step goes into the transcript; the next step begins when both are on disk. So the record
// never knows less than the transcript. A host that is killed in between leaves tool calls without
// a result in the transcript: whether they ran is then unknown, and the next run in the session
// tells the model so instead of running them again. An answer that is in the record but not in the
// transcript is asked for again; nothing has come of it.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <variant>

#include "agent/tool.h"
#include "base/deadline.h"
#include "base/error.h"
#include "model/provider.h"
#include "record/event_log.h"
#include "sandbox/sandbox.h"
#include "sessions/session.h"

namespace cofferdam::agent {

/// A tool call is about to be made.
struct ToolStarted {
  model::ToolCall call;
};
/// It was made, and its result is on disk.
struct ToolEnded {
  std::string call_id;
  std::string tool;
  bool is_error = false;
  /// What the model gets to read.
  std::string content;
  std::chrono::microseconds duration{0};
};

/// What the caller of a run sees while it goes on.
using Progress = std::variant<model::TextDelta, model::ThinkingDelta, ToolStarted, ToolEnded>;

struct LoopOptions {
  /// "provider.model" is who is asked.
  std::string model;
  std::string system;
  std::int64_t max_turns = 100;
  std::int64_t max_tokens = 8192;
  ToolLimits limits = {};
  /// Of the whole run.
  Deadline deadline = Deadline::Never();
  std::stop_token stop = {};
  std::string run_id;
};

/// What a loop works with. Everything is borrowed for the time of Run.
struct LoopParts {
  model::Provider& provider;
  const ToolSet& tools;
  sessions::Session& session;
  record::EventLog& record;
  /// Makes the sandbox when the first tool needs it, and gives the same one ever after.
  std::function<Result<sandbox::Sandbox*>()> sandbox;
  /// Called when the calls of an answer have been made, with the number of the answer's turn in the
  /// session, from 1; an error ends the run. May be empty.
  std::function<Status(std::int64_t turn)> turn_ended = {};
  /// Whether what a tool wrote at a path is told by whoever ends the turn, so that its own word for
  /// it does not go into the record as well. May be empty.
  std::function<bool(const std::string& path)> told_at_turn_end = {};
  /// Called on the thread of Run.
  std::function<void(const Progress&)> progress;
};

/// What came of a loop, also of one that failed half-way.
struct LoopResult {
  /// The model's last words.
  std::string text = {};
  model::Usage usage = {};
  std::int64_t model_calls = 0;
  std::int64_t tool_calls = 0;
  /// The last turn in the session: the number of the model's answers that count.
  std::int64_t turn = 0;
  /// Nothing when the model ended its turn by itself. kCancelled, kTimeout (the run's deadline),
  /// kTurnLimit, kModelRefusal, kModelContextOverflow, kTooLarge (an answer that max_tokens cut),
  /// an error of the provider, of the sandbox, or of writing to disk.
  std::optional<Error> error = {};
};

/// Runs one message of the user to its end. Blocks. Does not write run.started, run.ended and the
/// events of the sandbox, which belong to whoever makes the run.
LoopResult RunLoop(const LoopOptions& options, const LoopParts& parts, const std::string& message);

}  // namespace cofferdam::agent
