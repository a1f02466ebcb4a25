#include "sys/flock.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace cofferdam::sys {

Status Flock(int fd, int operation) {
  while (::syscall(SYS_flock, fd, operation) != 0) {
    if (errno == EINTR) continue;
    if (errno == EWOULDBLOCK) return Err(ErrorCode::kBusy, "somebody else has it locked");
    return ErrnoError(errno, "locking a file");
  }
  return {};
}

}  // namespace cofferdam::sys
