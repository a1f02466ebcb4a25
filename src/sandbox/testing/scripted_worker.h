// The worker's end of a channel, in the hands of a test: it says what the test wants, also what no
// worker of ours would say.
#pragma once

#include <sys/socket.h>

#include <optional>
#include <string>
#include <string_view>

#include "base/check.h"
#include "protocol/control.pb.h"
#include "protocol/framing.h"
#include "sys/fd.h"
#include "sys/message.h"

namespace cofferdam::sandbox {

class ScriptedWorker {
 public:
  ScriptedWorker() {
    auto pair = sys::NewSocketPair(SOCK_STREAM);
    CHECK(pair.has_value());
    host_ = std::move(pair->first);
    socket_ = std::move(pair->second);
  }

  /// The host's end; once.
  sys::UniqueFd TakeHostEnd() { return std::move(host_); }

  int fd() const { return socket_.get(); }
  void Close() { socket_.Reset(); }

  /// Whether it was taken; a host that has gone takes nothing.
  bool SendRaw(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t size = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (size <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(size));
    }
    return true;
  }
  bool Send(const protocol::v1::WorkerFrame& frame) {
    return SendRaw(protocol::EncodeFrame(frame.SerializeAsString()));
  }

  /// What the host sends next; nothing at the end of the stream.
  std::optional<protocol::v1::HostFrame> Receive() {
    for (;;) {
      if (const auto bytes = decoder_.Next()) {
        protocol::v1::HostFrame frame;
        CHECK(frame.ParseFromString(*bytes));
        return frame;
      }
      char buffer[4096];
      const ssize_t size = ::recv(socket_.get(), buffer, sizeof(buffer), 0);
      if (size <= 0) return std::nullopt;
      CHECK(decoder_.Feed({buffer, static_cast<std::size_t>(size)}).has_value());
    }
  }

  // ---- What an honest worker says

  static protocol::v1::WorkerFrame Started(const std::string& id) {
    protocol::v1::WorkerFrame frame;
    frame.mutable_response()->set_request_id(id);
    frame.mutable_response()->mutable_op_started()->set_accepted(true);
    return frame;
  }
  static protocol::v1::WorkerFrame Took(const std::string& id) {
    protocol::v1::WorkerFrame frame;
    frame.mutable_response()->set_request_id(id);
    frame.mutable_response()->mutable_write_chunk();
    return frame;
  }
  static protocol::v1::WorkerFrame Failure(const std::string& id, protocol::v1::ErrorCode code,
                                           const std::string& message = "") {
    protocol::v1::WorkerFrame frame;
    frame.mutable_response()->set_request_id(id);
    frame.mutable_response()->mutable_error()->set_code(code);
    frame.mutable_response()->mutable_error()->set_message(message);
    return frame;
  }
  static protocol::v1::WorkerFrame Data(const std::string& id, std::uint64_t seq,
                                        const std::string& bytes) {
    protocol::v1::WorkerFrame frame;
    frame.mutable_frame()->set_op_id(id);
    frame.mutable_frame()->set_seq(seq);
    frame.mutable_frame()->mutable_data()->set_channel(protocol::v1::OP_CHANNEL_STDOUT);
    frame.mutable_frame()->mutable_data()->set_bytes(bytes);
    return frame;
  }
  static protocol::v1::WorkerFrame Exit(const std::string& id, std::uint64_t seq, int code) {
    protocol::v1::WorkerFrame frame;
    frame.mutable_frame()->set_op_id(id);
    frame.mutable_frame()->set_seq(seq);
    frame.mutable_frame()->mutable_exit()->set_exit_code(code);
    return frame;
  }

 private:
  sys::UniqueFd host_;
  sys::UniqueFd socket_;
  protocol::FrameDecoder decoder_;
};

}  // namespace cofferdam::sandbox
