#include "sandbox/local_sandbox.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/check.h"
#include "base/utf8.h"
#include "sandbox/verify.h"
#include "sys/file.h"
#include "sys/message.h"
#include "sys/process.h"

namespace cofferdam::sandbox {
namespace {

namespace v1 = protocol::v1;

constexpr std::chrono::seconds kStartTimeout{20};
constexpr std::chrono::seconds kSendTimeout{30};
constexpr std::chrono::seconds kUnaryTimeout{60};
// A cancelled operation has 500 ms in the worker; a worker that takes longer is ended from outside.
constexpr std::chrono::seconds kCancelTimeout{3};
constexpr std::chrono::seconds kEndTimeout{30};
constexpr std::size_t kMaxSearchBytes = 8 << 20;

std::int64_t MicrosSince(std::chrono::steady_clock::time_point& start) {
  const auto now = std::chrono::steady_clock::now();
  const auto micros = std::chrono::duration_cast<std::chrono::microseconds>(now - start).count();
  start = now;
  return micros;
}

ErrorCode CodeFor(v1::ErrorCode code) {
  switch (code) {
    case v1::ERROR_NOT_FOUND:
      return ErrorCode::kNotFound;
    case v1::ERROR_TIMEOUT:
      return ErrorCode::kTimeout;
    case v1::ERROR_PROTOCOL:
      return ErrorCode::kInvalidArgument;
    case v1::ERROR_PAYLOAD_TOO_LARGE:
      return ErrorCode::kTooLarge;
    case v1::ERROR_UNSUPPORTED:
      return ErrorCode::kUnsupported;
    case v1::ERROR_DRAINING:
      return ErrorCode::kBusy;
    default:
      return ErrorCode::kOs;
  }
}

// The worker's words are a sandbox's: bounded and made printable before anybody sees them.
Error ToError(const v1::AgentError& error) {
  constexpr std::size_t kMaxMessageBytes = 2000;
  const std::string text = ToValidUtf8(error.message());
  Error result{CodeFor(error.code()),
               std::string(Utf8Prefix(text, kMaxMessageBytes)),
               {},
               error.sys_errno()};
  if (error.code() == v1::ERROR_OS && error.sys_errno() != 0)
    result.code = ErrnoError(error.sys_errno(), "").error().code;
  return result;
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

// Descriptors and mounts of a launch, kept open until the launcher has answered.
struct LaunchParts {
  LaunchRequest request{};
  std::vector<sys::UniqueFd> owned;
  std::vector<int> fds;

  void Add(sys::UniqueFd fd) {
    fds.push_back(fd.get());
    owned.push_back(std::move(fd));
  }
};

Status AddMount(const Mount& mount, LaunchParts& parts) {
  if (parts.request.mount_count >= kMaxMounts)
    return Err(ErrorCode::kTooLarge, "more than 16 mounts");
  if (mount.target.size() >= kMaxMountPath)
    return Err(ErrorCode::kInvalidArgument, "a mount's destination is too long");
  ASSIGN_OR_RETURN(sys::UniqueFd fd, sys::Open(mount.source, O_PATH | O_NOFOLLOW));
  ASSIGN_OR_RETURN(const struct stat info, sys::Stat(fd.get()));
  MountRequest& request = parts.request.mounts[parts.request.mount_count++];
  std::strncpy(request.target, mount.target.c_str(), sizeof(request.target) - 1);
  request.read_only = mount.writable ? 0 : 1;
  request.device = info.st_dev;
  request.inode = info.st_ino;
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
  const HostIdentity identity = ToolIdentity();
  parts.request.kind = RequestKind::kLaunch;
  parts.request.skip_layers = spec.skip_.bits();
  parts.request.optional_layers = optional.bits();
  parts.request.outer_uid = identity.uid;
  parts.request.outer_gid = identity.gid;
  SetLimits(spec.limits, parts.request);
  std::strncpy(parts.request.hostname, spec.hostname.c_str(), sizeof(parts.request.hostname) - 1);

  ASSIGN_OR_RETURN(sys::SocketPair pair, sys::NewSocketPair(SOCK_STREAM));
  ASSIGN_OR_RETURN(ControlChannel channel, ControlChannel::Over(std::move(pair.first)));
  std::unique_ptr<LocalSandbox> sandbox(new LocalSandbox(spec, std::move(channel)));
  parts.Add(std::move(pair.second));
  if (!spec.skip_.Has(Layer::kCgroup)) {
    if (launcher.cgroups()) {
      ASSIGN_OR_RETURN(Cgroup cgroup, launcher.cgroups()->Make(spec.id, spec.limits));
      ASSIGN_OR_RETURN(std::vector<sys::UniqueFd> files, cgroup.OpenJoinFiles());
      sandbox->cgroup_ = std::move(cgroup);
      for (sys::UniqueFd& file : files) parts.Add(std::move(file));
      parts.request.cgroup_count = static_cast<std::uint32_t>(files.size());
    } else if (!optional.Has(Layer::kCgroup)) {
      return std::unexpected(launcher.cgroups().error());
    }
  }
  for (const Mount& mount : spec.mounts) RETURN_IF_ERROR(AddMount(mount, parts));
  sandbox->times_.prepare = MicrosSince(clock);

  ASSIGN_OR_RETURN(Launched launched, launcher.Launch(parts.request, parts.fds));
  sandbox->pidfd_ = std::move(launched.pidfd);
  sandbox->pid_ = launched.reply.pid;
  parts.owned.clear();
  sandbox->times_.launch = MicrosSince(clock);

  ASSIGN_OR_RETURN(const StartReport report, sandbox->channel_.ReceiveStartReport(deadline));
  if (report.failed_step != Step::kNone)
    return std::unexpected(StepError(report.failed_step, report.error_number));
  sandbox->times_.confine = MicrosSince(clock);

  const Cgroup* cgroup = sandbox->cgroup_ ? &*sandbox->cgroup_ : nullptr;
  ASSIGN_OR_RETURN(sandbox->layers_, Verify({parts.request, launched.reply, report, cgroup}));
  sandbox->times_.verify = MicrosSince(clock);
  RETURN_IF_ERROR(sandbox->Ping(deadline));
  sandbox->times_.ping = MicrosSince(clock);
  return sandbox;
}

LocalSandbox::~LocalSandbox() { Kill(); }

void LocalSandbox::Kill() {
  const std::lock_guard lock(end_);
  if (std::exchange(ended_, true) || !pidfd_.valid()) return;
  CHECK(sys::SendSignal(pidfd_.get(), SIGKILL).has_value());
  // In this order: a frozen process takes the signal only when it is thawed, and thawed first it
  // would run.
  if (frozen_ && cgroup_) static_cast<void>(cgroup_->Thaw());
  // When PID 1 has ended, the kernel has ended everything in its namespace.
  static_cast<void>(sys::WaitForEnd(pidfd_.get(), Deadline::After(kEndTimeout)));
  if (cgroup_) static_cast<void>(cgroup_->Remove(Deadline::After(kEndTimeout)));
}

Status LocalSandbox::Freeze() {
  const std::lock_guard lock(end_);
  if (!cgroup_)
    return Err(ErrorCode::kUnsupported, "without a control group a sandbox cannot be frozen");
  if (ended_) return Err(ErrorCode::kSandboxLost, "the sandbox has ended");
  RETURN_IF_ERROR(cgroup_->Freeze());
  frozen_ = true;
  return {};
}

Status LocalSandbox::Thaw() {
  const std::lock_guard lock(end_);
  if (!cgroup_)
    return Err(ErrorCode::kUnsupported, "without a control group a sandbox cannot be frozen");
  RETURN_IF_ERROR(cgroup_->Thaw());
  frozen_ = false;
  return {};
}

// ---- The channel

std::string LocalSandbox::NextId() { return "op-" + std::to_string(next_id_++); }

Error LocalSandbox::Lose(const Error& cause) {
  const CgroupEvents events = EventsOrNone();
  Kill();
  Error error = cause;
  error.code = ErrorCode::kSandboxLost;
  if (events.out_of_memory_kills > 0)
    error.message += "; the kernel killed processes in it for memory";
  if (error.hint.empty())
    error.hint = "its processes are gone; the next operation needs a new sandbox";
  lost_ = error;
  return error;
}

CgroupEvents LocalSandbox::EventsOrNone() {
  const std::lock_guard lock(end_);
  if (!cgroup_ || ended_) return {};
  return cgroup_->Events().value_or(CgroupEvents{});
}

Status LocalSandbox::SendRequest(v1::ControlRequest request) {
  v1::HostFrame frame;
  *frame.mutable_request() = std::move(request);
  return channel_.Send(frame, Deadline::After(kSendTimeout));
}

Result<v1::ControlResponse> LocalSandbox::Unary(v1::ControlRequest request) {
  const std::lock_guard lock(operations_);
  if (lost_) return std::unexpected(*lost_);
  const std::string id = NextId();
  request.set_request_id(id);
  const Status sent = SendRequest(std::move(request));
  if (!sent) return std::unexpected(Lose(sent.error()));
  auto frame = channel_.Receive(Deadline::After(kUnaryTimeout), {});
  if (!frame) return std::unexpected(Lose(frame.error()));
  if (frame->has_farewell())
    return std::unexpected(Lose({ErrorCode::kSandboxLost, frame->farewell().reason(), {}, 0}));
  if (!frame->has_response() || frame->response().request_id() != id)
    return std::unexpected(
        Lose({ErrorCode::kProtocol, "the worker answered something else", {}, 0}));
  if (frame->response().has_error()) return std::unexpected(ToError(frame->response().error()));
  return frame->response();
}

Status LocalSandbox::Ping(Deadline deadline) {
  const std::lock_guard lock(operations_);
  if (lost_) return std::unexpected(*lost_);
  v1::ControlRequest request;
  const std::string id = NextId();
  request.set_request_id(id);
  request.mutable_ping()->set_nonce(next_id_);
  RETURN_IF_ERROR(SendRequest(request));
  ASSIGN_OR_RETURN(const v1::WorkerFrame frame, channel_.Receive(deadline, {}));
  if (!frame.has_response() || frame.response().request_id() != id ||
      frame.response().ping().nonce() != request.ping().nonce())
    return std::unexpected(
        Lose({ErrorCode::kProtocol, "the worker answered something else", {}, 0}));
  return {};
}

// ---- Stream operations

struct LocalSandbox::Operation {
  std::string id;
  std::string start_request;
  std::string cancel_request;
  std::string chunk_request;  // the chunk that is not acknowledged yet
  std::string_view input;     // what was not sent yet
  bool input_open = false;
  std::uint64_t chunk_seq = 0;
  std::uint64_t next_seq = 1;
  std::uint64_t received = 0;
  std::uint64_t granted = protocol::kDefaultWindowBytes;
  std::optional<Error> refused;
  std::optional<v1::OpExit> exit;
};

Status LocalSandbox::SendNextChunk(Operation& operation) {
  if (!operation.input_open) return {};
  const std::string_view bytes = operation.input.substr(0, protocol::kMaxDataBytes);
  operation.input.remove_prefix(bytes.size());
  v1::ControlRequest request;
  operation.chunk_request = NextId();
  request.set_request_id(operation.chunk_request);
  v1::WriteChunk& chunk = *request.mutable_write_chunk();
  chunk.set_op_id(operation.id);
  chunk.set_seq(++operation.chunk_seq);
  chunk.set_bytes(bytes.data(), bytes.size());
  chunk.set_last(operation.input.empty());
  operation.input_open = !operation.input.empty();
  return SendRequest(std::move(request));
}

Status LocalSandbox::HandleResponse(const v1::ControlResponse& response, Operation& operation) {
  if (response.request_id() == operation.id) {
    if (response.has_error())
      operation.refused = ToError(response.error());
    else if (!response.op_started().accepted())
      return Err(ErrorCode::kProtocol, "the worker knows an operation that was never started");
    return {};
  }
  if (response.request_id() == operation.chunk_request) {
    // The operation may have ended before it took all its input.
    if (response.has_error()) operation.input_open = false;
    return SendNextChunk(operation);
  }
  if (response.request_id() == operation.cancel_request) {
    operation.cancel_request.clear();
    return {};
  }
  return Err(ErrorCode::kProtocol, "the worker answered a request that was not made");
}

Status LocalSandbox::HandleData(const v1::OpFrame& frame, const DataSink& sink,
                                Operation& operation) {
  if (frame.op_id() != operation.id || frame.seq() != operation.next_seq)
    return Err(ErrorCode::kProtocol, "the worker sent output of another operation or out of order");
  ++operation.next_seq;
  if (frame.has_exit()) {
    operation.exit = frame.exit();
    return {};
  }
  operation.received += frame.data().bytes().size();
  if (!frame.has_data() || operation.received > operation.granted)
    return Err(ErrorCode::kProtocol, "the worker sent more than it may");
  sink(frame.data().channel(), frame.data().bytes());
  if (operation.granted - operation.received > protocol::kDefaultWindowBytes / 2) return {};
  operation.granted = operation.received + protocol::kDefaultWindowBytes;
  v1::HostFrame message;
  message.mutable_ack()->set_op_id(operation.id);
  message.mutable_ack()->set_acked_seq(frame.seq());
  message.mutable_ack()->set_credit_bytes(operation.granted);
  return channel_.Send(message, Deadline::After(kSendTimeout));
}

// Receives until the operation has ended. A stop asks the worker to end it, and then waits for
// that.
Result<v1::OpExit> LocalSandbox::FinishOperation(Operation& operation, const DataSink& sink,
                                                 const std::stop_token& stop) {
  Deadline deadline = Deadline::Never();
  std::stop_token heeded = stop;
  while (!operation.exit && !operation.refused) {
    auto frame = channel_.Receive(deadline, heeded);
    if (!frame && frame.error().code == ErrorCode::kCancelled) {
      v1::ControlRequest request;
      operation.cancel_request = NextId();
      request.set_request_id(operation.cancel_request);
      request.mutable_op_cancel()->set_op_id(operation.id);
      RETURN_IF_ERROR(SendRequest(std::move(request)));
      deadline = Deadline::After(kCancelTimeout);
      heeded = {};
      continue;
    }
    if (!frame) return std::unexpected(frame.error());
    if (frame->has_farewell())
      return Err(
          ErrorCode::kSandboxLost,
          "the sandbox was ended: " + std::string(Utf8Prefix(frame->farewell().reason(), 300)));
    if (frame->has_response())
      RETURN_IF_ERROR(HandleResponse(frame->response(), operation));
    else
      RETURN_IF_ERROR(HandleData(frame->frame(), sink, operation));
  }
  if (operation.refused) return std::unexpected(*operation.refused);
  // The answer to a cancel may still be on its way.
  while (!operation.cancel_request.empty()) {
    ASSIGN_OR_RETURN(const v1::WorkerFrame frame,
                     channel_.Receive(Deadline::After(kCancelTimeout), {}));
    if (frame.has_response()) RETURN_IF_ERROR(HandleResponse(frame.response(), operation));
  }
  return std::move(*operation.exit);
}

Result<v1::OpExit> LocalSandbox::RunOperation(v1::OpStart start, std::string_view input,
                                              const DataSink& sink, const std::stop_token& stop) {
  const std::lock_guard lock(operations_);
  if (lost_) return std::unexpected(*lost_);
  if (stop.stop_requested()) return Err(ErrorCode::kCancelled, "cancelled before it began");
  Operation operation;
  operation.id = NextId();
  operation.input = input;
  operation.input_open = (start.has_exec() && start.exec().stdin_follows()) || start.has_fs_write();
  start.set_window_bytes(operation.granted);
  v1::ControlRequest request;
  request.set_request_id(operation.id);
  *request.mutable_op_start() = std::move(start);
  Status sent = SendRequest(std::move(request));
  if (sent) sent = SendNextChunk(operation);
  if (!sent) return std::unexpected(Lose(sent.error()));
  auto exit = FinishOperation(operation, sink, stop);
  if (!exit && operation.refused) return exit;
  if (!exit) return std::unexpected(Lose(exit.error()));
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

// A worker chooses these bytes: bounded, and every record must parse.
class SearchDecoder {
 public:
  Status Feed(std::string_view bytes) {
    total_ += bytes.size();
    if (total_ > kMaxSearchBytes)
      return Err(ErrorCode::kTooLarge, "the search found too much for one answer",
                 "search for less");
    RETURN_IF_ERROR(frames_.Feed(bytes));
    while (auto bytes_of_one = frames_.Next()) {
      v1::SearchRecord record;
      if (!record.ParseFromString(*bytes_of_one))
        return Err(ErrorCode::kProtocol, "a search result does not parse");
      if (record.truncated())
        truncated_ = true;
      else
        records_.push_back(std::move(record));
    }
    return {};
  }
  const std::vector<v1::SearchRecord>& records() const { return records_; }
  bool truncated() const { return truncated_; }

 private:
  protocol::FrameDecoder frames_{64 * 1024};
  std::vector<v1::SearchRecord> records_;
  std::size_t total_ = 0;
  bool truncated_ = false;
};

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
  const CgroupEvents before = EventsOrNone();
  ASSIGN_OR_RETURN(const v1::OpExit exit, RunOperation(
                                              std::move(start), request.stdin_bytes,
                                              [&](v1::OpChannel channel, std::string_view bytes) {
                                                sink(channel == v1::OP_CHANNEL_STDERR
                                                         ? OutputStream::kStderr
                                                         : OutputStream::kStdout,
                                                     bytes);
                                              },
                                              stop));
  if (exit.has_error()) return std::unexpected(ToError(exit.error()));
  const CgroupEvents after = EventsOrNone();
  const auto total = [&](v1::OpChannel channel) {
    const auto found = exit.totals().find(static_cast<std::uint32_t>(channel));
    return found == exit.totals().end() ? 0 : found->second;
  };
  ExecResult result;
  result.exit_code = exit.exit_code();
  result.signal = exit.signal();
  result.timed_out = exit.timed_out();
  result.cancelled = exit.cancelled();
  result.out_of_memory = after.out_of_memory_kills > before.out_of_memory_kills;
  result.out_of_processes = after.refused_forks > before.refused_forks;
  result.duration = std::chrono::milliseconds(exit.duration_ms());
  result.stdout_bytes = total(v1::OP_CHANNEL_STDOUT);
  result.stderr_bytes = total(v1::OP_CHANNEL_STDERR);
  return result;
}

Result<ReadResult> LocalSandbox::Read(const ReadRequest& request, std::stop_token stop) {
  v1::OpStart start;
  start.mutable_fs_read()->set_path(request.path);
  start.mutable_fs_read()->set_offset(request.offset);
  start.mutable_fs_read()->set_length(request.max_bytes);
  ReadResult result;
  const auto sink = [&](v1::OpChannel, std::string_view bytes) {
    result.bytes += bytes.substr(0, request.max_bytes - result.bytes.size());
  };
  ASSIGN_OR_RETURN(const v1::OpExit exit, RunOperation(std::move(start), {}, sink, stop));
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
  ASSIGN_OR_RETURN(
      const v1::OpExit exit,
      RunOperation(std::move(start), request.bytes, [](v1::OpChannel, std::string_view) {}, stop));
  return CheckExit(exit);
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
  SearchDecoder decoder;
  Status decoded;
  const auto sink = [&](v1::OpChannel, std::string_view bytes) {
    if (decoded) decoded = decoder.Feed(bytes);
  };
  ASSIGN_OR_RETURN(const v1::OpExit exit, RunOperation(std::move(start), {}, sink, stop));
  RETURN_IF_ERROR(CheckExit(exit));
  RETURN_IF_ERROR(decoded);
  GrepResult result;
  result.truncated = decoder.truncated();
  for (const v1::SearchRecord& record : decoder.records())
    result.lines.push_back({record.path(), record.line_number(), record.text(), !record.context()});
  return result;
}

Result<FindResult> LocalSandbox::Find(const FindRequest& request, std::stop_token stop) {
  v1::OpStart start;
  start.mutable_find()->set_glob(request.glob);
  start.mutable_find()->set_path(request.path);
  start.mutable_find()->set_max_results(request.max_results);
  SearchDecoder decoder;
  Status decoded;
  const auto sink = [&](v1::OpChannel, std::string_view bytes) {
    if (decoded) decoded = decoder.Feed(bytes);
  };
  ASSIGN_OR_RETURN(const v1::OpExit exit, RunOperation(std::move(start), {}, sink, stop));
  RETURN_IF_ERROR(CheckExit(exit));
  RETURN_IF_ERROR(decoded);
  FindResult result;
  result.truncated = decoder.truncated();
  for (const v1::SearchRecord& record : decoder.records()) result.paths.push_back(record.path());
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
