// A run: one piece of work of an agent, from a message to its outcome.
#pragma once

#include <cstdint>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include <cofferdam/denied_calls.h>
#include <cofferdam/error.h>
#include <cofferdam/settings.h>

namespace cofferdam {

/// More of the agent's answer.
struct TextEvent {
  std::string text;
};
/// More of what it thinks.
struct ThinkingEvent {
  std::string text;
};
/// No slot is free: the run waits for one (max_concurrent_runs, PlatformOptions).
struct QueuedEvent {};
/// The sandbox was made and verified, on the first call that needed it.
struct SandboxReadyEvent {
  std::string sandbox_id;
  /// From the call that asked for it to its first answer.
  double milliseconds = 0;
  /// It was kept from an earlier run of the session (keep_sandbox_s).
  bool resumed = false;
};
/// A tool begins.
struct ToolStartedEvent {
  std::string call_id;
  std::string tool;
  /// A JSON object.
  std::string arguments;
};
/// A tool has ended; its result is on disk.
struct ToolEndedEvent {
  std::string call_id;
  std::string tool;
  bool is_error = false;
  /// What the model reads, cut as it is for the model.
  std::string content;
  double milliseconds = 0;
};

/// A turn, or something before or after it, has changed files; what they are now is kept.
struct CheckpointEvent {
  std::int64_t checkpoint = 0;
  /// Counted through the session; 0 for what was found before the first one of the run.
  std::int64_t turn = 0;
  /// How many paths are others than in the checkpoint before.
  std::int64_t changed = 0;
  /// The first hundred of what was not kept: too large, no file, or not to be read.
  std::vector<std::string> left_out = {};
};

using RunEvent = std::variant<TextEvent, ThinkingEvent, QueuedEvent, SandboxReadyEvent,
                              ToolStartedEvent, ToolEndedEvent, CheckpointEvent>;

/// Tokens. The counters do not overlap.
struct RunUsage {
  std::int64_t input_tokens = 0;
  std::int64_t output_tokens = 0;
  std::int64_t cache_read_tokens = 0;
  std::int64_t cache_write_tokens = 0;
};

/// How a run ended. A failure is never told as an empty success.
enum class RunOutcome { kCompleted, kFailed, kCancelled };

/// "completed", "failed", "cancelled": as the record says it.
std::string RunOutcomeName(RunOutcome outcome);

struct RunResult {
  std::string run_id = {};
  std::string session = {};
  RunOutcome outcome = RunOutcome::kFailed;
  /// The agent's last words, also of a run that failed later.
  std::string text = {};
  /// Why it failed or was cancelled; nothing when it completed.
  std::optional<Error> error = {};
  RunUsage usage = {};
  std::int64_t turns = 0;
  /// How long the run waited for a slot; nothing when it did not have to.
  std::optional<double> queued_ms = {};
  /// How long the sandbox took to be ready; nothing when none was needed.
  std::optional<double> sandbox_ready_ms = {};
  /// Empty unless it was asked for.
  DeniedCalls denied_calls = {};
  /// The folder of the run, with its record events.jsonl, and the hash of the record's last event.
  std::string folder = {};
  std::string record_head = {};
};

struct RunOptions {
  std::string message = {};
  /// A name of 1 to 128 of A-Z a-z 0-9 _ -; the conversation goes on where it stands. Empty begins
  /// a new one.
  std::string session = {};
  /// Before those of the workspace and the platform.
  Settings settings = {};
  /// For the provider "scripted": the script's path; empty takes the one that is built in.
  std::string script = {};
  /// Lists what seccomp refuses: RunResult::denied_calls, and an event in the record. Each refused
  /// call then costs a way to this process and back.
  bool audit_syscalls = false;
  /// Called for every event, on the run's own thread, one after the other. Must not block for long
  /// and must neither throw, nor call Wait, nor delete the run's workspace.
  std::function<void(const RunEvent&)> on_event = {};
};

/// A run that was started. It works on a thread of its own until it ends. Destroying it cancels it
/// and waits. Safe to use from several threads, except for Events, which one thread may read.
class Run {
 public:
  class EventStream;

  /// The platform makes runs (workspace.h).
  class State;
  explicit Run(std::unique_ptr<State> state);
  ~Run();
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;

  const std::string& id() const;
  const std::string& session() const;

  /// The events from the first one not yet read, for a range-for that ends when the run does.
  /// Pieces of text that nobody has read yet are joined, so that a slow reader loses nothing.
  EventStream Events();

  /// Asks the run to end soon. What runs in its sandbox is killed. Returns at once.
  void Cancel();

  /// Waits for the end. The same result each time.
  const RunResult& Wait();

 private:
  std::unique_ptr<State> state_;
};

/// What Run::Events returns: reading it blocks until there is an event or the run has ended.
class Run::EventStream {
 public:
  class Iterator {
   public:
    using value_type = RunEvent;
    using difference_type = std::ptrdiff_t;

    const RunEvent& operator*() const { return *event_; }
    Iterator& operator++();
    void operator++(int) { ++*this; }
    bool operator==(std::default_sentinel_t) const { return !event_.has_value(); }

   private:
    friend class EventStream;
    explicit Iterator(State* state) : state_(state) { ++*this; }
    State* state_;
    std::optional<RunEvent> event_;
  };

  Iterator begin() { return Iterator(state_); }
  std::default_sentinel_t end() { return {}; }

 private:
  friend class Run;
  explicit EventStream(State* state) : state_(state) {}
  State* state_;
};

}  // namespace cofferdam
