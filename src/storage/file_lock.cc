#include "storage/file_lock.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <mutex>
#include <utility>

#include "sys/file.h"

namespace cofferdam::storage {
namespace {

std::string Named(std::string_view what, const std::string& name) {
  return std::string(what) + " '" + name + "'";
}

// Sets (F_WRLCK) or removes (F_UNLCK) the lock on the whole file without waiting. Returns errno or
// 0.
int SetLock(int fd, short type) {
  struct flock lock{};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  return ::fcntl(fd, F_OFD_SETLK, &lock) == 0 ? 0 : errno;
}

// Returns after `pause` or as soon as a stop is requested.
void Pause(std::chrono::milliseconds pause, const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any wakeup;
  std::unique_lock lock(mutex);
  wakeup.wait_for(lock, stop, pause, [] { return false; });
}

}  // namespace

Result<FileLock> FileLock::TryAcquire(int directory, const std::string& name) {
  constexpr int kFlags = O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK;
  for (;;) {
    ASSIGN_OR_RETURN(sys::UniqueFd fd, sys::OpenAt(directory, name, kFlags, 0600));
    if (const int error_number = SetLock(fd.get(), F_WRLCK); error_number != 0) {
      if (error_number == EAGAIN || error_number == EACCES)
        return Err(ErrorCode::kBusy, Named("somebody else holds", name));
      return ErrnoError(error_number, Named("locking", name));
    }
    ASSIGN_OR_RETURN(const struct stat info, sys::Stat(fd.get()));
    // A file that was removed between opening and locking excludes nobody: take the new one.
    if (info.st_nlink > 0) return FileLock(std::move(fd));
  }
}

Result<FileLock> FileLock::Acquire(int directory, const std::string& name, Deadline deadline,
                                   const std::stop_token& stop) {
  for (std::chrono::milliseconds pause(1);; pause = std::min(pause * 2, kMaxPause)) {
    if (stop.stop_requested())
      return Err(ErrorCode::kCancelled, Named("cancelled while waiting for", name));
    auto lock = TryAcquire(directory, name);
    if (lock || lock.error().code != ErrorCode::kBusy) return lock;
    if (deadline.Expired())
      return Err(ErrorCode::kTimeout, Named("waited too long for", name),
                 "another run is using it; try again when it has ended");
    Pause(std::min(pause, deadline.Remaining()), stop);
  }
}

FileLock& FileLock::operator=(FileLock&& other) noexcept {
  if (this != &other) {
    Unlock();
    fd_ = std::move(other.fd_);
  }
  return *this;
}

FileLock::~FileLock() { Unlock(); }

void FileLock::Unlock() {
  // Not left to close: a child that was forked meanwhile may hold the description open.
  if (fd_.valid()) SetLock(fd_.get(), F_UNLCK);
}

}  // namespace cofferdam::storage
