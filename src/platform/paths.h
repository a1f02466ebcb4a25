// Which places of the host may be a state directory or the source of a mount.
//
// The answers depend on the file system at the time of the call; what is opened later is opened
// beneath descriptors, without following symbolic links.
#pragma once

#include <string>
#include <vector>

#include <cofferdam/settings.h>

#include "base/error.h"

namespace cofferdam::platform {

/// `path` as an absolute one without "." and "..", with the symbolic links of those parents that
/// exist resolved. ErrorCode::kInvalidArgument for an empty path.
Result<std::string> ResolvePath(const std::string& path);

/// Refuses the directories of the system themselves (/, /etc, /home, …; what is below them is
/// fine). `path` is resolved. ErrorCode::kInvalidArgument.
Status CheckStateDirectory(const std::string& path);

/// Refuses what a sandbox must never see of the host: the system's own places and the homes of its
/// users, whatever contains one of them, the state directory and what is in it or around it; and
/// sources that do not exist or have a symbolic link in their path. ErrorCode::kMountRefused.
Status CheckMountSource(const std::string& source, const std::string& state_directory);

}  // namespace cofferdam::platform
