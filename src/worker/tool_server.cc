#include "worker/tool_server.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <map>
#include <memory>
#include <unordered_map>
#include <unordered_set>

#include "base/check.h"
#include "protocol/control.pb.h"
#include "protocol/framing.h"
#include "sys/fd.h"
#include "sys/file.h"
#include "sys/process.h"
#include "worker/command.h"
#include "worker/files.h"
#include "worker/operation.h"
#include "worker/result.h"
#include "worker/search.h"

namespace cofferdam::worker {
namespace {

namespace v1 = protocol::v1;

// Bounds on what a host can make a worker hold.
constexpr std::size_t kMaxRunning = 64;
constexpr std::size_t kMaxOperations = 100'000;  // ids remembered in a worker's life
constexpr std::size_t kMaxIdBytes = 128;
constexpr std::size_t kMaxQueuedBytes = 512 * 1024;
// A host that asks and does not read the answers is not listened to any more.
constexpr std::size_t kMaxUnreadBytes = 4 << 20;
constexpr std::size_t kMaxCommandBytes = 512 * 1024;
constexpr std::size_t kMaxStdinBytes = 256 * 1024;
// For what is answered in one piece.
constexpr std::chrono::seconds kUnaryTimeout{30};
// Tools are the first to die when the sandbox runs out of memory.
constexpr int kToolOomScore = 800;

bool IsLegalId(const std::string& id) {
  return !id.empty() && id.size() <= kMaxIdBytes && std::ranges::all_of(id, [](char c) {
    return c > ' ' && c < 0x7f && c != '.' && c != '*' && c != '>';
  });
}

std::uint64_t MonotonicMillis() {
  timespec now;
  CHECK(::clock_gettime(CLOCK_MONOTONIC, &now) == 0);
  return static_cast<std::uint64_t>(now.tv_sec) * 1000 +
         static_cast<std::uint64_t>(now.tv_nsec) / 1'000'000;
}

Deadline DeadlineOf(const v1::OpStart& start) {
  Deadline deadline = Deadline::Never();
  if (start.has_exec() && start.exec().timeout_ms() > 0)
    deadline = Deadline::After(std::chrono::milliseconds(start.exec().timeout_ms()));
  if (start.deadline_ms() > 0) {
    const auto now = std::chrono::duration_cast<std::chrono::milliseconds>(
        std::chrono::system_clock::now().time_since_epoch());
    deadline = Deadline::Earlier(
        deadline, Deadline::After(std::chrono::milliseconds(start.deadline_ms()) - now));
  }
  return deadline;
}

std::size_t CommandBytes(const v1::ExecRequest& request) {
  std::size_t bytes = 0;
  for (const std::string& argument : request.command()) bytes += argument.size() + 1;
  for (const auto& [name, value] : request.env()) bytes += name.size() + value.size() + 2;
  return bytes;
}

// What is wrong with a request, or nothing.
const char* FaultIn(const v1::OpStart& start) {
  switch (start.op_case()) {
    case v1::OpStart::kExec:
      if (start.exec().command().empty()) return "exec without a command";
      if (CommandBytes(start.exec()) > kMaxCommandBytes) return "the command is too long";
      if (start.exec().stdin().size() > kMaxStdinBytes)
        return "too much standard input in one piece";
      return nullptr;
    case v1::OpStart::OP_NOT_SET:
      return "an operation of an unknown kind";
    default:
      return nullptr;
  }
}

template <typename Run>
Operation::Work ReportingExit(Run run) {
  return [run = std::move(run)](const ChildPipes& pipes) {
    const v1::OpExit exit = run(pipes);
    static_cast<void>(sys::WriteAll(pipes.status, exit.SerializeAsString()));
  };
}

Operation::Work WorkFor(const v1::OpStart& start) {
  switch (start.op_case()) {
    case v1::OpStart::kExec:
      return [exec = start.exec()](const ChildPipes& pipes) { SuperviseCommand(exec, pipes); };
    case v1::OpStart::kFsRead:
      return ReportingExit([r = start.fs_read()](const ChildPipes& p) { return ReadFileOp(r, p); });
    case v1::OpStart::kFsWrite:
      return ReportingExit(
          [r = start.fs_write()](const ChildPipes& p) { return WriteFileOp(r, p); });
    case v1::OpStart::kGrep:
      return ReportingExit([r = start.grep()](const ChildPipes& p) { return GrepOp(r, p); });
    case v1::OpStart::kFind:
      return ReportingExit([r = start.find()](const ChildPipes& p) { return FindOp(r, p); });
    case v1::OpStart::OP_NOT_SET:
      break;
  }
  CHECK(false && "FaultIn refuses this");
}

Operation::Options OptionsFor(const std::string& id, const v1::OpStart& start) {
  Operation::Options options;
  options.id = id;
  options.window_bytes = start.window_bytes();
  options.deadline = DeadlineOf(start);
  if (start.has_exec()) {
    options.output_channel = v1::OP_CHANNEL_STDOUT;
    options.wants_errors = true;
    options.wants_input = start.exec().stdin_follows() || !start.exec().stdin().empty();
  } else if (start.has_fs_write()) {
    options.wants_input = true;
  } else {
    options.output_channel = v1::OP_CHANNEL_CONTENT;
  }
  return options;
}

class ToolServer {
 public:
  ToolServer(int channel, int oom_score) : channel_(channel), oom_score_(oom_score) {}

