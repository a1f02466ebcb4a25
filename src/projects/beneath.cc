#include "projects/beneath.h"

#include <fcntl.h>

#include "base/check.h"
#include "sys/file.h"

namespace cofferdam::projects {
namespace {

// As much of a path as one call takes (PATH_MAX is 4096), whatever the names' lengths.
constexpr std::size_t kMaxStepBytes = 4000;

}  // namespace

Result<sys::UniqueFd> OpenDirectoryBeneath(int root, const std::string& path) {
  constexpr int kFlags = O_PATH | O_DIRECTORY;
  if (path.empty()) return sys::OpenAt(root, ".", kFlags);
  sys::UniqueFd opened;
  for (std::size_t begin = 0; begin < path.size();) {
    std::size_t end = path.size();
    if (end - begin > kMaxStepBytes) end = path.rfind('/', begin + kMaxStepBytes);
    if (end == std::string::npos || end <= begin)
      return Err(ErrorCode::kInvalidArgument, "a path with a name that is too long");
    const int directory = opened.valid() ? opened.get() : root;
    ASSIGN_OR_RETURN(opened, sys::OpenBeneath(directory, path.substr(begin, end - begin), kFlags,
                                              sys::Links::kRefuse));
    begin = end + 1;
  }
  return opened;
}

std::string ParentOf(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash);
}

Result<Place> OpenPlace(int root, const std::string& path) {
  CHECK(!path.empty());
  const std::string parent = ParentOf(path);
  ASSIGN_OR_RETURN(sys::UniqueFd directory, OpenDirectoryBeneath(root, parent));
  return Place{std::move(directory), path.substr(parent.empty() ? 0 : parent.size() + 1)};
}

}  // namespace cofferdam::projects
