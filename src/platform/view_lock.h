// Who uses a view, between processes and within one: <workspace>/views/<view>.lock, which no
// sandbox sees.
#pragma once

#include <string>
#include <utility>

#include "base/error.h"
#include "sys/fd.h"

namespace cofferdam::platform {

/// <workspace>/views, O_PATH; made when it is missing. `workspace` is the workspace's folder,
/// trusted.
Result<sys::UniqueFd> OpenViews(int workspace);

/// Holds fcntl(2), F_OFD_SETLK, until it is destroyed; a crash releases it. Movable between
/// threads.
class ViewLock {
 public:
  enum class Kind { kShared, kExclusive };

  /// Tries for a second, since whoever opens a view has it alone for a moment. kBusy. `workspace`
  /// is the workspace's folder, trusted; views/ is made when it is missing.
  static Result<ViewLock> Take(int workspace, const std::string& view, Kind kind);

  /// Alone, without letting go of what it has: false, and all as it was, when others have it.
  Result<bool> MakeExclusive();
  Status MakeShared();
  /// Whether somebody else has it at this moment, too.
  Result<bool> OthersHaveIt() const;

 private:
  explicit ViewLock(sys::UniqueFd fd) : fd_(std::move(fd)) {}

  sys::UniqueFd fd_;
};

}  // namespace cofferdam::platform