  void Run() {
    sigset_t child_signal;
    ::sigemptyset(&child_signal);
    ::sigaddset(&child_signal, SIGCHLD);
    ::signal(SIGCHLD, SIG_DFL);
    // A command that closes its input; PID 1 of a namespace is spared the signal, others are not.
    ::signal(SIGPIPE, SIG_IGN);
    ::sigprocmask(SIG_BLOCK, &child_signal, nullptr);
    // As PID 1 it is that anyway.
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    signals_ = sys::UniqueFd(::signalfd(-1, &child_signal, SFD_CLOEXEC | SFD_NONBLOCK));
    auto proc = sys::Open("/proc", O_PATH | O_DIRECTORY);
    if (!proc || !signals_.valid() || !sys::SetNonBlocking(channel_, true)) return;
    proc_ = std::move(*proc);
    ReadOomScore();
    while (!done_) Turn();
    Flush();
    EndOperations();
  }

 private:
  // One round of the loop: wait, move bytes, reap, look at the time.
  void Turn() {
    const int events =
        (outbox_.size() < kMaxUnreadBytes ? POLLIN : 0) | (outbox_.empty() ? 0 : POLLOUT);
    std::vector<pollfd> waits = {{channel_, static_cast<short>(events), 0},
                                 {signals_.get(), POLLIN, 0}};
    Deadline next = strays_must_be_gone_;
    for (const auto& [id, operation] : running_) {
      operation->AddWaits(HasRoom(), waits);
      next = Deadline::Earlier(next, operation->NextDeadline());
    }
    if (::poll(waits.data(), waits.size(), next.PollTimeoutMillis()) < 0 && errno != EINTR) {
      done_ = true;
      return;
    }
    if (waits[0].revents != 0) ServeChannel(waits[0].revents);
    if (waits[1].revents != 0) ReapChildren();
    for (std::size_t i = 2; i < waits.size(); ++i)
      if (waits[i].revents != 0) ServePipe(waits[i]);
    CheckTimes();
    for (const auto& [id, operation] : running_)
      if (HasRoom()) operation->DrainAfterEnd(outlet_);
    CollectFinished();
    Flush();
  }

  bool HasRoom() const { return outbox_.size() < kMaxQueuedBytes; }

  void ServeChannel(short events) {
    if ((events & (POLLIN | POLLHUP | POLLERR)) == 0) return;
    const ssize_t size = ::recv(channel_, buffer_.get(), Operation::kBufferBytes, 0);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
    // The host is gone, or speaks something else: nothing here has a purpose any more.
    if (size <= 0 || !decoder_.Feed({buffer_.get(), static_cast<std::size_t>(size)})) {
      done_ = true;
      return;
    }
    while (auto frame = decoder_.Next()) {
      v1::HostFrame message;
      if (!message.ParseFromString(*frame)) {
        done_ = true;
        return;
      }
      if (message.has_request())
        Dispatch(message.request());
      else if (message.has_ack())
        OnAck(message.ack());
    }
  }

