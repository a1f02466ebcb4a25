#include "model/scripted.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <string>
#include <vector>

#include "base/utf8.h"

namespace cofferdam::model {
namespace {

using json::Json;

constexpr std::size_t kDeltaBytes = 16;
constexpr std::size_t kMaxQuotedBytes = 500;

// Where in a script a request stands, read off its transcript.
struct Position {
  std::string user;                        // the last user message's text
  std::size_t turn = 0;                    // assistant messages after it
  std::size_t answers = 0;                 // assistant messages in all
  std::vector<const ToolResult*> results;  // of the last of them, by its calls; null where missing
};

template <typename Block>
bool Holds(const Message& message) {
  return std::ranges::any_of(message.content, [](const ContentBlock& block) {
    return std::holds_alternative<Block>(block);
  });
}

bool Begins(const Message& message) {
  return message.role == Role::kUser && Holds<Text>(message) && !Holds<ToolResult>(message);
}

std::vector<const ToolResult*> ResultsOf(const std::vector<Message>& messages,
                                         std::size_t assistant) {
  std::vector<const ToolResult*> results;
  for (const ToolCall* call : ToolCallsOf(messages[assistant])) {
    results.push_back(nullptr);
    for (std::size_t i = assistant + 1; i < messages.size(); ++i)
      for (const ContentBlock& block : messages[i].content)
        if (const auto* result = std::get_if<ToolResult>(&block);
            result != nullptr && result->tool_call_id == call->id)
          results.back() = result;
  }
  return results;
}

std::optional<Position> Locate(const std::vector<Message>& messages) {
  Position position;
  bool found = false;
  for (std::size_t i = 0; i < messages.size(); ++i) {
    if (Begins(messages[i])) {
      found = true;
      position.user = TextOf(messages[i]);
      position.turn = 0;
      position.results.clear();
    } else if (messages[i].role == Role::kAssistant) {
      ++position.turn;
      ++position.answers;
      position.results = ResultsOf(messages, i);
    }
  }
  if (!found) return std::nullopt;
  return position;
}

std::string Quoted(std::string_view text) {
  std::string quoted = "\"";
  quoted += Utf8Prefix(text, kMaxQuotedBytes);
  return quoted + (text.size() > kMaxQuotedBytes ? "…\"" : "\"");
}

// What of `expectation` `text` does not meet; empty when it meets all.
std::string Unmet(const TextExpectation& expectation, std::string_view text) {
  for (const std::string& part : expectation.contains)
    if (!text.contains(part)) return "should contain " + Quoted(part) + ", but is " + Quoted(text);
  for (const std::string& part : expectation.not_contains)
    if (text.contains(part))
      return "should not contain " + Quoted(part) + ", but is " + Quoted(text);
  return {};
}

// The first number behind "exit code", in whatever sentence a tool says it.
std::optional<std::int64_t> ExitCodeIn(std::string_view text) {
  constexpr std::string_view kWords = "exit code";
  for (std::size_t at = text.find(kWords); at != std::string_view::npos;
       at = text.find(kWords, at + 1)) {
    std::size_t digits = at + kWords.size();
    while (digits < text.size() && (text[digits] == ' ' || text[digits] == ':')) ++digits;
    std::int64_t code = 0;
    std::size_t end = digits;
    for (; end < text.size() && end < digits + 9 && text[end] >= '0' && text[end] <= '9'; ++end)
      code = code * 10 + (text[end] - '0');
    if (end > digits) return code;
  }
  return std::nullopt;
}

std::string Unmet(const ResultExpectation& expectation, const ToolResult* result) {
  if (result == nullptr) return "should be there, but is not";
  const std::string text = TextOf(*result);
  if (expectation.is_error && *expectation.is_error != result->is_error)
    return std::string(*expectation.is_error ? "should be an error" : "should be no error") +
           ", but is " + Quoted(text);
  if (expectation.exit_code && ExitCodeIn(text) != expectation.exit_code)
    return "should say exit code " + std::to_string(*expectation.exit_code) + ", but is " +
           Quoted(text);
  return Unmet(expectation.text, text);
}

Status CheckExpectations(const ScriptedTurn& turn, const Position& position) {
  const std::string place = "turn " + std::to_string(position.turn + 1);
  const auto mismatch = [&place](const std::string& what) {
    return Err(ErrorCode::kScriptMismatch, place + ": " + what,
               "the script and the run differ: correct one of them");
  };
  if (const std::string unmet = Unmet(turn.expect_user, position.user); !unmet.empty())
    return mismatch("the user's message " + unmet);
  for (std::size_t i = 0; i < turn.expect_results.size(); ++i) {
    const ToolResult* result = i < position.results.size() ? position.results[i] : nullptr;
    if (const std::string unmet = Unmet(turn.expect_results[i], result); !unmet.empty())
      return mismatch("result " + std::to_string(i + 1) + " " + unmet);
  }
  return {};
}

// One pass, so that what a tool or a user has written is not replaced again.
std::string FillIn(std::string_view text, const Position& position) {
  std::string results;
  for (const ToolResult* result : position.results)
    if (result != nullptr) results += (results.empty() ? "" : "\n") + TextOf(*result);
  constexpr std::string_view kUser = "{{user}}";
  constexpr std::string_view kResults = "{{results}}";
  std::string filled;
  while (!text.empty()) {
    if (text.starts_with(kUser)) {
      filled += position.user;
      text.remove_prefix(kUser.size());
    } else if (text.starts_with(kResults)) {
      filled += results;
      text.remove_prefix(kResults.size());
    } else {
      filled += text.front();
      text.remove_prefix(1);
    }
  }
  return filled;
}

// About four bytes are a token: enough for budgets to have something to count.
std::int64_t Tokens(std::size_t bytes) { return static_cast<std::int64_t>((bytes + 3) / 4); }

Usage Estimate(const Request& request, const Message& answer) {
  std::size_t bytes = request.system.size();
  for (const Message& message : request.messages) bytes += json::Dump(ToJson(message)).size();
  return {.input_tokens = Tokens(bytes),
          .output_tokens = Tokens(json::Dump(ToJson(answer)).size())};
}

// Plays one turn to a sink.
class Player {
 public:
  Player(const EventSink& sink, Deadline deadline, std::stop_token stop)
      : sink_(sink), deadline_(deadline), stop_(std::move(stop)) {}

