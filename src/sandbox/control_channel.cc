#include "sandbox/control_channel.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <span>
#include <utility>

#include "sys/message.h"

namespace cofferdam::sandbox {
namespace {

namespace v1 = protocol::v1;

// While the host waits to send, a worker may send all that it was granted: 1 MiB of output, in the
// worst case one byte a frame.
constexpr std::size_t kMaxPendingBytes = 64 << 20;

std::unexpected<Error> Lost() { return Err(ErrorCode::kSandboxLost, "the sandbox has ended"); }

std::unexpected<Error> Late() {
  return Err(ErrorCode::kTimeout, "the sandbox did not answer in time");
}

}  // namespace

Result<ControlChannel> ControlChannel::Over(sys::UniqueFd socket) {
  ControlChannel channel;
  RETURN_IF_ERROR(sys::SetNonBlocking(socket.get(), true));
  channel.socket_ = std::move(socket);
  return channel;
}

Result<ControlChannel::Ready> ControlChannel::Wait(bool want_write, Deadline deadline,
                                                   const std::stop_token& stop) {
  // Made when it is needed: a sandbox at rest is to cost its host few descriptors.
  sys::UniqueFd wakeup;
  if (stop.stop_possible()) {
    ASSIGN_OR_RETURN(wakeup, sys::NewEventFd());
  }
  const std::stop_callback wake(stop, [fd = wakeup.get()] { ::eventfd_write(fd, 1); });
  for (;;) {
    if (stop.stop_requested()) return Err(ErrorCode::kCancelled, "cancelled");
    // Also when there is something to read: a peer that never stops talking gains no time by it.
    if (deadline.Expired()) return Late();
    pollfd waits[] = {{socket_.get(), static_cast<short>(POLLIN | (want_write ? POLLOUT : 0)), 0},
                      {wakeup.get(), POLLIN, 0}};
    const int ready = ::poll(waits, 2, deadline.PollTimeoutMillis());
    if (ready < 0 && errno != EINTR) return ErrnoError(errno, "waiting for the sandbox");
    if (ready == 0) return Late();
    if ((waits[0].revents & (POLLIN | POLLHUP | POLLERR)) != 0) return Ready::kReadable;
    if ((waits[0].revents & POLLOUT) != 0) return Ready::kWritable;
  }
}

Status ControlChannel::ReadSome() {
  std::array<char, 64 * 1024> buffer;
  const ssize_t size = ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return {};
  if (size <= 0) return Lost();
  if (decoder_.pending_bytes() > kMaxPendingBytes)
    return Err(ErrorCode::kProtocol, "the worker sends without an end and takes nothing");
  return decoder_.Feed({buffer.data(), static_cast<std::size_t>(size)});
}

Result<sys::UniqueFd> ControlChannel::ReceiveListener(Deadline deadline) {
  RETURN_IF_ERROR(Wait(false, deadline, {}));
  char byte = 0;
  ASSIGN_OR_RETURN(sys::ReceivedMessage message, sys::ReceiveMessage(socket_.get(), {&byte, 1}));
  if (message.size == 0) return Lost();
  if (byte != kListenerMessage || message.fds.size() > 1)
    return Err(ErrorCode::kProtocol, "the start code handed over something else");
  return message.fds.empty() ? sys::UniqueFd() : std::move(message.fds[0]);
}

Result<StartReport> ControlChannel::ReceiveStartReport(Deadline deadline) {
  StartReport report{};
  std::span<char> left(reinterpret_cast<char*>(&report), sizeof(report));
  while (!left.empty()) {
    RETURN_IF_ERROR(Wait(false, deadline, {}));
    const ssize_t size = ::recv(socket_.get(), left.data(), left.size(), 0);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (size <= 0) return Lost();
    left = left.subspan(static_cast<std::size_t>(size));
  }
  if (report.magic != StartReport::kMagic)
    return Err(ErrorCode::kProtocol, "the start code reported something else");
  return report;
}

Status ControlChannel::Send(const v1::HostFrame& frame, Deadline deadline) {
  const std::string bytes = protocol::EncodeFrame(frame.SerializeAsString());
  std::string_view left = bytes;
  while (!left.empty()) {
    const ssize_t size = ::send(socket_.get(), left.data(), left.size(), MSG_NOSIGNAL);
    if (size >= 0) {
      left.remove_prefix(static_cast<std::size_t>(size));
      continue;
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return Lost();
    ASSIGN_OR_RETURN(const Ready ready, Wait(true, deadline, {}));
    if (ready == Ready::kReadable) RETURN_IF_ERROR(ReadSome());
  }
  return {};
}

Result<v1::WorkerFrame> ControlChannel::Receive(Deadline deadline, std::stop_token stop) {
  for (;;) {
    if (const auto bytes = decoder_.Next()) {
      v1::WorkerFrame frame;
      if (!frame.ParseFromString(*bytes))
        return Err(ErrorCode::kProtocol, "the worker sent what is no message");
      return frame;
    }
    RETURN_IF_ERROR(Wait(false, deadline, stop));
    RETURN_IF_ERROR(ReadSome());
  }
}

}  // namespace cofferdam::sandbox
