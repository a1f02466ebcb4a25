// The host's side of a conversation with a worker: pings, requests with one answer, and operations
// with their input, output, credit and end. Knows nothing of processes or control groups, and
// believes nothing that comes: whatever does not fit what was asked breaks the conversation.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include "base/deadline.h"
#include "base/error.h"
#include "protocol/control.pb.h"
#include "sandbox/control_channel.h"
#include "sys/fd.h"

namespace cofferdam::sandbox {

/// How long a cancelled operation, or an answer that is due, has; a worker ends what it was told to
/// end within 500 ms.
inline constexpr std::chrono::seconds kAnswerTimeout{5};

/// Used by one thread at a time; one call is under way at most.
///
///   OperationClient client(std::move(channel));
///   auto exit = client.Run(start, input, sink, std::nullopt, stop);
///   if (!exit && client.broken()) …  // kill the sandbox
class OperationClient {
 public:
  /// Receives an operation's output as it comes.
  using DataSink = std::function<void(protocol::v1::OpChannel, std::string_view)>;

  explicit OperationClient(ControlChannel channel,
                           std::chrono::milliseconds answer_timeout = kAnswerTimeout)
      : channel_(std::move(channel)), answer_timeout_(answer_timeout) {}

  /// True when a call failed in a way after which no other can succeed: the stream ended, the
  /// worker said something that does not fit, or it did not answer in time. An error without it is
  /// the worker's answer.
  bool broken() const { return broken_; }

  /// The listener of an audited sandbox's filter; an invalid one where there is no filter. Only as
  /// the first call.
  Result<sys::UniqueFd> ReceiveListener(Deadline deadline);

  /// The report with which the start code opens the stream. Only as the first call.
  Result<StartReport> ReceiveStartReport(Deadline deadline);

  Status Ping(Deadline deadline);
  /// The two halves of a ping, between which the caller can do something else.
  Status SendPing(Deadline deadline);
  Status AwaitPing(Deadline deadline);

  /// A request with one answer; `request` needs no id.
  Result<protocol::v1::ControlResponse> Unary(protocol::v1::ControlRequest request,
                                              Deadline deadline);

  /// Runs an operation to its end. `input` is what a write stores, or the standard input of a
  /// command whose `stdin_follows` is set. `patience` is how long the worker may take, without the
  /// time that `sink` takes; nothing is for ever. A stop cancels the operation, whose end is waited
  /// for: the exit then says that it was cancelled, unless it came first.
  Result<protocol::v1::OpExit> Run(protocol::v1::OpStart start, std::string_view input,
                                   const DataSink& sink,
                                   std::optional<std::chrono::milliseconds> patience,
                                   const std::stop_token& stop);

 private:
  struct Operation;

  std::string NextId();
  std::unexpected<Error> Broken(Error error);
  std::unexpected<Error> Misfit(const char* what);
  Status SendRequest(protocol::v1::ControlRequest request, Deadline deadline);
  Result<protocol::v1::ControlResponse> AwaitResponse(const std::string& id, Deadline deadline);
  Status Start(Operation& operation, protocol::v1::OpStart start);
  Status SendNextChunk(Operation& operation);
  Status SendCancel(Operation& operation);
  Status Finish(Operation& operation, const DataSink& sink, std::stop_token stop);
  Status HandleFrame(const protocol::v1::WorkerFrame& frame, const DataSink& sink,
                     Operation& operation);
  Status HandleResponse(const protocol::v1::ControlResponse& response, Operation& operation);
  Status HandleData(const protocol::v1::OpFrame& frame, const DataSink& sink, Operation& operation);

  ControlChannel channel_;
  std::chrono::milliseconds answer_timeout_;
  std::uint64_t next_id_ = 1;
  std::uint64_t ping_nonce_ = 0;
  bool broken_ = false;
};

/// A worker's error for a caller. Its words are a sandbox's: bounded and valid UTF-8.
Error ToError(const protocol::v1::AgentError& error);

}  // namespace cofferdam::sandbox
