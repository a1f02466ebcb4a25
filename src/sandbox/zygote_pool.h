// Zygotes made ahead, so that a sandbox costs only what its request decides.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <functional>
#include <mutex>
#include <optional>
#include <stop_token>
#include <thread>
#include <vector>

#include "base/error.h"
#include "sandbox/cgroup.h"
#include "sandbox/layers/launch.h"
#include "sys/fd.h"

namespace cofferdam::sandbox {

/// The host's side of a zygote. It ends when its socket is closed.
struct Zygote {
  std::optional<Cgroup> cgroup;  // first: it goes when the socket is closed
  sys::UniqueFd socket;          // for one request and its reply
  sys::UniqueFd channel;         // the host's end of the channel of the sandbox to be
  ZygoteReport report{};
};

/// Thread-safe. Has a thread of its own, which makes zygotes and ends with the pool. At most
/// `max_ready` wait at a time; how many is learned from how fast they are taken.
class ZygotePool {
 public:
  using Maker = std::function<Result<Zygote>()>;
  ZygotePool(Maker maker, std::size_t max_ready);

  /// One that is ready, or nothing. Either way the pool is filled again soon.
  std::optional<Zygote> Take();
  /// Lets go of those that wait: their launcher has ended.
  void Discard();
  /// Makes no more and gives up those that wait.
  std::vector<Zygote> Stop();
  /// Waits until as many as are wanted now are ready, or making one has failed. For benches.
  void WaitUntilFilled();

 private:
  void FillUntil(const std::stop_token& stop);
  bool WantsMore() const { return !failed_ && ready_.size() < wanted_; }

  const Maker maker_;
  const std::size_t max_ready_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  // Guarded by mutex_.
  std::vector<Zygote> ready_;
  std::size_t wanted_ = 0;
  bool failed_ = false;  // the next Take tries again
  std::jthread thread_;  // last: it uses everything above
};

}  // namespace cofferdam::sandbox
