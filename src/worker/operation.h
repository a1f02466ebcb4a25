// One operation under way: the child that does it, its pipes, and what may still be sent of its
// output. The server's loop asks which descriptors it waits for and tells it which are ready.
#pragma once

#include <poll.h>
#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/deadline.h"
#include "base/error.h"
#include "protocol/control.pb.h"
#include "sys/fd.h"
#include "worker/command.h"

namespace cofferdam::worker {

/// How long a stopped operation's processes have to be gone; then the whole sandbox ends.
inline constexpr std::chrono::milliseconds kConvergence{500};

class Operation {
 public:
  /// What the child does; runs in a fork and never returns.
  using Work = std::function<void(const ChildPipes&)>;

  struct Options {
    std::string id;
    bool wants_input = false;
    /// The name under which output is sent; the second is for standard error.
    protocol::v1::OpChannel output_channel = protocol::v1::OP_CHANNEL_UNSPECIFIED;
    bool wants_errors = false;
    std::uint64_t window_bytes = 0;
    Deadline deadline = Deadline::Never();
  };

  /// Forks the child. SIGCHLD is blocked by the caller.
  static Result<std::unique_ptr<Operation>> Start(Options options, const Work& work);

  const std::string& id() const { return options_.id; }
  /// Whether `pid` is the operation's child. Once that was reaped its pid may be somebody else's.
  bool IsChild(pid_t pid) const { return !child_ended_ && pid_ == pid; }

  /// Descriptors to wait for now. `room` says whether more output may be queued at the moment.
  void AddWaits(bool room, std::vector<pollfd>& waits) const;

  /// Where frames and the answers to taken input go, and room to read into, of kBufferBytes. The
  /// room is shared: on the stack it would be touched, page by page, by every process.
  static constexpr std::size_t kBufferBytes = 64 * 1024;
  struct Outlet {
    std::function<void(protocol::v1::OpFrame)> send;
    std::function<void(const std::string& request_id, std::uint64_t seq)> acknowledge;
    std::span<char> buffer;
  };
  /// Moves bytes for a ready descriptor.
  void OnReady(const pollfd& ready, const Outlet& outlet);

  /// Moves what is left in the pipes of a child that has ended, without waiting: a process of
  /// another operation may hold their other ends.
  void DrainAfterEnd(const Outlet& outlet);

  void Grant(std::uint64_t credit_bytes);
  /// Takes input; false when there is no input or too much of it is waiting.
  bool TakeInput(const std::string& request_id, const protocol::v1::WriteChunk& chunk);
  /// The requests whose input was taken and is not acknowledged.
  std::vector<std::string> WaitingInputs() const;

  enum class StopReason { kCancelled, kTimedOut };
  void Stop(StopReason reason);
  /// The nearest point in time at which CheckTime has something to do.
  Deadline NextDeadline() const;
  /// Stops the operation when its time is over. False when a stopped one is still not gone.
  bool CheckTime();

  /// The child was reaped by the server.
  void OnChildEnded(int wait_status);
  /// Everything is sent and the child is gone.
  bool Finished() const;
  /// True when the child died without a result, as only something in the sandbox can make it.
  bool LostItsChild() const { return child_ended_ && wait_status_ != 0; }
  /// The serialised result that the child left.
  const std::string& result_bytes() const { return result_; }
  /// The result as an exit, with totals, time and the reason of a stop. Only when Finished.
  protocol::v1::OpExit Exit() const;
  protocol::v1::OpFrame ExitFrame() const;

 private:
  explicit Operation(Options options) : options_(std::move(options)) {}
  struct Output {
    sys::UniqueFd fd;
    protocol::v1::OpChannel channel;
    std::uint64_t total = 0;
  };
  struct Input {
    std::string request_id;
    std::uint64_t seq;
    std::string bytes;
    bool last;
  };
  void ReadOutput(Output& output, const Outlet& outlet);
  void ReadResult(std::span<char> buffer);
  void WriteInput(const Outlet& outlet);
  void CloseInput();
  bool StoresInput() const {
    return options_.wants_input && options_.output_channel == protocol::v1::OP_CHANNEL_UNSPECIFIED;
  }
  std::uint64_t CreditLeft() const { return credit_ - sent_; }

  Options options_;
  pid_t pid_ = -1;
  std::vector<Output> outputs_;
  sys::UniqueFd result_pipe_;
  sys::UniqueFd control_;
  sys::UniqueFd input_pipe_;
  std::vector<Input> inputs_;
  std::string result_;
  std::uint64_t sent_ = 0;
  std::uint64_t credit_ = 0;
  std::uint64_t next_seq_ = 1;
  bool child_ended_ = false;
  int wait_status_ = 0;
  std::optional<StopReason> stop_reason_;
  Deadline must_converge_ = Deadline::Never();
  std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
  std::chrono::steady_clock::time_point ended_;
};

}  // namespace cofferdam::worker
