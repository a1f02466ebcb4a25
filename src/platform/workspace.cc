#include <cofferdam/workspace.h>

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>

#include "base/error.h"
#include "base/id.h"
#include "platform/denied_calls.h"
#include "platform/directory_lock.h"
#include "platform/disk_plan.h"
#include "platform/effective.h"
#include "platform/platform_state.h"
#include "platform/project_apply.h"
#include "platform/project_diff.h"
#include "platform/rewind.h"
#include "platform/run_state.h"
#include "platform/view_use.h"
#include "projects/checkpoints.h"
#include "projects/view.h"
#include "record/verify.h"
#include "sandbox/local_sandbox.h"
#include "sessions/rewind.h"
#include "sessions/transcript.h"
#include "storage/line_reader.h"
#include "sys/file.h"

namespace cofferdam {

std::string Workspace::State::path() const {
  return platform_->directory().path() + "/workspaces/" + id_;
}

Settings Workspace::State::settings() const {
  const std::lock_guard lock(mutex_);
  return settings_;
}

Status Workspace::State::SetSettings(const Settings& settings) {
  const std::lock_guard lock(mutex_);
  RETURN_IF_ERROR(platform::WriteWorkspaceSettings(folder_.get(), settings));
  settings_ = settings;
  return {};
}

Result<std::shared_ptr<platform::DirectoryLock>> Workspace::State::Use() {
  const std::lock_guard lock(mutex_);
  if (auto in_use = in_use_.lock()) return in_use;
  auto taken = platform::DirectoryLock::TryShared(folder_.get());
  if (!taken) return std::unexpected(taken.error().With("workspace '" + id_ + "'"));
  auto in_use = std::make_shared<platform::DirectoryLock>(std::move(*taken));
  in_use_ = in_use;
  return in_use;
}

void Workspace::State::Started(const std::string& run_id, std::stop_source stop) {
  const std::lock_guard lock(mutex_);
  runs_.emplace(run_id, std::move(stop));
}

void Workspace::State::Ended(const std::string& run_id) {
  // Notified under the lock: whoever waits may let this object go as soon as it is unlocked.
  const std::lock_guard lock(mutex_);
  runs_.erase(run_id);
  run_ended_.notify_all();
}

void Workspace::State::EndRuns() {
  std::unique_lock lock(mutex_);
  for (auto& [id, stop] : runs_) stop.request_stop();
  run_ended_.wait(lock, [this] { return runs_.empty(); });
}

namespace {

/// A folder of the workspace, for listing what is in it.
Result<sys::UniqueFd> OpenFolder(int workspace, const std::string& name) {
  return sys::OpenBeneath(workspace, name, O_RDONLY | O_DIRECTORY, sys::Links::kRefuse);
}

double Millis(std::chrono::steady_clock::duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

sandbox::ExecRequest RequestFor(const ExecOptions& options, const Settings& settings) {
  sandbox::ExecRequest request;
  request.argv = options.argv;
  request.environment = options.environment;
  request.working_directory = options.working_directory;
  request.stdin_bytes = options.stdin_bytes;
  request.timeout = options.timeout;
  if (request.timeout == std::chrono::milliseconds::zero() && settings.command_timeout_s)
    request.timeout = std::chrono::seconds(*settings.command_timeout_s);
  return request;
}

/// A slot for a command, after waiting for it.
Result<policy::Admission::Ticket> Admit(Platform::State& platform, const std::string& workspace,
                                        const Settings& settings, std::stop_token stop) {
  const platform::AdmissionTerms terms = platform::AdmissionTermsFor(settings);
  ASSIGN_OR_RETURN(auto ticket, platform.admission().Enter(
                                    {.tenant = workspace,
                                     .slots_of_tenant = terms.max_concurrent_runs,
                                     .may_wait = terms.patience > std::chrono::seconds::zero()}));
  RETURN_IF_ERROR(ticket.Wait(Deadline::After(terms.patience), std::move(stop)));
  return ticket;
}

}  // namespace

const std::string& Workspace::id() const { return state_->id(); }

std::string Workspace::work_folder() const { return state_->path() + "/files/work"; }

HostIds Workspace::host_ids() const {
  if (const auto& own = state_->identity())
    return {own->uid, own->gid, platform::kIdsPerWorkspace, true};
  const sandbox::HostIdentity shared = sandbox::ToolIdentity();
  return {shared.uid, shared.gid, 1, false};
}

Settings Workspace::settings() const { return state_->settings(); }

Status Workspace::SetSettings(const Settings& settings) { return state_->SetSettings(settings); }

Result<DiskInfo> Workspace::Disk() const {
  return platform::DescribeDisk(*state_,
                                Overlay(state_->platform().settings(), state_->settings()));
}

Result<std::unique_ptr<cofferdam::Run>> Workspace::Run(RunOptions options) {
  ASSIGN_OR_RETURN(auto run, cofferdam::Run::State::Start(state_, std::move(options)));
  return std::make_unique<cofferdam::Run>(std::move(run));
}

Result<ExecOutcome> Workspace::Exec(const ExecOptions& options, const ExecSink& sink,
                                    std::stop_token stop) {
  if (options.argv.empty()) return Err(ErrorCode::kInvalidArgument, "there is no command");
  Platform::State& platform = state_->platform();
  const Settings settings =
      Overlay(Overlay(platform.settings(), state_->settings()), options.settings);
  ASSIGN_OR_RETURN(const platform::ViewChoice choice,
                   platform::ChooseView(settings, platform.directory().path()));
  ASSIGN_OR_RETURN(sandbox::SandboxSpec spec,
                   platform::SandboxSpecFor(settings, state_->path(), platform.directory().path()));
  spec.id = NewId(platform.clock());
  spec.audit_syscalls = options.audit_syscalls;
  spec.identity = state_->identity();
  ASSIGN_OR_RETURN(const auto in_use, state_->Use());
  RETURN_IF_ERROR(platform::FinishRewind(*state_, Deadline::Never(), stop));
  ASSIGN_OR_RETURN(auto ticket, Admit(platform, id(), settings, stop));
  const auto start = std::chrono::steady_clock::now();
  ASSIGN_OR_RETURN(sandbox::Launcher * launcher, platform.Launcher());
  ASSIGN_OR_RETURN(platform::ViewUse view, platform::ViewUse::Begin(*state_, choice, stop));
  ASSIGN_OR_RETURN(const platform::DiskPlan plan,
                   platform::DiskPlan::Prepare(*state_, settings, spec));
  RETURN_IF_ERROR(view.PutInto(spec, plan, *launcher));
  ASSIGN_OR_RETURN(const auto sandbox,
                   sandbox::LocalSandbox::Create(*launcher, spec, Deadline::Never()));
  const platform::OpenView::Member member = view.Join(*sandbox);
  platform::DiskGuard disk = plan.Guard(*sandbox);
  const double ready = Millis(std::chrono::steady_clock::now() - start);
  const auto forward = [&sink](sandbox::OutputStream stream, std::string_view bytes) {
    sink(stream == sandbox::OutputStream::kStderr, bytes);
  };
  ASSIGN_OR_RETURN(const sandbox::ExecResult result,
                   sandbox->Exec(RequestFor(options, settings), forward, std::move(stop)));
  RETURN_IF_ERROR(disk.Check());
  sandbox->Kill();
  RETURN_IF_ERROR(view.Take({.reason = "exec"}));
  return ExecOutcome{.exit_code = result.exit_code,
                     .signal = result.signal,
                     .timed_out = result.timed_out,
                     .cancelled = result.cancelled,
                     .out_of_memory = result.out_of_memory,
                     .out_of_processes = result.out_of_processes,
                     .milliseconds = Millis(result.duration),
                     .sandbox_ready_ms = ready,
                     .denied_calls = platform::PublicDeniedCalls(sandbox->denied_calls())};
}

Result<std::vector<SessionInfo>> Workspace::Sessions() const {
  ASSIGN_OR_RETURN(const sys::UniqueFd directory, OpenFolder(state_->folder(), "sessions"));
  ASSIGN_OR_RETURN(const std::vector<sessions::SessionSummary> summaries,
                   sessions::ListSessions(directory.get()));
  std::vector<SessionInfo> infos;
  for (const sessions::SessionSummary& summary : summaries)
    infos.push_back({summary.id, summary.created, summary.last, summary.entries, summary.problem});
  return infos;
}

Result<std::vector<std::string>> Workspace::ReadSession(const std::string& session) const {
  RETURN_IF_ERROR(CheckName("session", session));
  ASSIGN_OR_RETURN(const sys::UniqueFd directory, OpenFolder(state_->folder(), "sessions"));
  auto transcript = sessions::ReadTranscript(directory.get(), session);
  if (!transcript && transcript.error().code == ErrorCode::kNotFound)
    return Err(ErrorCode::kNotFound, "workspace '" + id() + "' has no session '" + session + "'");
  if (!transcript) return std::unexpected(transcript.error());
  auto counting = sessions::EffectiveEntries(transcript->entries);
  if (!counting) return std::unexpected(counting.error().With("session '" + session + "'"));
  std::vector<std::string> entries;
  for (const json::Json& entry : *counting) entries.push_back(json::Dump(entry));
  return entries;
}

Result<std::vector<ProjectInfo>> Workspace::Projects() const {
  ASSIGN_OR_RETURN(auto checkpoints,
                   projects::Checkpoints::Open(state_->path(), state_->platform().clock()));
  ASSIGN_OR_RETURN(const auto views, projects::ListViews(checkpoints.database()));
  std::vector<ProjectInfo> projects;
  for (const projects::ViewRecord& view : views)
    if (!view.source.empty())
      projects.push_back({view.source, std::string(projects::ProjectModeName(view.mode))});
  std::ranges::sort(projects, {}, &ProjectInfo::path);
  return projects;
}

Result<ProjectDiff> Workspace::Diff(const DiffOptions& options, std::stop_token stop) const {
  ASSIGN_OR_RETURN(const auto in_use, state_->Use());
  RETURN_IF_ERROR(platform::FinishRewind(*state_, Deadline::Never(), stop));
  return platform::Diff(*state_, options, stop);
}

Result<ApplyResult> Workspace::Apply(const std::optional<std::string>& project,
                                     std::stop_token stop) {
  ASSIGN_OR_RETURN(const auto in_use, state_->Use());
  RETURN_IF_ERROR(platform::FinishRewind(*state_, Deadline::Never(), stop));
  return platform::Apply(*state_, project, stop);
}

Result<DiscardResult> Workspace::Discard(const std::optional<std::string>& project) {
  ASSIGN_OR_RETURN(const auto in_use, state_->Use());
  RETURN_IF_ERROR(platform::FinishRewind(*state_, Deadline::Never(), {}));
  return platform::Discard(*state_, project);
}

Result<RewindResult> Workspace::Rewind(const RewindOptions& options, std::stop_token stop) {
  ASSIGN_OR_RETURN(const auto in_use, state_->Use());
  return platform::Rewind(*state_, options, stop);
}

Result<std::vector<CheckpointInfo>> Workspace::Checkpoints(const std::string& session) const {
  if (!session.empty()) RETURN_IF_ERROR(CheckName("session", session));
  ASSIGN_OR_RETURN(const auto in_use, state_->Use());
  RETURN_IF_ERROR(platform::FinishRewind(*state_, Deadline::Never(), {}));
  return platform::ListCheckpoints(*state_, session);
}

Result<std::vector<std::string>> Workspace::Runs() const {
  ASSIGN_OR_RETURN(const sys::UniqueFd directory, OpenFolder(state_->folder(), "runs"));
  ASSIGN_OR_RETURN(std::vector<std::string> names, sys::ListDirectory(directory.get()));
  std::erase_if(names, [](const std::string& name) { return !IsId(name); });
  // Ids sort by time.
  std::ranges::sort(names);
  return names;
}

Result<RecordCheck> Workspace::VerifyRun(const std::string& run_id) const {
  if (!IsId(run_id)) return Err(ErrorCode::kInvalidArgument, "'" + run_id + "' is not a run's id");
  const auto folder = sys::OpenBeneath(state_->folder(), "runs/" + run_id, O_PATH | O_DIRECTORY,
                                       sys::Links::kRefuse);
  if (!folder && folder.error().code == ErrorCode::kNotFound)
    return Err(ErrorCode::kNotFound, "workspace '" + id() + "' has no run " + run_id);
  if (!folder) return std::unexpected(folder.error());
  const auto verify = [&folder]() -> Result<record::ChainSummary> {
    ASSIGN_OR_RETURN(const sys::UniqueFd file, sys::OpenBeneath(folder->get(), "events.jsonl",
                                                                O_RDONLY, sys::Links::kRefuse));
    // A torn last line is a host that was killed: it was never acknowledged to anybody.
    return record::VerifyChain(storage::FileSource(file.get()), record::TornTail::kIgnore);
  };
  const Result<record::ChainSummary> summary = verify();
  // Killed before it had written anything.
  if (!summary && summary.error().code == ErrorCode::kNotFound)
    return RecordCheck{.run_id = run_id};
  if (!summary) return std::unexpected(summary.error());
  if (summary->header.workspace != id() || summary->header.run != run_id)
    return Err(ErrorCode::kCorrupt, "the record is of another run");
  return RecordCheck{run_id, summary->events, summary->head, summary->complete};
}

}  // namespace cofferdam