  void Dispatch(const v1::ControlRequest& request) {
    switch (request.op_case()) {
      case v1::ControlRequest::kPing: {
        v1::ControlResponse response = ResponseTo(request);
        response.mutable_ping()->set_nonce(request.ping().nonce());
        response.mutable_ping()->set_agent_monotonic_ms(MonotonicMillis());
        return Respond(response);
      }
      case v1::ControlRequest::kFsList:
      case v1::ControlRequest::kFsStat:
      case v1::ControlRequest::kFsMkdir:
      case v1::ControlRequest::kFsMove:
      case v1::ControlRequest::kFsRemove:
        return StartUnary(request);
      case v1::ControlRequest::kOpStart:
        return StartOperation(request);
      case v1::ControlRequest::kOpCancel:
        return CancelOperation(request);
      case v1::ControlRequest::kOpQuery: {
        if (!IsLegalId(request.op_query().op_id()))
          return Refuse(request, v1::ERROR_PROTOCOL, "not a legal operation id");
        v1::ControlResponse response = ResponseTo(request);
        *response.mutable_op_status() = StatusOf(request.op_query().op_id());
        return Respond(response);
      }
      case v1::ControlRequest::kWriteChunk:
        return TakeChunk(request);
      case v1::ControlRequest::OP_NOT_SET:
        return Refuse(request, v1::ERROR_UNSUPPORTED, "an unknown request");
    }
  }

  static v1::ControlResponse ResponseTo(const v1::ControlRequest& request) {
    v1::ControlResponse response;
    // An answer is never larger than a frame, however long the name of the request.
    if (request.request_id().size() <= kMaxIdBytes) response.set_request_id(request.request_id());
    return response;
  }
  void Respond(const v1::ControlResponse& response) {
    v1::WorkerFrame frame;
    *frame.mutable_response() = response;
    Send(frame);
  }
  void Refuse(const v1::ControlRequest& request, v1::ErrorCode code, std::string message) {
    v1::ControlResponse response = ResponseTo(request);
    *response.mutable_error() = MakeError(code, std::move(message));
    Respond(response);
  }

  // The id's place in the books; an answer was sent when it has none.
  bool Admit(const v1::ControlRequest& request) {
    const std::string& id = request.request_id();
    if (!IsLegalId(id))
      return Refuse(request, v1::ERROR_PROTOCOL, "not a legal operation id"), false;
    if (running_.contains(id) || finished_.contains(id)) {
      // A second OpStart of the same operation never runs it again.
      if (!request.has_op_start())
        return Refuse(request, v1::ERROR_PROTOCOL, "the id is in use"), false;
      v1::ControlResponse response = ResponseTo(request);
      response.mutable_op_started()->set_accepted(false);
      *response.mutable_op_started()->mutable_status() = StatusOf(id);
      return Respond(response), false;
    }
    if (running_.size() >= kMaxRunning || running_.size() + finished_.size() >= kMaxOperations)
      return Refuse(request, v1::ERROR_DRAINING, "too many operations"), false;
    return true;
  }

  void StartOperation(const v1::ControlRequest& request) {
    if (!Admit(request)) return;
    const v1::OpStart& start = request.op_start();
    if (const char* fault = FaultIn(start)) return Refuse(request, v1::ERROR_PROTOCOL, fault);
    auto operation = StartChild(OptionsFor(request.request_id(), start), WorkFor(start));
    if (!operation) {
      v1::ControlResponse response = ResponseTo(request);
      *response.mutable_error() = FromError(operation.error());
      return Respond(response);
    }
    if (start.has_exec() && !start.exec().stdin().empty()) {
      v1::WriteChunk chunk;
      chunk.set_bytes(start.exec().stdin());
      chunk.set_last(!start.exec().stdin_follows());
      (*operation)->TakeInput("", chunk);
    }
    v1::ControlResponse response = ResponseTo(request);
    response.mutable_op_started()->set_accepted(true);
    response.mutable_op_started()->mutable_status()->set_op_id(request.request_id());
    response.mutable_op_started()->mutable_status()->set_state(v1::OP_STATE_RUNNING);
    Respond(response);
    running_[request.request_id()] = std::move(*operation);
  }

  // A child has the score that its parent had when it was made, and so has all that it starts.
  Result<std::unique_ptr<Operation>> StartChild(Operation::Options options,
                                                const Operation::Work& work) {
    SetOomScore(kToolOomScore);
    auto operation = Operation::Start(std::move(options), work);
    SetOomScore(own_oom_score_);
    return operation;
  }

  void ReadOomScore() {
    char text[16] = {};
    if (oom_score_ < 0 || ::pread(oom_score_, text, sizeof(text) - 1, 0) <= 0) oom_score_ = -1;
    own_oom_score_ = std::atoi(text);
  }

