#include "agent/loop.h"

#include <algorithm>
#include <utility>

#include "agent/conversation.h"

namespace cofferdam::agent {
namespace {

using SteadyClock = std::chrono::steady_clock;

template <typename Duration>
Duration Since(SteadyClock::time_point start) {
  return std::chrono::duration_cast<Duration>(SteadyClock::now() - start);
}

record::Usage ForRecord(const model::Usage& usage) {
  return {usage.input_tokens, usage.output_tokens, usage.cache_read_tokens,
          usage.cache_write_tokens};
}

/// One run of the loop.
class Loop {
 public:
  Loop(const LoopOptions& options, const LoopParts& parts) : options_(options), parts_(parts) {}

  LoopResult Run(const std::string& message) {
    Status status = Begin(message);
    if (status) status = Turns();
    if (!status) Fail(std::move(status).error());
    return std::move(result_);
  }

 private:
  /// Brings the transcript to where a model can go on, and adds the user's message.
  Status Begin(const std::string& message) {
    ASSIGN_OR_RETURN(transcript_, MessagesOf(parts_.session.Entries()));
    result_.turn = std::ranges::count(transcript_, model::Role::kAssistant, &model::Message::role);
    for (const model::ToolCall& call : UnansweredCalls(transcript_))
      RETURN_IF_ERROR(AppendResult(UnknownOutcome(call)));
    return Append(model::UserText(message));
  }

  Status Turns() {
    for (std::int64_t turn = 0; turn < options_.max_turns; ++turn) {
      RETURN_IF_ERROR(CheckLimits());
      ASSIGN_OR_RETURN(const model::Response response, CallModel());
      if (std::string text = model::TextOf(response.message); !text.empty())
        result_.text = std::move(text);
      RETURN_IF_ERROR(Append(response.message));
      ++result_.turn;
      const std::vector<const model::ToolCall*> calls = model::ToolCallsOf(response.message);
      if (calls.empty()) {
        if (response.stop_reason == model::StopReason::kPause) continue;
        return CheckEnd(response.stop_reason);
      }
      RETURN_IF_ERROR(response.stop_reason == model::StopReason::kMaxTokens ? RefuseCut(calls)
                                                                            : MakeCalls(calls));
      if (parts_.turn_ended) RETURN_IF_ERROR(parts_.turn_ended(result_.turn));
    }
    return Err(ErrorCode::kTurnLimit,
               "the run was ended after " + std::to_string(options_.max_turns) + " turns",
               "raise max_turns, or go on in the same session");
  }

  /// Whether an answer without tool calls is a success.
  static Status CheckEnd(model::StopReason reason) {
    switch (reason) {
      case model::StopReason::kEndTurn:
      case model::StopReason::kStopSequence:
        return {};
      case model::StopReason::kMaxTokens:
        return Err(ErrorCode::kTooLarge, "the model's answer was cut at max_tokens",
                   "raise max_tokens");
      case model::StopReason::kRefusal:
        return Err(ErrorCode::kModelRefusal, "the model declined to answer");
      case model::StopReason::kContextOverflow:
        return Err(ErrorCode::kModelContextOverflow, "the model's context window is full",
                   "begin a new session");
      case model::StopReason::kToolUse:
      case model::StopReason::kPause:
        break;
    }
    return Err(ErrorCode::kProtocol, "the model waits for tool results but called no tool");
  }

  Status CheckLimits() const {
    if (options_.stop.stop_requested()) return Err(ErrorCode::kCancelled, "the run was cancelled");
    if (options_.deadline.Expired()) return Err(ErrorCode::kTimeout, "the run's time is up");
    return {};
  }

  Result<model::Response> CallModel() {
    model::Request request;
    request.model = options_.model;
    request.system = options_.system;
    request.messages = ForModel(transcript_);
    request.tools = parts_.tools.Definitions();
    request.max_tokens = options_.max_tokens;

    model::Usage usage;
    const auto sink = [this, &usage](const model::StreamEvent& event) {
      if (const auto* text = std::get_if<model::TextDelta>(&event)) parts_.progress(*text);
      if (const auto* text = std::get_if<model::ThinkingDelta>(&event)) parts_.progress(*text);
      if (const auto* update = std::get_if<model::UsageUpdate>(&event)) usage = update->usage;
    };
    const auto start = SteadyClock::now();
    auto response = parts_.provider.Stream(request, sink, options_.deadline, options_.stop);
    // What a call has used is used, also when it failed.
    if (response) usage = response->usage;
    result_.usage += usage;
    ++result_.model_calls;
    RETURN_IF_ERROR(Record(record::ModelCalled(
        {.provider = std::string(parts_.provider.name()),
         .model = response && !response->model.empty() ? response->model : options_.model,
         .usage = ForRecord(usage),
         .stop_reason =
             response ? std::string(model::StopReasonName(response->stop_reason)) : "error",
         .milliseconds = Since<std::chrono::milliseconds>(start).count()})));
    return response;
  }

