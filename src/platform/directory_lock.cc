#include "platform/directory_lock.h"

#include <fcntl.h>

#include "base/error.h"
#include "sys/file.h"
#include "sys/flock.h"

namespace cofferdam::platform {

Result<DirectoryLock> DirectoryLock::Take(int directory, int operation) {
  ASSIGN_OR_RETURN(sys::UniqueFd fd, sys::OpenAt(directory, ".", O_RDONLY | O_DIRECTORY));
  const Status locked = sys::Flock(fd.get(), operation);
  if (!locked && locked.error().code == ErrorCode::kBusy)
    return Err(ErrorCode::kBusy, "the directory is in use");
  RETURN_IF_ERROR(locked);
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