  // A host that is worth less to the kernel than a tool has no room for a difference.
  void SetOomScore(int score) {
    if (oom_score_ < 0 || own_oom_score_ >= kToolOomScore) return;
    const std::string text = std::to_string(score);
    CHECK(::pwrite(oom_score_, text.data(), text.size(), 0) > 0);
  }

  void StartUnary(const v1::ControlRequest& request) {
    if (!Admit(request)) return;
    Operation::Options options;
    options.id = request.request_id();
    options.deadline = Deadline::After(kUnaryTimeout);
    auto operation = StartChild(std::move(options), [request](const ChildPipes& pipes) {
      const v1::ControlResponse response = AnswerFileRequest(request);
      static_cast<void>(sys::WriteAll(pipes.status, response.SerializeAsString()));
    });
    if (!operation) return Refuse(request, v1::ERROR_OS, operation.error().message);
    unary_.insert(request.request_id());
    running_[request.request_id()] = std::move(*operation);
  }

  void CancelOperation(const v1::ControlRequest& request) {
    const std::string& id = request.op_cancel().op_id();
    if (!IsLegalId(id)) return Refuse(request, v1::ERROR_PROTOCOL, "not a legal operation id");
    const auto found = running_.find(id);
    if (found != running_.end()) {
      found->second->Stop(Operation::StopReason::kCancelled);
    } else if (!finished_.contains(id) && finished_.size() < kMaxOperations) {
      // Cancelled before it came: it will not run when it comes.
      finished_[id].set_cancelled(true);
    }
    v1::ControlResponse response = ResponseTo(request);
    *response.mutable_op_status() = StatusOf(id);
    Respond(response);
  }

  v1::OpStatus StatusOf(const std::string& id) const {
    v1::OpStatus status;
    status.set_op_id(id);
    const auto found = finished_.find(id);
    if (found != finished_.end()) {
      status.set_state(v1::OP_STATE_COMPLETE);
      *status.mutable_exit() = found->second;
    } else {
      status.set_state(running_.contains(id) ? v1::OP_STATE_RUNNING : v1::OP_STATE_LOST);
    }
    return status;
  }

  void TakeChunk(const v1::ControlRequest& request) {
    const v1::WriteChunk& chunk = request.write_chunk();
    const auto found = running_.find(chunk.op_id());
    if (found == running_.end()) return Refuse(request, v1::ERROR_NOT_FOUND, "no such operation");
    if (chunk.bytes().size() > kMaxStdinBytes ||
        !found->second->TakeInput(request.request_id(), chunk))
      Refuse(request, v1::ERROR_PROTOCOL, "the operation takes no input now");
  }

  void OnAck(const v1::OpAck& ack) {
    const auto found = running_.find(ack.op_id());
    if (found != running_.end()) found->second->Grant(ack.credit_bytes());
  }

  Operation::Outlet MakeOutlet() {
    return {.send =
                [this](v1::OpFrame frame) {
                  v1::WorkerFrame message;
                  *message.mutable_frame() = std::move(frame);
                  Send(message);
                },
            .acknowledge =
                [this](const std::string& request_id, std::uint64_t seq) {
                  if (request_id.empty()) return;
                  v1::ControlResponse response;
                  response.set_request_id(request_id);
                  response.mutable_write_chunk()->set_seq(seq);
                  Respond(response);
                },
            .buffer = {buffer_.get(), Operation::kBufferBytes}};
  }

  void ServePipe(const pollfd& ready) {
    for (const auto& [id, operation] : running_) operation->OnReady(ready, outlet_);
  }

  void ReapChildren() {
    signalfd_siginfo ignored;
    while (::read(signals_.get(), &ignored, sizeof(ignored)) > 0) {
    }
    int status = 0;
    bool lost_supervisor = false;
    for (pid_t pid = ::waitpid(-1, &status, WNOHANG); pid > 0;
         pid = ::waitpid(-1, &status, WNOHANG)) {
      for (const auto& [id, operation] : running_) {
        if (!operation->IsChild(pid)) continue;
        operation->OnChildEnded(status);
        lost_supervisor |= operation->LostItsChild();
      }
    }
    if (lost_supervisor && strays_must_be_gone_.is_never())
      strays_must_be_gone_ = Deadline::After(kConvergence);
    if (!strays_must_be_gone_.is_never()) KillStrays();
  }

