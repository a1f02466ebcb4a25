// Where a path of any length lies below a directory: by descriptor, and through no symlink.
#pragma once

#include <string>

#include "base/error.h"
#include "sys/fd.h"

namespace cofferdam::projects {

/// Opens the directory of that path below `root`, O_PATH; the empty path is `root` itself. A
/// symlink on the way is kPermissionDenied, as sys::OpenBeneath has it.
Result<sys::UniqueFd> OpenDirectoryBeneath(int root, const std::string& path);

/// A name in an open directory (O_PATH).
struct Place {
  sys::UniqueFd parent;
  std::string name;
};
/// Where `path`, which is not empty, lies or would lie. Errors as OpenDirectoryBeneath, of its
/// parent.
Result<Place> OpenPlace(int root, const std::string& path);

/// The path without its last component; empty for what lies in the root.
std::string ParentOf(const std::string& path);

}  // namespace cofferdam::projects
