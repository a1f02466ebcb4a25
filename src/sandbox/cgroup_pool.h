// Control groups between two sandboxes. Making one costs up to milliseconds and a megabyte of
// kernel memory, so one that a sandbox has left is emptied and given to another.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <stop_token>
#include <thread>
#include <vector>

#include "base/error.h"
#include "sandbox/cgroup.h"

namespace cofferdam::sandbox {

/// Thread-safe. Has a thread of its own, which empties and removes groups and ends with the pool.
class CgroupPool {
 public:
  /// Keeps at most `max_ready` groups for the next sandboxes. `root` must outlive the pool.
  CgroupPool(const CgroupRoot& root, std::size_t max_ready);

  /// An emptied group with these limits, or a new one.
  Result<Cgroup> Take(const Limits& limits);

  /// Takes a group whose sandbox has ended; does not wait.
  void Return(Cgroup group);

 private:
  void TidyUntil(std::stop_token stop);

  const CgroupRoot& root_;
  const std::size_t max_ready_;
  std::mutex mutex_;
  std::condition_variable_any returned_one_;
  // Guarded by mutex_.
  std::deque<Cgroup> returned_;
  std::vector<Cgroup> ready_;
  std::jthread thread_;  // last: it uses everything above
};

}  // namespace cofferdam::sandbox
