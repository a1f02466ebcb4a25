// A workspace: one tenant's files, settings, sessions and runs.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <cofferdam/denied_calls.h>
#include <cofferdam/error.h>
#include <cofferdam/projects.h>
#include <cofferdam/run.h>
#include <cofferdam/settings.h>

namespace cofferdam {

/// A command to run in a sandbox of its own.
struct ExecOptions {
  /// The program and its arguments; a name without a slash is looked up in PATH.
  std::vector<std::string> argv = {};
  std::vector<std::pair<std::string, std::string>> environment = {};
  std::string working_directory = "/workspace";
  /// Given to the program whole.
  std::string stdin_bytes = {};
  /// Zero is no limit.
  std::chrono::milliseconds timeout{0};
  Settings settings = {};
  /// Lists what seccomp refuses: ExecOutcome::denied_calls. Each refused call then costs a way to
  /// this process and back.
  bool audit_syscalls = false;
};

struct ExecOutcome {
  /// The exit code; 128 + signal when a signal ended it.
  int exit_code = 0;
  int signal = 0;
  bool timed_out = false;
  bool cancelled = false;
  bool out_of_memory = false;
  bool out_of_processes = false;
  double milliseconds = 0;
  double sandbox_ready_ms = 0;
  /// Empty unless it was asked for.
  DeniedCalls denied_calls = {};
};

/// Output as it comes, on the calling thread.
using ExecSink = std::function<void(bool is_stderr, std::string_view bytes)>;

/// The uids and gids of this host that belong to a workspace, from the first of each on. Tools run
/// under the first; what they are to write must belong to it.
struct HostIds {
  std::uint32_t first_uid = 0;
  std::uint32_t first_gid = 0;
  std::uint32_t count = 1;
  /// False when all workspaces have these, as those of an ordinary user do.
  bool own = false;
};

/// How the disk limit of a workspace's files is kept (docs/disk.md), and what they take.
struct DiskInfo {
  /// "none", "soft", "project_quota", "image"; or "refused": the hard limit that is asked for
  /// cannot be had, and `problem` says why.
  std::string mechanism = {};
  std::uint64_t limit_bytes = 0;  // 0: no limit
  /// Of an image: what it takes of the disk on which it lies.
  std::uint64_t used_bytes = 0;
  std::string problem = {};
};

struct SessionInfo {
  std::string id;
  /// When it began and when its last entry was written, RFC 3339 in UTC.
  std::string created;
  std::string last;
  std::uint64_t entries = 0;
  /// What is wrong with its file; empty when all is well.
  std::string problem;
};

/// What the check of a run's record found.
struct RecordCheck {
  std::string run_id = {};
  std::uint64_t events = 0;
  /// Hash of the last event, lower-case hex; empty when the host was killed before it had written
  /// anything.
  std::string head = {};
  /// The record ends with run.ended. One that does not is of a run that still goes on, or whose
  /// host was killed.
  bool complete = false;
};

/// A handle of a workspace; copies are the same workspace, and so is what another call of
/// Platform::GetWorkspace for the same id gives. Keeps its platform alive. Safe to use from several
/// threads.
class Workspace {
 public:
  const std::string& id() const;
  /// The host folder that is /workspace in its sandboxes. What is in it was written by an agent:
  /// open it beneath its root, never by following its links. Empty when the files are in an image.
  std::string work_folder() const;

  HostIds host_ids() const;

  Settings settings() const;
  /// Replaces the workspace's settings, on disk first. Runs that go on keep theirs.
  Status SetSettings(const Settings& settings);

  /// How the next run's files would be limited. Counts the files, which takes as long as there are
  /// many of them.
  Result<DiskInfo> Disk() const;

  /// Starts a run. Runs in one session come one after the other, in the order of these calls within
  /// one process; a run waits for its turn, and then for a slot, on its own thread. Errors are of
  /// the options only (kInvalidArgument, kMountRefused, kConfig), of the record's start, and
  /// kAdmissionRefused; everything later is in the result.
  Result<std::unique_ptr<cofferdam::Run>> Run(RunOptions options);

  /// Runs a command in a sandbox with this workspace's files, and waits for it, and for a slot
  /// before that. An error is of the sandbox, or kAdmissionRefused or kAdmissionTimeout; what the
  /// command did is in the outcome.
  Result<ExecOutcome> Exec(const ExecOptions& options, const ExecSink& sink, std::stop_token stop);

  /// The sessions by name.
  Result<std::vector<SessionInfo>> Sessions() const;
  /// A session's transcript as JSON text, one entry each, without what was taken back. kNotFound.
  Result<std::vector<std::string>> ReadSession(const std::string& session) const;

  /// The ids of the runs, oldest first.
  Result<std::vector<std::string>> Runs() const;
  /// Recomputes the hash chain of a run's record. kNotFound; kCorrupt names the first event that
  /// does not fit.
  Result<RecordCheck> VerifyRun(const std::string& run_id) const;

  /// The projects whose agents' changes are kept apart, by path.
  Result<std::vector<ProjectInfo>> Projects() const;
  /// What an agent has changed in a project, or in the workspace's own files. While a run goes on,
  /// that is what it has just written. kNotFound for a project on which no agent of this workspace
  /// has worked, kUnsupported for one that agents change directly; else of the sandbox in which the
  /// patch is made.
  Result<ProjectDiff> Diff(const DiffOptions& options = {}, std::stop_token stop = {}) const;
  /// Takes the agent's changes over into the project: all or, when its owner has changed the same,
  /// none; then nothing is kept apart any more. `project` as DiffOptions::project. kBusy while a
  /// run or a command uses the project, kConflict when it was changed while this went on; else as
  /// Diff.
  Result<ApplyResult> Apply(const std::optional<std::string>& project = {},
                            std::stop_token stop = {});
  /// Takes all changes of the agent back, which can be rewound. kBusy; else as Diff.
  Result<DiscardResult> Discard(const std::optional<std::string>& project = {});
  /// Goes back to an earlier state of files, of a session's conversation, or of both, and tells the
  /// model. kBusy while a run goes on in the session or with the files; kConflict when other
  /// sessions have changed files since (RewindOptions::also_others); kUnsupported when changes were
  /// applied since, which the project keeps; kNotFound; kInvalidArgument.
  Result<RewindResult> Rewind(const RewindOptions& options = {}, std::stop_token stop = {});
  /// Oldest first. Of all sessions when `session` is empty.
  Result<std::vector<CheckpointInfo>> Checkpoints(const std::string& session = {}) const;

  /// The platform makes these.
  class State;
  explicit Workspace(std::shared_ptr<State> state) : state_(std::move(state)) {}

 private:
  std::shared_ptr<State> state_;
};

}  // namespace cofferdam
