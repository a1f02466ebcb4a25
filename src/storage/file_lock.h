// A lock between processes, and between threads of one process, that a crash releases.
#pragma once

#include <stop_token>
#include <string>

#include "base/deadline.h"
#include "base/error.h"
#include "sys/fd.h"

namespace cofferdam::storage {

/// Holds the lock (fcntl(2), F_OFD_SETLK) on a file from Acquire to its destruction. The file
/// exists only to be locked: it is made (0600) when it is missing, stays empty, and is never
/// replaced or removed while somebody may want the lock. Each object has an open file description
/// of its own, so two threads of one process exclude each other as two processes do. Movable
/// between threads, used by one.
///
///   ASSIGN_OR_RETURN(const FileLock lock, FileLock::Acquire(directory, "x.lock", deadline, stop));
class FileLock {
 public:
  /// ErrorCode::kBusy when somebody else holds it. `directory` may be O_PATH; symbolic links are
  /// refused.
  static Result<FileLock> TryAcquire(int directory, const std::string& name);

  /// Waits for it: ErrorCode::kTimeout at the deadline, kCancelled on a stop request. The kernel
  /// cannot wait for this lock with a deadline, so it is tried again after 1 ms, then after twice
  /// as long each time, up to kMaxPause. No order among those who wait.
  static Result<FileLock> Acquire(int directory, const std::string& name, Deadline deadline,
                                  const std::stop_token& stop);

  static constexpr std::chrono::milliseconds kMaxPause{50};

  FileLock(FileLock&&) noexcept = default;
  FileLock& operator=(FileLock&& other) noexcept;
  ~FileLock();

 private:
  explicit FileLock(sys::UniqueFd fd) : fd_(std::move(fd)) {}
  void Unlock();

  sys::UniqueFd fd_;
};

}  // namespace cofferdam::storage
