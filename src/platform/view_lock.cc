#include "platform/view_lock.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <thread>

#include "base/deadline.h"
#include "sys/file.h"

namespace cofferdam::platform {
namespace {

constexpr char kDirectory[] = "views";
constexpr std::chrono::seconds kPatience{1};
constexpr std::chrono::milliseconds kMaxPause{50};

/// F_RDLCK, F_WRLCK on the whole file, without waiting: false when somebody else is in the way.
Result<bool> TrySet(int fd, short type) {
  struct flock lock{};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  if (::fcntl(fd, F_OFD_SETLK, &lock) == 0) return true;
  if (errno == EAGAIN || errno == EACCES) return false;
  return ErrnoError(errno, "locking a view");
}

}  // namespace

Result<sys::UniqueFd> OpenViews(int workspace) {
  if (::mkdirat(workspace, kDirectory, 0700) != 0 && errno != EEXIST)
    return ErrnoError(errno, "making " + std::string(kDirectory));
  return sys::OpenBeneath(workspace, kDirectory, O_PATH | O_DIRECTORY, sys::Links::kRefuse);
}

Result<ViewLock> ViewLock::Take(int workspace, const std::string& view, Kind kind) {
  ASSIGN_OR_RETURN(const sys::UniqueFd views, OpenViews(workspace));
  ASSIGN_OR_RETURN(sys::UniqueFd fd,
                   sys::OpenAt(views.get(), view + ".lock", O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
  const short type = kind == Kind::kExclusive ? F_WRLCK : F_RDLCK;
  const Deadline deadline = Deadline::After(kPatience);
  for (std::chrono::milliseconds pause(1);; pause = std::min(2 * pause, kMaxPause)) {
    ASSIGN_OR_RETURN(const bool taken, TrySet(fd.get(), type));
    if (taken) return ViewLock(std::move(fd));
    if (deadline.Expired()) return Err(ErrorCode::kBusy, "somebody else uses the view");
    std::this_thread::sleep_for(pause);
  }
}

Result<bool> ViewLock::MakeExclusive() { return TrySet(fd_.get(), F_WRLCK); }

Status ViewLock::MakeShared() {
  ASSIGN_OR_RETURN(const bool shared, TrySet(fd_.get(), F_RDLCK));
  if (!shared) return Err(ErrorCode::kBusy, "somebody else uses the view");
  return {};
}

Result<bool> ViewLock::OthersHaveIt() const {
  struct flock lock{};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  if (::fcntl(fd_.get(), F_OFD_GETLK, &lock) != 0) return ErrnoError(errno, "asking for a lock");
  return lock.l_type != F_UNLCK;
}

}  // namespace cofferdam::platform
