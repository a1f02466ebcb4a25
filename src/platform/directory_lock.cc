#include "platform/directory_lock.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "base/error.h"
#include "sys/file.h"

namespace cofferdam::platform {

Result<DirectoryLock> DirectoryLock::Take(int directory, int operation) {
  ASSIGN_OR_RETURN(sys::UniqueFd fd, sys::OpenAt(directory, ".", O_RDONLY | O_DIRECTORY));
  // By number: flock(3) is declared in <sys/file.h>, which is our own "sys/file.h" on this path.
  while (::syscall(SYS_flock, fd.get(), operation) != 0) {
    if (errno == EINTR) continue;
    if (errno == EWOULDBLOCK) return Err(ErrorCode::kBusy, "the directory is in use");
    return ErrnoError(errno, "locking a directory");
  }
  return DirectoryLock(std::move(fd));
}

Result<DirectoryLock> DirectoryLock::TryShared(int directory) {
  return Take(directory, LOCK_SH | LOCK_NB);
}

Result<DirectoryLock> DirectoryLock::TryExclusive(int directory) {
  return Take(directory, LOCK_EX | LOCK_NB);
}

Result<DirectoryLock> DirectoryLock::Exclusive(int directory) { return Take(directory, LOCK_EX); }

}  // namespace cofferdam::platform