  // What a dead supervisor leaves becomes our child; nothing else here is a child without an
  // operation.
  void KillStrays() {
    const auto children = sys::Children(proc_.get());
    if (!children) return;
    bool any = false;
    for (const pid_t pid : *children) {
      const bool known = std::ranges::any_of(
          running_, [&](const auto& entry) { return entry.second->IsChild(pid); });
      if (known) continue;
      any = true;
      ::kill(pid, SIGKILL);
    }
    if (!any) strays_must_be_gone_ = Deadline::Never();
  }

  void CheckTimes() {
    for (const auto& [id, operation] : running_)
      if (!operation->CheckTime())
        return End("the processes of operation " + id + " did not end when they were killed");
    if (strays_must_be_gone_.Expired())
      End("processes without a supervisor did not end when they were killed");
  }

  // Nobody is left to answer to. As PID 1 the kernel would do this; elsewhere nothing else does.
  void EndOperations() {
    for (const auto& [id, operation] : running_) operation->Stop(Operation::StopReason::kCancelled);
    const Deadline deadline = Deadline::After(kConvergence);
    while (!deadline.Expired()) {
      ReapChildren();
      KillStrays();
      const auto children = sys::Children(proc_.get());
      if (!children || children->empty()) return;
      pollfd waiting{signals_.get(), POLLIN, 0};
      ::poll(&waiting, 1, deadline.PollTimeoutMillis());
    }
  }

  void End(std::string reason) {
    v1::WorkerFrame frame;
    frame.mutable_farewell()->set_reason(std::move(reason));
    Send(frame);
    done_ = true;
  }

  void CollectFinished() {
    for (auto at = running_.begin(); at != running_.end();) {
      // What a killed supervisor has left may still be on its way out; its operation ends with it.
      const bool has_strays = at->second->LostItsChild() && !strays_must_be_gone_.is_never();
      if (!at->second->Finished() || has_strays) {
        ++at;
        continue;
      }
      RefuseInputs(*at->second);
      if (unary_.erase(at->first) > 0) {
        RespondUnary(*at->second);
      } else {
        v1::WorkerFrame frame;
        *frame.mutable_frame() = at->second->ExitFrame();
        Send(frame);
        finished_[at->first] = frame.frame().exit();
      }
      at = running_.erase(at);
    }
  }

  // Every request is answered, also the chunks that an operation did not live to take.
  void RefuseInputs(const Operation& operation) {
    for (const std::string& request_id : operation.WaitingInputs()) {
      v1::ControlResponse response;
      response.set_request_id(request_id);
      *response.mutable_error() = MakeError(v1::ERROR_NOT_FOUND, "the operation has ended");
      Respond(response);
    }
  }

  void RespondUnary(const Operation& operation) {
    v1::ControlResponse response;
    if (!response.ParseFromString(operation.result_bytes()) ||
        response.request_id() != operation.id()) {
      response.Clear();
      response.set_request_id(operation.id());
      *response.mutable_error() =
          MakeError(v1::ERROR_TIMEOUT, "the file operation did not end in time");
    }
    Respond(response);
  }

  void Send(const v1::WorkerFrame& frame) {
    outbox_ += protocol::EncodeFrame(frame.SerializeAsString());
  }

  void Flush() {
    while (!outbox_.empty()) {
      const ssize_t size = ::send(channel_, outbox_.data(), outbox_.size(), MSG_NOSIGNAL);
      if (size < 0 && errno == EINTR) continue;
      if (size < 0 && errno == EAGAIN) return;
      if (size < 0) {
        done_ = true;
        return;
      }
      outbox_.erase(0, static_cast<std::size_t>(size));
    }
  }

  int channel_;
  int oom_score_;
  int own_oom_score_ = 0;
  const std::unique_ptr<char[]> buffer_ =
      std::make_unique_for_overwrite<char[]>(Operation::kBufferBytes);
  const Operation::Outlet outlet_ = MakeOutlet();
  sys::UniqueFd signals_;
  sys::UniqueFd proc_;
  protocol::FrameDecoder decoder_;
  std::string outbox_;
  std::map<std::string, std::unique_ptr<Operation>> running_;
  std::unordered_set<std::string> unary_;
  std::unordered_map<std::string, v1::OpExit> finished_;
  Deadline strays_must_be_gone_ = Deadline::Never();
  bool done_ = false;
};

}  // namespace

void ServeTools(int channel, int oom_score) { ToolServer(channel, oom_score).Run(); }

}  // namespace cofferdam::worker
