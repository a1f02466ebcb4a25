// A sandbox on this machine: a worker that the launcher made, its channel and its control group.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "sandbox/cgroup.h"
#include "sandbox/launcher.h"
#include "sandbox/operation_client.h"
#include "sandbox/sandbox.h"
#include "sandbox/search_results.h"
#include "sandbox/spec.h"
#include "sandbox/syscall_audit.h"

namespace cofferdam::sandbox {

/// How long each part of a start took, in microseconds.
struct StartTimes {
  std::int64_t prepare = 0;  // opening mounts
  std::int64_t launch = 0;   // the zygote's answer
  std::int64_t confine = 0;  // until the start code's report
  std::int64_t verify = 0;   // reading the kernel's files
  std::int64_t ping = 0;     // the first answer, as far as it was not there already
  /// As the start code reported them; see StartReport.
  std::array<std::uint32_t, kStepCount> step_done_nanos{};
  std::int64_t ready() const { return prepare + launch + confine + verify + ping; }
};

/// Thread-safe; operations are served one after the other. Kill may be called at any time from any
/// thread and ends an operation that is under way.
///
///   ASSIGN_OR_RETURN(auto launcher, Launcher::Start());
///   SandboxSpec spec{.id = "demo", .mounts = {{"/srv/demo", "/workspace", true}}};
///   ASSIGN_OR_RETURN(auto sandbox, LocalSandbox::Create(*launcher, spec, Deadline::Never()));
///   ASSIGN_OR_RETURN(auto result, sandbox->Exec({.argv = {"ls"}}, sink, {}));
class LocalSandbox final : public Sandbox {
 public:
  /// Makes, confines and verifies a sandbox. Sources of mounts must exist and belong to
  /// the sandbox's identity if they are to be written; they are the caller's to check
  /// (CheckMountSource).
  static Result<std::unique_ptr<LocalSandbox>> Create(Launcher& launcher, const SandboxSpec& spec,
                                                      Deadline deadline);
  ~LocalSandbox() override;

  const std::string& id() const override { return spec_.id; }
  const std::vector<LayerEvidence>& layers() const override { return layers_; }
  const StartTimes& start_times() const { return times_; }
  /// The worker's pid on the host.
  pid_t worker_pid() const { return pid_; }

  /// What seccomp refused until now; nothing without SandboxSpec::audit_syscalls. Safe from any
  /// thread, also after Kill.
  DeniedCalls denied_calls() const { return audit_ ? audit_->Denied() : DeniedCalls(); }

  /// A worker that does not answer in time is taken for lost.
  Status Ping(Deadline deadline) override;
  Result<ExecResult> Exec(const ExecRequest& request, const OutputSink& sink,
                          std::stop_token stop) override;
  Result<ReadResult> Read(const ReadRequest& request, std::stop_token stop) override;
  Status Write(const WriteRequest& request, std::stop_token stop) override;
  Result<GrepResult> Grep(const GrepRequest& request, std::stop_token stop) override;
  Result<FindResult> Find(const FindRequest& request, std::stop_token stop) override;
  Result<std::vector<FileEntry>> List(const std::string& path, bool recursive) override;
  Result<std::optional<FileEntry>> Stat(const std::string& path) override;
  Status MakeDirectory(const std::string& path, bool parents) override;
  Status Move(const std::string& from, const std::string& to, bool overwrite) override;
  Status Remove(const std::string& path, bool recursive) override;
  void Kill() override;
  /// Kills it because of `why`, with which the operation under way and all later ones fail. The
  /// first reason counts.
  void End(const Error& why);

  /// What it has used so far, or had when it ended; nothing without a control group.
  std::optional<CgroupUsage> Usage();

  /// Stops and resumes every process of the sandbox. Several may hold it still at a time: it goes
  /// on when each Freeze has had its Thaw. kUnsupported without a control group.
  Status Freeze();
  Status Thaw();
  /// Waits until a frozen sandbox has come to a halt; kTimeout when a process of it is still in a
  /// system call that cannot be interrupted.
  Status AwaitHalt(Deadline deadline);

 private:
  LocalSandbox(Launcher& launcher, SandboxSpec spec, ControlChannel channel)
      : launcher_(launcher), spec_(std::move(spec)), client_(std::move(channel)) {}
  Result<StartReport> ReceiveStartReport(Deadline deadline);
  Result<protocol::v1::OpExit> RunOperation(protocol::v1::OpStart start, std::string_view input,
                                            const OperationClient::DataSink& sink,
                                            std::optional<std::chrono::milliseconds> patience,
                                            const std::stop_token& stop);
  /// grep and find: an operation whose output is search results.
  Result<SearchResults> Search(protocol::v1::OpStart start, const std::stop_token& stop);
  Result<protocol::v1::ControlResponse> Unary(protocol::v1::ControlRequest request);
  /// A failed call's error, after ending the sandbox when no other call can succeed.
  Error Failed(const Error& cause);
  CgroupEvents EventsOrNone();

  Launcher& launcher_;
  SandboxSpec spec_;
  std::optional<Cgroup> cgroup_;
  sys::UniqueFd pidfd_;
  pid_t pid_ = -1;
  std::vector<LayerEvidence> layers_;
  StartTimes times_;
  std::unique_ptr<SyscallAudit> audit_;

  std::mutex operations_;  // held for a whole operation; guards what follows
  OperationClient client_;
  std::optional<Error> lost_;

  std::mutex end_;  // guards the end of the processes, and what follows
  std::optional<CgroupUsage> final_usage_;
  bool ended_ = false;
  int freezes_ = 0;  // without a Thaw
  std::optional<Error> why_;
};

}  // namespace cofferdam::sandbox
