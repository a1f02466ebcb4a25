#include "sandbox/operation_client.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/utf8.h"
#include "protocol/framing.h"

namespace cofferdam::sandbox {
namespace {

namespace v1 = protocol::v1;
using SteadyClock = std::chrono::steady_clock;

constexpr std::chrono::seconds kSendTimeout{30};
constexpr std::size_t kMaxMessageBytes = 2000;

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

std::string Bounded(const std::string& text) {
  return std::string(Utf8Prefix(ToValidUtf8(text), kMaxMessageBytes));
}

// The wire format has text in these places, and a receiver refuses a message with other bytes.
bool IsText(const v1::ExecRequest& exec) {
  const auto is_text = [](const std::string& text) { return IsValidUtf8(text); };
  return IsValidUtf8(exec.cwd()) && std::ranges::all_of(exec.command(), is_text) &&
         std::ranges::all_of(exec.env(), [](const auto& variable) {
           return IsValidUtf8(variable.first) && IsValidUtf8(variable.second);
         });
}

bool IsText(const v1::OpStart& start) {
  switch (start.op_case()) {
    case v1::OpStart::kExec:
      return IsText(start.exec());
    case v1::OpStart::kFsRead:
      return IsValidUtf8(start.fs_read().path());
    case v1::OpStart::kFsWrite:
      return IsValidUtf8(start.fs_write().path());
    case v1::OpStart::kGrep:
      return IsValidUtf8(start.grep().path()) && IsValidUtf8(start.grep().pattern()) &&
             IsValidUtf8(start.grep().glob());
    case v1::OpStart::kFind:
      return IsValidUtf8(start.find().path()) && IsValidUtf8(start.find().glob());
    case v1::OpStart::OP_NOT_SET:
      return true;
  }
  return true;
}

bool IsText(const v1::ControlRequest& request) {
  switch (request.op_case()) {
    case v1::ControlRequest::kFsList:
      return IsValidUtf8(request.fs_list().path());
    case v1::ControlRequest::kFsMkdir:
      return IsValidUtf8(request.fs_mkdir().path());
    case v1::ControlRequest::kFsMove:
      return IsValidUtf8(request.fs_move().from()) && IsValidUtf8(request.fs_move().to());
    case v1::ControlRequest::kFsStat:
      return IsValidUtf8(request.fs_stat().path());
    case v1::ControlRequest::kFsRemove:
      return IsValidUtf8(request.fs_remove().path());
    case v1::ControlRequest::kOpStart:
      return IsText(request.op_start());
    default:
      return true;
  }
}

std::string IdOf(std::uint64_t number) { return "op-" + std::to_string(number); }

Error FarewellError(const v1::Farewell& farewell) {
  return {ErrorCode::kSandboxLost, "the sandbox was ended: " + Bounded(farewell.reason()), {}, 0};
}

}  // namespace

Error ToError(const v1::AgentError& error) {
  Error result{CodeFor(error.code()), Bounded(error.message()), {}, error.sys_errno()};
  if (error.code() == v1::ERROR_OS && error.sys_errno() != 0)
    result.code = ErrnoError(error.sys_errno(), "").error().code;
  return result;
}

// Every request is answered once; an operation is over when it has ended and all are.
struct OperationClient::Operation {
  std::string id;
  std::set<std::string> unanswered;
  std::string chunk_request;
  std::string_view input;  // what was not sent yet
  bool input_open = false;
  std::uint64_t chunk_seq = 0;
  std::uint64_t next_seq = 1;
  std::uint64_t received = 0;
  std::uint64_t granted = protocol::kDefaultWindowBytes;
  std::optional<SteadyClock::time_point> until;
  std::optional<Error> refused;
  std::optional<v1::OpExit> exit;

