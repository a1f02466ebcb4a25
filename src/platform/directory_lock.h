// A lock on a directory that is there anyway, shared or exclusive, between processes and between
// threads of one process. A crash releases it.
#pragma once

#include "base/error.h"
#include "sys/fd.h"

namespace cofferdam::platform {

/// Holds flock(2) on a directory until it is destroyed. Each object has an open file description of
/// its own. Movable between threads.
class DirectoryLock {
 public:
  /// Together with other shared ones. kBusy while somebody holds it exclusively. `directory` may be
  /// O_PATH and is not kept.
  static Result<DirectoryLock> TryShared(int directory);
  /// Alone. kBusy while anybody holds it.
  static Result<DirectoryLock> TryExclusive(int directory);
  /// Alone, waiting for it: only for locks that are held for a moment.
  static Result<DirectoryLock> Exclusive(int directory);

 private:
  explicit DirectoryLock(sys::UniqueFd fd) : fd_(std::move(fd)) {}
  static Result<DirectoryLock> Take(int directory, int operation);

  sys::UniqueFd fd_;
};

}  // namespace cofferdam::platform
