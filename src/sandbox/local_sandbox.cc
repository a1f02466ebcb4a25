#include "sandbox/local_sandbox.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>

#include "base/check.h"
#include "sandbox/overlay.h"
#include "sandbox/search_results.h"
#include "sandbox/verify.h"
#include "sys/file.h"
#include "sys/message.h"
#include "sys/process.h"

namespace cofferdam::sandbox {
namespace {

namespace v1 = protocol::v1;

constexpr std::chrono::seconds kStartTimeout{20};
constexpr std::chrono::seconds kUnaryTimeout{60};
constexpr std::chrono::minutes kFileTimeout{10};
constexpr std::chrono::seconds kTimeoutGrace{10};
constexpr std::chrono::seconds kEndTimeout{30};

std::int64_t MicrosSince(std::chrono::steady_clock::time_point& start) {
  const auto now = std::chrono::steady_clock::now();
  const auto micros = std::chrono::duration_cast<std::chrono::microseconds>(now - start).count();
  start = now;
  return micros;
}

FileKind KindOf(v1::FsEntryKind kind) {
  switch (kind) {
    case v1::FS_ENTRY_FILE:
      return FileKind::kFile;
    case v1::FS_ENTRY_DIRECTORY:
      return FileKind::kDirectory;
    case v1::FS_ENTRY_SYMLINK:
      return FileKind::kSymlink;
    default:
      return FileKind::kOther;
  }
}

FileEntry ToEntry(const v1::FsEntry& entry) {
  return {entry.name(), entry.path(),        KindOf(entry.kind()),
          entry.size(), entry.modified_ms(), entry.mode() & 07777};
}

// Mounts of a launch, kept open until the launcher has answered.
struct LaunchParts {
  LaunchRequest request{};
  std::vector<sys::UniqueFd> owned;
  std::vector<int> fds;

