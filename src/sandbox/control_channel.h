// The host's end of a worker's channel: whole messages out and in, with a deadline and a stop token
// on every wait, believing nothing about what comes.
#pragma once

#include <optional>
#include <stop_token>

#include "base/deadline.h"
#include "base/error.h"
#include "protocol/control.pb.h"
#include "protocol/framing.h"
#include "sandbox/layers/launch.h"
#include "sys/fd.h"

namespace cofferdam::sandbox {

/// Used by one thread at a time. After an error it is broken, but for a Receive that ended with
/// kTimeout or kCancelled.
class ControlChannel {
 public:
  /// `socket` is the host's end of the stream.
  static Result<ControlChannel> Over(sys::UniqueFd socket);

  /// The listener of an audited sandbox's filter; an invalid one where there is no filter. Only as
  /// the first call.
  Result<sys::UniqueFd> ReceiveListener(Deadline deadline);

  /// The report with which the start code opens the stream. Only before any Receive.
  Result<StartReport> ReceiveStartReport(Deadline deadline);

  /// While the socket is full, what the worker sends is taken in, so that both cannot wait for each
  /// other; kProtocol when that is more than any worker may send. `frame` fits into
  /// protocol::kMaxFrameBytes (CHECKed).
  Status Send(const protocol::v1::HostFrame& frame, Deadline deadline);

  /// The next message. kTimeout, kCancelled (the token), kSandboxLost (the stream ended) or
  /// kProtocol (bytes that are no message).
  Result<protocol::v1::WorkerFrame> Receive(Deadline deadline, std::stop_token stop);

 private:
  ControlChannel() = default;
  enum class Ready { kReadable, kWritable };
  Result<Ready> Wait(bool want_write, Deadline deadline, const std::stop_token& stop);
  Status ReadSome();

  sys::UniqueFd socket_;
  protocol::FrameDecoder decoder_;
};

}  // namespace cofferdam::sandbox
