// Network namespaces made ahead: a loopback interface that is up, and nothing else. Making one
// takes a third of a millisecond, entering one a microsecond. They belong to the launcher's user
// namespace, so that nobody in a sandbox has any capability over its network.
#pragma once

#include <vector>

#include "base/error.h"
#include "sys/fd.h"

namespace cofferdam::worker {

/// For a single-threaded process, which it moves between network namespaces.
class NetworkPool {
 public:
  /// `proc` is a procfs that shows this process; it must outlive the pool.
  Status Prepare(int proc);

  /// Enters a namespace that no one was in before: one of the pool, or a new one. What is cloned
  /// from here on is in it, until Leave.
  Status Enter();
  /// Back to where this process was when it prepared.
  void Leave();

  /// True while the pool is not full.
  bool WantsMore() const;
  /// Makes one more; takes a while.
  Status Fill();

 private:
  Result<sys::UniqueFd> Make();

  int proc_ = -1;
  sys::UniqueFd home_;
  std::vector<sys::UniqueFd> ready_;
};

}  // namespace cofferdam::worker