  void Add(sys::UniqueFd fd) {
    fds.push_back(fd.get());
    owned.push_back(std::move(fd));
  }
};

Result<sys::UniqueFd> OpenMount(const Mount& mount) {
  const int open = mount.shared != nullptr ? mount.shared->mount_namespace()
                   : mount.tree != nullptr ? mount.tree->get()
                                           : -1;
  if (open < 0) return OpenMountSource(mount.source);
  sys::UniqueFd fd(::fcntl(open, F_DUPFD_CLOEXEC, 0));
  if (!fd.valid()) return ErrnoError(errno, "copying a mount's descriptor");
  return fd;
}

MountKind KindOf(const Mount& mount) {
  if (mount.shared != nullptr) return MountKind::kShared;
  return mount.tree != nullptr ? MountKind::kDetached : MountKind::kSource;
}

Status AddMount(const Mount& mount, LaunchParts& parts) {
  if (parts.request.mount_count >= kMaxMounts)
    return Err(ErrorCode::kTooLarge, "more than 16 mounts");
  if (mount.target.size() >= kMaxMountPath)
    return Err(ErrorCode::kInvalidArgument, "a mount's destination is too long");
  const Ids identity = {parts.request.outer_uid, parts.request.outer_gid};
  const Ids owner = mount.owner ? Ids{mount.owner->uid, mount.owner->gid} : identity;
  if (owner != identity && ::geteuid() != 0)
    return Err(ErrorCode::kUnsupported,
               "'" + mount.source +
                   "' belongs to somebody else, whose files only the superuser "
                   "can show as the sandbox's own",
               "run as its owner or as root");
  ASSIGN_OR_RETURN(sys::UniqueFd fd, OpenMount(mount));
  ASSIGN_OR_RETURN(const struct stat info,
                   sys::Stat(mount.shared != nullptr ? mount.shared->root() : fd.get()));
  MountRequest& request = parts.request.mounts[parts.request.mount_count++];
  std::strncpy(request.target, mount.target.c_str(), sizeof(request.target) - 1);
  request.kind = KindOf(mount);
  request.read_only = mount.writable ? 0 : 1;
  request.owner = owner;
  request.place = {info.st_dev, info.st_ino};
  parts.Add(std::move(fd));
  return {};
}

void SetLimits(const Limits& limits, LaunchRequest& request) {
  request.tmp_bytes = limits.tmp_bytes;
  request.tmp_inodes = limits.tmp_inodes;
  // Behind the control group's limit, which counts the worker too and says when it refused a fork.
  constexpr std::uint64_t kBehind = 16;
  request.max_processes = limits.processes + kBehind;
  request.max_open_files = limits.open_files;
  request.max_file_bytes = limits.file_bytes;
}

}  // namespace

// ---- Making one

Result<std::unique_ptr<LocalSandbox>> LocalSandbox::Create(Launcher& launcher,
                                                           const SandboxSpec& spec,
                                                           Deadline deadline) {
  auto clock = std::chrono::steady_clock::now();
  deadline = Deadline::Earlier(deadline, Deadline::After(kStartTimeout));
  // Landlock is used when offered; its absence is recorded.
  LayerSet optional = spec.allow_missing;
  if (!spec.require.Has(Layer::kLandlock)) optional = optional.With(Layer::kLandlock);
  for (int i = 0; i < kLayerCount; ++i)
    if (kIndispensable.Has(static_cast<Layer>(i)))
      optional = optional.Without(static_cast<Layer>(i));

  LaunchParts parts;
  const HostIdentity identity = spec.identity.value_or(launcher.tool_identity());
  if (identity.uid == 0 || identity.gid == 0)
    return Err(
        ErrorCode::kLayerMissing,
        "the sandbox layer 'identity' cannot be had: the superuser has no second uid and gid "
        "here to run tools under",
        "run as an ordinary user, or in a container with more than one id");
  parts.request.skip_layers = spec.skip_.bits();
  parts.request.optional_layers = optional.bits();
  parts.request.outer_uid = identity.uid;
  parts.request.outer_gid = identity.gid;
  parts.request.seccomp_profile = spec.seccomp_profile;
  parts.request.audit_syscalls = spec.audit_syscalls ? 1 : 0;
  SetLimits(spec.limits, parts.request);
  std::strncpy(parts.request.hostname, spec.hostname.c_str(), sizeof(parts.request.hostname) - 1);

  for (const Mount& mount : spec.mounts) RETURN_IF_ERROR(AddMount(mount, parts));
  StartTimes times;
  times.prepare = MicrosSince(clock);

  ASSIGN_OR_RETURN(Launched launched, launcher.Launch(parts.request, parts.fds, spec.limits));
  ASSIGN_OR_RETURN(ControlChannel channel, ControlChannel::Over(std::move(launched.channel)));
  std::unique_ptr<LocalSandbox> sandbox(new LocalSandbox(launcher, spec, std::move(channel)));
  sandbox->cgroup_ = std::move(launched.cgroup);
  sandbox->pidfd_ = std::move(launched.pidfd);
  sandbox->pid_ = launched.reply.pid;
  times.launch = MicrosSince(clock);
  // Shared mounts it keeps: whoever makes one has to know when the last sandbox with it has ended.
  for (Mount& mount : sandbox->spec_.mounts) mount.tree = nullptr;

  const auto received = sandbox->ReceiveStartReport(deadline);
  if (!received) return std::unexpected(sandbox->Failed(received.error()));
  const StartReport& report = *received;
  if (report.failed_step != Step::kNone)
    return std::unexpected(StepError(report.failed_step, report.error_number));
  times.confine = MicrosSince(clock);

  // The worker wakes up and answers while its layers are looked at.
  if (const Status sent = sandbox->client_.SendPing(deadline); !sent)
    return std::unexpected(sandbox->Failed(sent.error()));
  const Cgroup* cgroup = sandbox->cgroup_ ? &*sandbox->cgroup_ : nullptr;
  auto layers = Verify({parts.request, launched.reply, report, launched.missing_layers,
                        launcher.host_namespaces(), cgroup, spec.identity.has_value()});
  times.verify = MicrosSince(clock);
  Status alive = sandbox->client_.AwaitPing(deadline);
  // Before anything is said about layers: those of a worker that was killed are not to be seen.
  if (alive && !layers) alive = sandbox->client_.Ping(deadline);
  if (!alive) return std::unexpected(sandbox->Failed(alive.error()));
  if (!layers) return std::unexpected(layers.error());
  sandbox->layers_ = std::move(*layers);
  times.ping = MicrosSince(clock);
  times.step_done_nanos = std::to_array(report.step_done_nanos);
  sandbox->times_ = times;
  return sandbox;
}

// In an audited sandbox the start code's probes wait for the audit, which has to serve by then.
Result<StartReport> LocalSandbox::ReceiveStartReport(Deadline deadline) {
  if (!spec_.audit_syscalls) return client_.ReceiveStartReport(deadline);
  ASSIGN_OR_RETURN(sys::UniqueFd listener, client_.ReceiveListener(deadline));
  const bool has_filter = listener.valid();
  if (has_filter) {
    ASSIGN_OR_RETURN(audit_, SyscallAudit::Start(std::move(listener), spec_.seccomp_profile));
  }
  ASSIGN_OR_RETURN(const StartReport report, client_.ReceiveStartReport(deadline));
  if (report.failed_step == Step::kNone && !has_filter)
    return Err(ErrorCode::kUnsupported, "without seccomp no system calls can be audited");
  if (has_filter) audit_->Forget();
  return report;
}

LocalSandbox::~LocalSandbox() { Kill(); }

void LocalSandbox::Kill() {
  const std::lock_guard lock(end_);
  if (std::exchange(ended_, true) || !pidfd_.valid()) return;
  CHECK(sys::SendSignal(pidfd_.get(), SIGKILL).has_value());
  // Whatever else is in the group, too; the signal above does without.
  if (cgroup_) static_cast<void>(cgroup_->Kill());
  // In this order: a frozen process takes the signal only when it is thawed, and thawed first it
  // would run.
  if (freezes_ > 0 && cgroup_) static_cast<void>(cgroup_->Thaw());
  // When PID 1 has ended, the kernel has ended everything in its namespace.
  static_cast<void>(sys::WaitForEnd(pidfd_.get(), Deadline::After(kEndTimeout)));
  if (!cgroup_) return;
  if (auto usage = cgroup_->Usage()) final_usage_ = *usage;
  launcher_.Recycle(std::move(*std::exchange(cgroup_, std::nullopt)));
}

std::optional<CgroupUsage> LocalSandbox::Usage() {
  const std::lock_guard lock(end_);
  if (!cgroup_) return final_usage_;
  const auto usage = cgroup_->Usage();
  return usage ? std::optional(*usage) : std::nullopt;
}

void LocalSandbox::End(const Error& why) {
  {
    const std::lock_guard lock(end_);
    if (!why_) why_ = why;
  }
  Kill();
}

Status LocalSandbox::Freeze() {
  const std::lock_guard lock(end_);
  if (ended_) return Err(ErrorCode::kSandboxLost, "the sandbox has ended");
  if (!cgroup_)
    return Err(ErrorCode::kUnsupported, "without a control group a sandbox cannot be frozen");
  if (freezes_ == 0) RETURN_IF_ERROR(cgroup_->Freeze());
  ++freezes_;
  return {};
}

Status LocalSandbox::Thaw() {
  const std::lock_guard lock(end_);
  if (!cgroup_)
    return Err(ErrorCode::kUnsupported, "without a control group a sandbox cannot be frozen");
  if (ended_) return Err(ErrorCode::kSandboxLost, "the sandbox has ended");
  if (freezes_ == 1) RETURN_IF_ERROR(cgroup_->Thaw());
  freezes_ = std::max(freezes_ - 1, 0);
  return {};
}

Status LocalSandbox::AwaitHalt(Deadline deadline) {
  for (;;) {
    {
      const std::lock_guard lock(end_);
      if (ended_) return Err(ErrorCode::kSandboxLost, "the sandbox has ended");
      if (!cgroup_)
        return Err(ErrorCode::kUnsupported, "without a control group nothing is frozen");
      ASSIGN_OR_RETURN(const bool frozen, cgroup_->IsFrozen());
      if (frozen) return {};
    }
    if (deadline.Expired())
      return Err(ErrorCode::kTimeout, "a process of the sandbox does not come to a halt");
    // The kernel tells nobody when it is done.
    ::poll(nullptr, 0, 1);
  }
}

// ---- The channel

Error LocalSandbox::Failed(const Error& cause) {
  if (!client_.broken()) return cause;
  const CgroupEvents events = EventsOrNone();
  Kill();
  Error error = cause;
  error.code = ErrorCode::kSandboxLost;
  if (events.out_of_memory_kills > 0)
    error.message += "; the kernel killed processes in it for memory";
  if (error.hint.empty())
    error.hint = "its processes are gone; the next operation needs a new sandbox";
  const std::lock_guard lock(end_);
  if (why_) error = *why_;
  lost_ = error;
  return error;
}

CgroupEvents LocalSandbox::EventsOrNone() {
  const std::lock_guard lock(end_);
  if (!cgroup_ || ended_) return {};
  return cgroup_->Events().value_or(CgroupEvents{});
}

Result<v1::ControlResponse> LocalSandbox::Unary(v1::ControlRequest request) {
  const std::lock_guard lock(operations_);
  if (lost_) return std::unexpected(*lost_);
  auto response = client_.Unary(std::move(request), Deadline::After(kUnaryTimeout));
  if (!response) return std::unexpected(Failed(response.error()));
  return response;
}

Status LocalSandbox::Ping(Deadline deadline) {
  const std::lock_guard lock(operations_);
  if (lost_) return std::unexpected(*lost_);
  const Status answered = client_.Ping(deadline);
  if (!answered) return std::unexpected(Failed(answered.error()));
  return {};
}

Result<v1::OpExit> LocalSandbox::RunOperation(v1::OpStart start, std::string_view input,
                                              const OperationClient::DataSink& sink,
                                              std::optional<std::chrono::milliseconds> patience,
                                              const std::stop_token& stop) {
  const std::lock_guard lock(operations_);
  if (lost_) return std::unexpected(*lost_);
  auto exit = client_.Run(std::move(start), input, sink, patience, stop);
  if (!exit) return std::unexpected(Failed(exit.error()));
  return exit;
}

// ---- The surface

namespace {

// Whatever an operation answers beside its exit code, as an error.
Status CheckExit(const v1::OpExit& exit) {
  if (exit.cancelled()) return Err(ErrorCode::kCancelled, "cancelled");
  if (exit.timed_out())
    return Err(ErrorCode::kTimeout, "the operation took too long and was ended");
  if (exit.has_error()) return std::unexpected(ToError(exit.error()));
  return {};
}

// Variables that a program expects everywhere; nothing of the host's.
std::map<std::string, std::string> BaseEnvironment() {
  return {{"PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
          {"HOME", "/home/agent"},
          {"USER", "agent"},
          {"LOGNAME", "agent"},
          {"SHELL", "/bin/sh"},
          {"LANG", "C.UTF-8"},
          {"TERM", "dumb"},
          {"TMPDIR", "/tmp"}};
}

}  // namespace

Result<ExecResult> LocalSandbox::Exec(const ExecRequest& request, const OutputSink& sink,
                                      std::stop_token stop) {
  v1::OpStart start;
  v1::ExecRequest& exec = *start.mutable_exec();
  for (const std::string& argument : request.argv) exec.add_command(argument);
  exec.set_cwd(request.working_directory);
  auto environment = BaseEnvironment();
  for (const auto& [name, value] : spec_.environment) environment[name] = value;
  for (const auto& [name, value] : request.environment) environment[name] = value;
  exec.mutable_env()->insert(environment.begin(), environment.end());
  exec.set_timeout_ms(
      static_cast<std::uint32_t>(std::min<std::int64_t>(request.timeout.count(), UINT32_MAX)));
  exec.set_stdin_follows(!request.stdin_bytes.empty());
  // The worker ends it at its timeout; a worker that does not is ended itself.
  std::optional<std::chrono::milliseconds> patience;
  if (request.timeout.count() > 0) patience = request.timeout + kTimeoutGrace;
  ExecResult result;
  const auto take = [&](v1::OpChannel channel, std::string_view bytes) {
    const bool is_error = channel == v1::OP_CHANNEL_STDERR;
    (is_error ? result.stderr_bytes : result.stdout_bytes) += bytes.size();
    sink(is_error ? OutputStream::kStderr : OutputStream::kStdout, bytes);
  };
  const CgroupEvents before = EventsOrNone();
  ASSIGN_OR_RETURN(const v1::OpExit exit,
                   RunOperation(std::move(start), request.stdin_bytes, take, patience, stop));
  const CgroupEvents after = EventsOrNone();
  result.out_of_memory = after.out_of_memory_kills > before.out_of_memory_kills;
  // The kernel may take the supervisor for the largest process; that is the same end.
  const bool died_of_memory = result.out_of_memory && exit.signal() == SIGKILL;
  if (exit.has_error() && !died_of_memory) return std::unexpected(ToError(exit.error()));
  result.exit_code = exit.exit_code();
  result.signal = exit.signal();
  result.timed_out = exit.timed_out();
  result.cancelled = exit.cancelled();
  result.out_of_processes = after.refused_forks > before.refused_forks;
  result.duration = std::chrono::milliseconds(exit.duration_ms());
  return result;
}

Result<ReadResult> LocalSandbox::Read(const ReadRequest& request, std::stop_token stop) {
  v1::OpStart start;
  start.mutable_fs_read()->set_path(request.path);
  start.mutable_fs_read()->set_offset(request.offset);
  // To the worker 0 is everything.
  start.mutable_fs_read()->set_length(std::max<std::uint64_t>(request.max_bytes, 1));
  ReadResult result;
  const auto sink = [&](v1::OpChannel, std::string_view bytes) {
    result.bytes += bytes.substr(0, request.max_bytes - result.bytes.size());
  };
  ASSIGN_OR_RETURN(const v1::OpExit exit,
                   RunOperation(std::move(start), {}, sink, kFileTimeout, stop));
  RETURN_IF_ERROR(CheckExit(exit));
  result.total_size = exit.file_size();
  return result;
}

Status LocalSandbox::Write(const WriteRequest& request, std::stop_token stop) {
  v1::OpStart start;
  v1::FsWriteBegin& begin = *start.mutable_fs_write();
  begin.set_path(request.path);
  begin.set_create_parents(request.create_parents);
  begin.set_append(request.append);
  begin.set_mode(request.mode);
  ASSIGN_OR_RETURN(const v1::OpExit exit,
                   RunOperation(
                       std::move(start), request.bytes, [](v1::OpChannel, std::string_view) {},
                       kFileTimeout, stop));
  return CheckExit(exit);
}

Result<SearchResults> LocalSandbox::Search(v1::OpStart start, const std::stop_token& stop) {
  SearchResults found;
  Status decoded;
  const auto sink = [&](v1::OpChannel, std::string_view bytes) {
    if (decoded) decoded = found.Feed(bytes);
  };
  ASSIGN_OR_RETURN(const v1::OpExit exit,
                   RunOperation(std::move(start), {}, sink, kFileTimeout, stop));
  RETURN_IF_ERROR(CheckExit(exit));
  RETURN_IF_ERROR(decoded);
  return found;
}

Result<GrepResult> LocalSandbox::Grep(const GrepRequest& request, std::stop_token stop) {
  v1::OpStart start;
  v1::GrepRequest& grep = *start.mutable_grep();
  grep.set_pattern(request.pattern);
  grep.set_path(request.path);
  grep.set_glob(request.glob);
  grep.set_ignore_case(request.ignore_case);
  grep.set_literal(request.literal);
  grep.set_context_lines(request.context_lines);
  grep.set_max_matches(request.max_matches);
  ASSIGN_OR_RETURN(const SearchResults found, Search(std::move(start), stop));
  GrepResult result;
  result.truncated = found.truncated();
  for (const v1::SearchRecord& record : found.records())
    result.lines.push_back({record.path(), record.line_number(), record.text(), !record.context()});
  return result;
}

Result<FindResult> LocalSandbox::Find(const FindRequest& request, std::stop_token stop) {
  v1::OpStart start;
  start.mutable_find()->set_glob(request.glob);
  start.mutable_find()->set_path(request.path);
  start.mutable_find()->set_max_results(request.max_results);
  ASSIGN_OR_RETURN(const SearchResults found, Search(std::move(start), stop));
  FindResult result;
  result.truncated = found.truncated();
  for (const v1::SearchRecord& record : found.records()) result.paths.push_back(record.path());
  std::ranges::sort(result.paths);
  return result;
}

Result<std::vector<FileEntry>> LocalSandbox::List(const std::string& path, bool recursive) {
  v1::ControlRequest request;
  request.mutable_fs_list()->set_path(path);
  request.mutable_fs_list()->set_recursive(recursive);
  ASSIGN_OR_RETURN(const v1::ControlResponse response, Unary(std::move(request)));
  std::vector<FileEntry> entries;
  for (const v1::FsEntry& entry : response.fs_list().entries()) entries.push_back(ToEntry(entry));
  return entries;
}

Result<std::optional<FileEntry>> LocalSandbox::Stat(const std::string& path) {
  v1::ControlRequest request;
  request.mutable_fs_stat()->set_path(path);
  ASSIGN_OR_RETURN(const v1::ControlResponse response, Unary(std::move(request)));
  if (!response.fs_stat().exists()) return std::nullopt;
  return ToEntry(response.fs_stat().entry());
}

Status LocalSandbox::MakeDirectory(const std::string& path, bool parents) {
  v1::ControlRequest request;
  request.mutable_fs_mkdir()->set_path(path);
  request.mutable_fs_mkdir()->set_parents(parents);
  RETURN_IF_ERROR(Unary(std::move(request)));
  return {};
}

Status LocalSandbox::Move(const std::string& from, const std::string& to, bool overwrite) {
  v1::ControlRequest request;
  request.mutable_fs_move()->set_from(from);
  request.mutable_fs_move()->set_to(to);
  request.mutable_fs_move()->set_overwrite(overwrite);
  RETURN_IF_ERROR(Unary(std::move(request)));
  return {};
}

Status LocalSandbox::Remove(const std::string& path, bool recursive) {
  v1::ControlRequest request;
  request.mutable_fs_remove()->set_path(path);
  request.mutable_fs_remove()->set_recursive(recursive);
  RETURN_IF_ERROR(Unary(std::move(request)));
  return {};
}

}  // namespace cofferdam::sandbox