  Status Interrupted() const {
    if (stop_.stop_requested()) return Err(ErrorCode::kCancelled, "the model call was cancelled");
    if (deadline_.Expired()) return Err(ErrorCode::kTimeout, "the model call took too long");
    return {};
  }

  template <typename Send>
  Status InPieces(std::string_view text, Send send) const {
    while (!text.empty()) {
      RETURN_IF_ERROR(Interrupted());
      // The file may hold a character of four bytes, never one longer than a piece.
      const std::string_view piece = Utf8Prefix(text, kDeltaBytes);
      send(std::string(piece));
      text.remove_prefix(piece.size());
    }
    return {};
  }

  Status Play(const Message& message) const {
    for (const ContentBlock& block : message.content) {
      if (const auto* thinking = std::get_if<Thinking>(&block)) {
        RETURN_IF_ERROR(
            InPieces(thinking->text, [this](std::string piece) { sink_(ThinkingDelta{piece}); }));
      } else if (const auto* text = std::get_if<Text>(&block)) {
        RETURN_IF_ERROR(
            InPieces(text->text, [this](std::string piece) { sink_(TextDelta{piece}); }));
      } else if (const auto* call = std::get_if<ToolCall>(&block)) {
        sink_(ToolCallStarted{call->id, call->name});
        RETURN_IF_ERROR(InPieces(json::Dump(call->arguments), [this, call](std::string piece) {
          sink_(ToolCallArgumentsDelta{call->id, piece});
        }));
        sink_(ToolCallCompleted{*call});
      }
    }
    return Interrupted();
  }

  Status Hang() const {
    std::mutex mutex;
    std::condition_variable_any stopped;
    std::unique_lock lock(mutex);
    const auto never = [] { return false; };
    if (deadline_.is_never()) {
      stopped.wait(lock, stop_, never);
    } else {
      stopped.wait_for(lock, stop_, deadline_.Remaining(), never);
    }
    return Interrupted();
  }

 private:
  const EventSink& sink_;
  Deadline deadline_;
  std::stop_token stop_;
};

Message AnswerOf(const ScriptedTurn& turn, const Position& position, const Request& request) {
  Message answer{.role = Role::kAssistant};
  if (!turn.thinking.empty())
    answer.content.push_back(Thinking{.text = turn.thinking, .origin = "scripted"});
  if (!turn.text.empty()) answer.content.push_back(Text{FillIn(turn.text, position)});
  int number = 0;
  for (const ScriptedCall& call : turn.tool_calls) {
    ++number;
    if (call.if_offered &&
        std::ranges::find(request.tools, call.name, &ToolDefinition::name) == request.tools.end())
      continue;
    answer.content.push_back(ToolCall{
        .id = "call_" + std::to_string(position.answers + 1) + "_" + std::to_string(number),
        .name = call.name,
        .arguments = call.arguments});
  }
  return answer;
}

Result<const ScriptedTurn*> FindTurn(const Script& script, const Position& position) {
  const auto mismatch = [](std::string message) {
    return Err(ErrorCode::kScriptMismatch, std::move(message),
               "the script and the run differ: correct one of them");
  };
  for (const ScriptedCase& scripted : script.cases) {
    if (!Unmet(scripted.when, position.user).empty()) continue;
    if (position.turn >= scripted.turns.size())
      return mismatch("turn " + std::to_string(position.turn + 1) +
                      " was asked for, but the script has only " +
                      std::to_string(scripted.turns.size()));
    return &scripted.turns[position.turn];
  }
  return mismatch("no case fits the user's message " + Quoted(position.user));
}

}  // namespace

Result<Response> ScriptedProvider::Stream(const Request& request, const EventSink& sink,
                                          Deadline deadline, std::stop_token stop) {
  const auto position = Locate(request.messages);
  if (!position) return Err(ErrorCode::kScriptMismatch, "the conversation has no user message");
  ASSIGN_OR_RETURN(const ScriptedTurn* turn, FindTurn(script_, *position));
  RETURN_IF_ERROR(CheckExpectations(*turn, *position));

  Response response;
  response.message = AnswerOf(*turn, *position, request);
  response.model = request.model;
  const Player player(sink, deadline, std::move(stop));
  RETURN_IF_ERROR(player.Play(response.message));
  if (turn->hang) RETURN_IF_ERROR(player.Hang());
  if (turn->error) return std::unexpected(*turn->error);
  response.usage = turn->usage.value_or(Estimate(request, response.message));
  sink(UsageUpdate{response.usage});
  const bool calls = !ToolCallsOf(response.message).empty();
  response.stop_reason =
      turn->stop_reason.value_or(calls ? StopReason::kToolUse : StopReason::kEndTurn);
  return response;
}

}  // namespace cofferdam::model
