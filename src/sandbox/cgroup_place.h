// Where a host process may make control groups: what is mounted, in which groups it is itself, and,
// for version 2, a group that can give its controllers to the groups of sandboxes without
// disturbing the processes of others.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace cofferdam::sandbox {

/// One line of /proc/<pid>/mountinfo that is a cgroup file system.
struct CgroupMount {
  std::string mount_point;
  std::string root;
  std::vector<std::string> controllers;  // empty for version 2
  bool is_v2 = false;
};
/// Pure parsers of kernel text.
std::vector<CgroupMount> ParseCgroupMounts(std::string_view mountinfo);
/// The path of a controller ("" for version 2) in the text of /proc/<pid>/cgroup.
std::optional<std::string> ParseCgroupPath(std::string_view text, std::string_view controller);

/// A group: where its directory is, and its path as /proc/<pid>/cgroup shows it.
struct CgroupPlace {
  std::string directory;
  std::string path;
};

/// The directory of the group `path` of a controller ("" for version 2): below the last mount that
/// shows it, since an earlier one may be covered. Pure.
std::optional<CgroupPlace> LocateCgroup(const std::vector<CgroupMount>& mounts,
                                        std::string_view controller, const std::string& path);

/// The group of this process for a version 1 controller. kUnsupported when there is none.
Result<CgroupPlace> OwnCgroupV1(std::string_view controller);

/// Below this group, made by PrepareCgroupV2, a host process lies that was alone in it.
inline constexpr char kHostLeaf[] = "cofferdam-host";

/// A group of version 2 whose children get at least the memory and pids controllers. That is the
/// process's own group when nobody else is in it: the process moves to the leaf kHostLeaf, since
/// version 2 gives controllers only to the children of a group without processes. Else it is the
/// nearest group above that gives these controllers already and in which this process may make
/// groups and move to them. No other process is ever moved, and no controller taken away.
/// kUnsupported, with the reason, when there is neither.
Result<CgroupPlace> PrepareCgroupV2();

/// Whether a list of words, as in cgroup.controllers, has this one.
bool HasWord(std::string_view text, std::string_view word);

}  // namespace cofferdam::sandbox