  bool ended() const { return refused || exit; }
  Deadline deadline() const { return until ? Deadline::At(*until) : Deadline::Never(); }
};

std::string OperationClient::NextId() { return IdOf(next_id_++); }

std::unexpected<Error> OperationClient::Broken(Error error) {
  broken_ = true;
  return std::unexpected(std::move(error));
}

std::unexpected<Error> OperationClient::Misfit(const char* what) {
  return Broken({ErrorCode::kProtocol, what, {}, 0});
}

Result<sys::UniqueFd> OperationClient::ReceiveListener(Deadline deadline) {
  auto listener = channel_.ReceiveListener(deadline);
  if (!listener) return Broken(listener.error());
  return listener;
}

Result<StartReport> OperationClient::ReceiveStartReport(Deadline deadline) {
  auto report = channel_.ReceiveStartReport(deadline);
  if (!report) return Broken(report.error());
  return report;
}

// A request that cannot be sent is refused before anything is on its way: the conversation goes on.
Status OperationClient::SendRequest(v1::ControlRequest request, Deadline deadline) {
  if (!IsText(request))
    return Err(ErrorCode::kInvalidArgument, "a path or an argument is not valid UTF-8");
  v1::HostFrame frame;
  *frame.mutable_request() = std::move(request);
  if (frame.ByteSizeLong() > protocol::kMaxFrameBytes)
    return Err(ErrorCode::kTooLarge, "the request is larger than the 1 MiB that a frame holds");
  const Status sent = channel_.Send(frame, deadline);
  if (!sent) return Broken(sent.error());
  return {};
}

Result<v1::ControlResponse> OperationClient::Unary(v1::ControlRequest request, Deadline deadline) {
  if (broken_) return Err(ErrorCode::kSandboxLost, "the sandbox has ended");
  const std::string id = NextId();
  request.set_request_id(id);
  RETURN_IF_ERROR(
      SendRequest(std::move(request), Deadline::Earlier(deadline, Deadline::After(kSendTimeout))));
  return AwaitResponse(id, deadline);
}

Result<v1::ControlResponse> OperationClient::AwaitResponse(const std::string& id,
                                                           Deadline deadline) {
  auto frame = channel_.Receive(deadline, {});
  if (!frame) return Broken(frame.error());
  if (frame->has_farewell()) return Broken(FarewellError(frame->farewell()));
  if (!frame->has_response() || frame->response().request_id() != id)
    return Misfit("the worker answered something else");
  if (frame->response().has_error()) return std::unexpected(ToError(frame->response().error()));
  return frame->response();
}

Status OperationClient::SendPing(Deadline deadline) {
  if (broken_) return Err(ErrorCode::kSandboxLost, "the sandbox has ended");
  ping_nonce_ = next_id_;
  v1::ControlRequest request;
  request.set_request_id(NextId());
  request.mutable_ping()->set_nonce(ping_nonce_);
  return SendRequest(std::move(request),
                     Deadline::Earlier(deadline, Deadline::After(kSendTimeout)));
}

Status OperationClient::AwaitPing(Deadline deadline) {
  const auto response = AwaitResponse(IdOf(ping_nonce_), deadline);
  if (!response) return std::unexpected(response.error());
  if (!response->has_ping() || response->ping().nonce() != ping_nonce_)
    return Misfit("the worker answered something else");
  return {};
}

Status OperationClient::Ping(Deadline deadline) {
  RETURN_IF_ERROR(SendPing(deadline));
  return AwaitPing(deadline);
}

// ---- Operations

Result<v1::OpExit> OperationClient::Run(v1::OpStart start, std::string_view input,
                                        const DataSink& sink,
                                        std::optional<std::chrono::milliseconds> patience,
                                        const std::stop_token& stop) {
  if (broken_) return Err(ErrorCode::kSandboxLost, "the sandbox has ended");
  if (stop.stop_requested()) return Err(ErrorCode::kCancelled, "cancelled before it began");
  Operation operation;
  operation.id = NextId();
  operation.input = input;
  if (patience) operation.until = SteadyClock::now() + *patience;
  RETURN_IF_ERROR(Start(operation, std::move(start)));
  RETURN_IF_ERROR(Finish(operation, sink, stop));
  if (operation.refused) return std::unexpected(*operation.refused);
  return std::move(*operation.exit);
}

Status OperationClient::Start(Operation& operation, v1::OpStart start) {
  operation.input_open = (start.has_exec() && start.exec().stdin_follows()) || start.has_fs_write();
  start.set_window_bytes(operation.granted);
  v1::ControlRequest request;
  request.set_request_id(operation.id);
  *request.mutable_op_start() = std::move(start);
  RETURN_IF_ERROR(SendRequest(std::move(request), Deadline::After(kSendTimeout)));
  operation.unanswered.insert(operation.id);
  return SendNextChunk(operation);
}

// One chunk is on its way at a time.
Status OperationClient::SendNextChunk(Operation& operation) {
  if (!operation.input_open || operation.ended()) return {};
  const std::string_view bytes = operation.input.substr(0, protocol::kMaxDataBytes);
  operation.input.remove_prefix(bytes.size());
  operation.input_open = !operation.input.empty();
  operation.chunk_request = NextId();
  operation.unanswered.insert(operation.chunk_request);
  v1::ControlRequest request;
  request.set_request_id(operation.chunk_request);
  v1::WriteChunk& chunk = *request.mutable_write_chunk();
  chunk.set_op_id(operation.id);
  chunk.set_seq(++operation.chunk_seq);
  chunk.set_bytes(bytes.data(), bytes.size());
  chunk.set_last(operation.input.empty());
  return SendRequest(std::move(request), Deadline::After(kSendTimeout));
}

Status OperationClient::SendCancel(Operation& operation) {
  v1::ControlRequest request;
  request.set_request_id(NextId());
  operation.unanswered.insert(request.request_id());
  request.mutable_op_cancel()->set_op_id(operation.id);
  return SendRequest(std::move(request), Deadline::After(kSendTimeout));
}

Status OperationClient::Finish(Operation& operation, const DataSink& sink, std::stop_token stop) {
  bool answers_due = false;
  while (!operation.ended() || !operation.unanswered.empty()) {
    if (operation.ended() && !std::exchange(answers_due, true)) {
      operation.until = SteadyClock::now() + answer_timeout_;
      stop = {};
    }
    const auto frame = channel_.Receive(operation.deadline(), stop);
    if (frame) {
      RETURN_IF_ERROR(HandleFrame(*frame, sink, operation));
    } else if (frame.error().code == ErrorCode::kCancelled) {
      RETURN_IF_ERROR(SendCancel(operation));
      operation.until = SteadyClock::now() + answer_timeout_;
      stop = {};
    } else {
      return Broken(frame.error());
    }
  }
  return {};
}

Status OperationClient::HandleFrame(const v1::WorkerFrame& frame, const DataSink& sink,
                                    Operation& operation) {
  if (frame.has_farewell()) return Broken(FarewellError(frame.farewell()));
  if (frame.has_response()) return HandleResponse(frame.response(), operation);
  return HandleData(frame.frame(), sink, operation);
}

Status OperationClient::HandleResponse(const v1::ControlResponse& response, Operation& operation) {
  const std::string& id = response.request_id();
  if (operation.unanswered.erase(id) == 0)
    return Misfit("the worker answered a request that was not made");
  if (id == operation.id) {
    if (response.has_error())
      operation.refused = ToError(response.error());
    else if (!response.op_started().accepted())
      return Misfit("the worker knows an operation that was never started");
  } else if (id == operation.chunk_request) {
    // The operation may have ended before it took all its input.
    if (response.has_error()) operation.input_open = false;
    return SendNextChunk(operation);
  }
  return {};
}

Status OperationClient::HandleData(const v1::OpFrame& frame, const DataSink& sink,
                                   Operation& operation) {
  if (frame.op_id() != operation.id || frame.seq() != operation.next_seq || operation.ended())
    return Misfit("the worker sent output of another operation or out of order");
  ++operation.next_seq;
  if (frame.has_exit()) {
    operation.exit = frame.exit();
    return {};
  }
  const std::string& bytes = frame.data().bytes();
  // Without the bound below a frame has: one that carries nothing could come for ever.
  if (bytes.empty()) return Misfit("the worker sent a frame without output");
  operation.received += bytes.size();
  if (operation.received > operation.granted) return Misfit("the worker sent more than it may");
  const auto before = SteadyClock::now();
  sink(frame.data().channel(), bytes);
  if (operation.until) *operation.until += SteadyClock::now() - before;
  if (operation.granted - operation.received > protocol::kDefaultWindowBytes / 2) return {};
  operation.granted = operation.received + protocol::kDefaultWindowBytes;
  v1::HostFrame message;
  message.mutable_ack()->set_op_id(operation.id);
  message.mutable_ack()->set_acked_seq(frame.seq());
  message.mutable_ack()->set_credit_bytes(operation.granted);
  const Status sent = channel_.Send(message, Deadline::After(kSendTimeout));
  if (!sent) return Broken(sent.error());
  return {};
}

}  // namespace cofferdam::sandbox
