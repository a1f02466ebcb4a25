// A tool: what the model may ask for, and what comes of it.
//
// A tool reports to the model in words and to the record in facts. Two kinds of failure are kept
// apart: what the model can do something about is an outcome with is_error, and goes back to it;
// what ends the run (the sandbox cannot be had or is lost, the run was cancelled) is an Error.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "agent/arguments.h"
#include "agent/text.h"
#include "base/deadline.h"
#include "base/error.h"
#include "json/json.h"
#include "model/message.h"
#include "model/provider.h"
#include "record/events.h"
#include "sandbox/sandbox.h"

namespace cofferdam::agent {

/// What a tool may take of the world; the workspace's settings decide.
struct ToolLimits {
  TextLimits text = {};
  /// The timeout of a command that names none, and the longest that one may name.
  std::chrono::seconds command_timeout{300};
  /// For the words that explain why something was killed; the sandbox enforces them. 0 is unknown.
  std::uint64_t memory_bytes = 0;
  std::uint64_t max_processes = 0;
};

/// A file that a tool wrote, for the record.
struct FileChange {
  std::string path;
  /// Nothing when there was no such file.
  std::optional<record::FileState> before;
  record::FileState after;
};

/// What came of a tool call.
struct ToolOutcome {
  /// For the model.
  std::string content;
  bool is_error = false;
  /// For the record: of a command that ended by itself.
  std::optional<std::int64_t> exit_code = {};
  std::vector<FileChange> changes = {};
};

/// What a call is made with. Borrowed for the time of the call.
struct ToolContext {
  /// The run's sandbox, made on the first call. An error ends the run.
  std::function<Result<sandbox::Sandbox*>()> sandbox;
  std::string run_id;
  /// The model's own id of the call; any text.
  std::string call_id;
  ToolLimits limits = {};
  /// The run's; a command never runs longer.
  Deadline deadline;
  std::stop_token stop = {};
};

/// One tool. Implementations hold no state that changes; safe to use from several threads.
class Tool {
 public:
  virtual ~Tool() = default;

  const std::string& name() const { return name_; }
  model::ToolDefinition Definition() const;

  /// Checks the arguments and runs the tool. Errors: see the head of this file.
  Result<ToolOutcome> Call(const ToolContext& context, const json::Json& arguments) const;

 protected:
  Tool(std::string name, std::string description, std::vector<Parameter> parameters)
      : name_(std::move(name)),
        description_(std::move(description)),
        parameters_(std::move(parameters)) {}

 private:
  /// An error that does not end the run (EndsRun) becomes an outcome for the model.
  virtual Result<ToolOutcome> Run(const ToolContext& context, const Arguments& arguments) const = 0;

  std::string name_;
  std::string description_;
  std::vector<Parameter> parameters_;
};

/// The tools of a run. Immutable once made; safe to share.
class ToolSet {
 public:
  /// No two tools may have the same name.
  explicit ToolSet(std::vector<std::unique_ptr<Tool>> tools);

  /// In the order in which they were given.
  std::vector<model::ToolDefinition> Definitions() const;

  /// Calls the tool that `call` names. An unknown name, or arguments that are not a JSON object, is
  /// an outcome that tells the model so. Errors end the run.
  Result<ToolOutcome> Call(const ToolContext& context, const model::ToolCall& call) const;

 private:
  std::vector<std::unique_ptr<Tool>> tools_;
};

/// read, write, edit, bash, grep, find, ls.
ToolSet SandboxTools();

/// Whether an error of a sandbox call leaves nothing to go on with: no sandbox, or a cancelled run.
/// Everything else is for the model to read.
bool EndsRun(const Error& error);

/// An error as the model reads it: the sentence and what to do about it.
ToolOutcome ErrorOutcome(const Error& error);
ToolOutcome ErrorOutcome(std::string message);

}  // namespace cofferdam::agent