  /// An answer that was cut may have lost a part of its last call, so none of them is made.
  Status RefuseCut(const std::vector<const model::ToolCall*>& calls) {
    for (const model::ToolCall* call : calls)
      RETURN_IF_ERROR(AppendResult(TextResult(
          *call, "Error: not run, because your answer was cut at the most tokens it may have.",
          true)));
    return {};
  }

  Status MakeCalls(const std::vector<const model::ToolCall*>& calls) {
    std::optional<Error> end;
    for (const model::ToolCall* call : calls) {
      if (const Status limits = CheckLimits(); !end && !limits) end = limits.error();
      if (!end) {
        ASSIGN_OR_RETURN(end, MakeCall(*call));
        continue;
      }
      // The transcript stays whole: what is not made any more says so.
      RETURN_IF_ERROR(
          AppendResult(TextResult(*call, "Error: not run, because the run ended before.", true)));
    }
    if (end) return std::unexpected(std::move(*end));
    return {};
  }

  /// Makes one call and brings its result to disk. The value is what ends the run, if anything; an
  /// error is of the disk, and leaves the call without a result.
  Result<std::optional<Error>> MakeCall(const model::ToolCall& call) {
    RETURN_IF_ERROR(Record(record::ToolStarted(call.id, call.name, call.arguments)));
    parts_.progress(ToolStarted{call});
    ++result_.tool_calls;
    const auto start = SteadyClock::now();
    const auto outcome = parts_.tools.Call({.sandbox = parts_.sandbox,
                                            .run_id = options_.run_id,
                                            .call_id = call.id,
                                            .limits = options_.limits,
                                            .deadline = options_.deadline,
                                            .stop = options_.stop},
                                           call);
    const auto duration = Since<std::chrono::microseconds>(start);
    const ToolOutcome told = outcome ? *outcome : ErrorOutcome(outcome.error());
    RETURN_IF_ERROR(RecordOutcome(call, told, duration));
    RETURN_IF_ERROR(AppendResult(TextResult(call, told.content, told.is_error)));
    parts_.progress(ToolEnded{call.id, call.name, told.is_error, told.content, duration});
    if (outcome) return std::nullopt;
    return outcome.error();
  }

  Status RecordOutcome(const model::ToolCall& call, const ToolOutcome& outcome,
                       std::chrono::microseconds duration) {
    std::vector<record::NewEvent> events;
    events.reserve(outcome.changes.size() + 1);
    for (const FileChange& change : outcome.changes)
      if (!parts_.told_at_turn_end || !parts_.told_at_turn_end(change.path))
        events.push_back(record::FileChanged(change.path, change.before, change.after));
    events.push_back(record::ToolEnded({.id = call.id,
                                        .name = call.name,
                                        .ok = !outcome.is_error,
                                        .exit_code = outcome.exit_code,
                                        .milliseconds = duration.count() / 1000},
                                       outcome.content));
    if (auto recorded = parts_.record.AppendGroup(std::move(events)); !recorded)
      return std::unexpected(recorded.error().With("writing the record"));
    return {};
  }

  Status AppendResult(model::ToolResult result) {
    return Append({.role = model::Role::kUser, .content = {std::move(result)}});
  }

  Status Append(const model::Message& message) {
    std::vector<json::Json> entries;
    entries.push_back(EntryOf(message, options_.run_id));
    if (Status status = parts_.session.Append(std::move(entries)); !status)
      return std::unexpected(status.error().With("writing the transcript"));
    transcript_.push_back(message);
    return {};
  }

  Status Record(record::NewEvent event) {
    if (auto recorded = parts_.record.Append(std::move(event)); !recorded)
      return std::unexpected(recorded.error().With("writing the record"));
    return {};
  }

  void Fail(Error error) {
    // The run fails by this error; that it could not even be recorded changes nothing in that.
    static_cast<void>(
        parts_.record.Append(record::ErrorHappened(ErrorCodeName(error.code), error.message)));
    result_.error = std::move(error);
  }

  const LoopOptions& options_;
  const LoopParts& parts_;
  std::vector<model::Message> transcript_;
  LoopResult result_;
};

}  // namespace

LoopResult RunLoop(const LoopOptions& options, const LoopParts& parts, const std::string& message) {
  return Loop(options, parts).Run(message);
}

}  // namespace cofferdam::agent
