// What a run's record can say: the types of events and their data. Each constructor makes one event
// that has not been recorded yet. Pure; safe to call from any thread.
//
// Nothing here may hold a secret: an event is evidence for strangers. Tool input is recorded as the
// model gave it, so whoever puts secrets into tool input redacts them first.
//
// Format of the data: docs/formats/events.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "json/json.h"

namespace cofferdam::record {

inline constexpr std::string_view kRunStarted = "run.started";
inline constexpr std::string_view kRunQueued = "run.queued";
inline constexpr std::string_view kSandboxMade = "sandbox.made";
inline constexpr std::string_view kSandboxVerified = "sandbox.verified";
inline constexpr std::string_view kSandboxDeniedCalls = "sandbox.denied_calls";
inline constexpr std::string_view kSandboxResumed = "sandbox.resumed";
inline constexpr std::string_view kSandboxKept = "sandbox.kept";
inline constexpr std::string_view kSandboxEnded = "sandbox.ended";
inline constexpr std::string_view kModelCalled = "model.called";
inline constexpr std::string_view kToolStarted = "tool.started";
inline constexpr std::string_view kToolEnded = "tool.ended";
inline constexpr std::string_view kViewOpened = "view.opened";
inline constexpr std::string_view kFileChanged = "file.changed";
inline constexpr std::string_view kCheckpointTaken = "checkpoint.taken";
inline constexpr std::string_view kError = "error";
/// The last event of every complete record.
inline constexpr std::string_view kRunEnded = "run.ended";

/// An event before it has a place in a record. `data` is an object.
struct NewEvent {
  std::string type;
  json::Json data = json::Json::object();
};

/// Tokens, as the provider counted them.
struct Usage {
  std::int64_t input_tokens = 0;
  std::int64_t output_tokens = 0;
  std::int64_t cache_read_tokens = 0;
  std::int64_t cache_write_tokens = 0;
};

/// `model` is "provider/model". The message itself stays in the transcript; its length and SHA-256
/// are recorded.
NewEvent RunStarted(std::string_view model, std::string_view message);

/// No slot was free when the run was to begin. A run that was not let in has no run.started.
NewEvent RunQueued();

/// How the disk limit of a sandbox's files is kept.
struct DiskLimit {
  /// A stable word: "none", "soft", "project_quota", "image".
  std::string mechanism;
  std::int64_t bytes = 0;
};
/// `kind` is "local" or the name of a machine.
NewEvent SandboxMade(std::string_view sandbox, std::string_view kind, std::int64_t milliseconds,
                     const DiskLimit& disk);

/// How one layer of a sandbox was seen: `seen` is "read", "probed" or "missing".
struct SeenLayer {
  std::string name;
  std::string seen;
  std::string detail;
};
NewEvent SandboxVerified(std::string_view sandbox, const std::vector<SeenLayer>& layers);

/// One kind of system call that seccomp refused in an audited sandbox.
struct DeniedCall {
  std::string syscall;
  std::string call;  // with the arguments that decided
  std::string answer;
  std::uint64_t count = 0;
};
/// `others` counts the calls of kinds that are not in `calls`.
NewEvent SandboxDeniedCalls(std::string_view sandbox, const std::vector<DeniedCall>& calls,
                            std::uint64_t others);
/// A sandbox that an earlier run of the session left is used again. `milliseconds` is the time from
/// asking for it to its first answer, `layers` are as they were seen when it was made, `disk` is
/// how this run's limit is kept.
NewEvent SandboxResumed(std::string_view sandbox, std::int64_t milliseconds,
                        const std::vector<SeenLayer>& layers, const DiskLimit& disk);
/// The run has ended and was to leave its sandbox, frozen, to the next one of the session.
/// `problem` says why it was ended instead; empty when it was kept.
NewEvent SandboxKept(std::string_view sandbox, std::string_view problem);

/// What a sandbox has used in its life, as its control group counted it. Pressure is the time that
/// at least one of its processes waited for the resource; nullopt where the kernel counts none.
struct SandboxUse {
  std::uint64_t memory_peak_bytes = 0;
  std::optional<std::uint64_t> cpu_micros = std::nullopt;
  std::uint64_t out_of_memory_kills = 0;
  std::uint64_t refused_forks = 0;
  std::optional<std::uint64_t> memory_pressure_micros = std::nullopt;
  std::optional<std::uint64_t> cpu_pressure_micros = std::nullopt;
  std::optional<std::uint64_t> io_pressure_micros = std::nullopt;
};
/// `use` is nullopt when it had no control group.
NewEvent SandboxEnded(std::string_view sandbox, const std::optional<SandboxUse>& use);

struct ModelCall {
  std::string provider;
  std::string model;
  Usage usage = {};
  std::string stop_reason;
  std::int64_t milliseconds = 0;
};
NewEvent ModelCalled(const ModelCall& call);

/// Input whose text (json::Dump) is longer than this is recorded by length and SHA-256 only.
inline constexpr std::size_t kMaxRecordedInputBytes = std::size_t{64} * 1024;

/// `id` is the model's id of the call.
NewEvent ToolStarted(std::string_view id, std::string_view name, const json::Json& input);

struct ToolOutcome {
  std::string id;
  std::string name;
  bool ok = false;
  /// Of a command; nullopt when there was none or it has no code.
  std::optional<std::int64_t> exit_code = std::nullopt;
  std::int64_t milliseconds = 0;
};
/// `result` is the text that the model gets; its length and SHA-256 are recorded.
NewEvent ToolEnded(const ToolOutcome& outcome, std::string_view result);

/// The content of a file at one moment.
struct FileState {
  /// 64 lower-case hexadecimal digits.
  std::string sha256;
  std::int64_t size = 0;
};
/// `before` is nullopt for a new file, `after` for a removed one. A path that is not UTF-8 is
/// recorded with U+FFFD and, beside it, exactly in hexadecimal digits. `kind` is empty for a file,
/// "symlink" (the content is where it points) or "directory" (without a content).
NewEvent FileChanged(std::string_view path, const std::optional<FileState>& before,
                     const std::optional<FileState>& after, std::string_view kind = {});

/// What /workspace is, before the first sandbox of a run. `project` is empty for the workspace's
/// own files. `checkpoints`: each turn that changes files has one.
NewEvent ViewOpened(std::string_view view, std::string_view project, std::string_view mode,
                    bool checkpoints);

/// What a checkpoint does not hold, and why: a stable word.
struct LeftOut {
  std::string path;
  std::string why;
  std::uint64_t size = 0;
};
/// After the file.changed of what it found.
struct Checkpoint {
  std::int64_t id = 0;
  std::string view;
  /// A stable word: "start", "turn", …
  std::string reason;
  std::int64_t turn = 0;
  /// How many paths are others than in the checkpoint before, and how many of them have no
  /// file.changed because they were too many.
  std::int64_t changed = 0;
  std::int64_t not_listed = 0;
  /// At most kMaxLeftOut, and how many there were.
  std::vector<LeftOut> left_out = {};
  std::int64_t left_out_count = 0;
  bool frozen = true;
};
inline constexpr std::size_t kMaxLeftOut = 100;
NewEvent CheckpointTaken(const Checkpoint& checkpoint);

/// `code` is the stable text of an ErrorCode, or another stable word.
NewEvent ErrorHappened(std::string_view code, std::string_view message);

struct RunOutcome {
  /// A stable word: "completed", "failed", "cancelled", …
  std::string outcome;
  /// Of all model calls of the run together.
  Usage usage = {};
  std::int64_t model_calls = 0;
  std::int64_t tool_calls = 0;
  std::int64_t milliseconds = 0;
};
NewEvent RunEnded(const RunOutcome& outcome);

}  // namespace cofferdam::record
