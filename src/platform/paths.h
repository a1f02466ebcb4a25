// Which places of the host may be a state directory. The answers depend on the file system at the
// time of the call.
#pragma once

#include <string>

#include "base/error.h"

namespace cofferdam::platform {

/// `path` as an absolute one without "." and "..", with the symbolic links of those parents that
/// exist resolved. ErrorCode::kInvalidArgument for an empty path.
Result<std::string> ResolvePath(const std::string& path);

/// Refuses the directories of the system themselves (/, /etc, /home, …; what is below them is
/// fine). `path` is resolved. ErrorCode::kInvalidArgument.
Status CheckStateDirectory(const std::string& path);

}  // namespace cofferdam::platform
