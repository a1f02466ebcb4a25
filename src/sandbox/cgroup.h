// Control groups for sandboxes: version 2 where its controllers are, the version 1 controllers on a
// hybrid host. A platform's sandboxes lie in groups below the host process's own, so that whatever
// limits the host limits them too.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/deadline.h"
#include "base/error.h"
#include "sandbox/spec.h"
#include "sys/fd.h"

namespace cofferdam::sandbox {

/// What the kernel counted in a group so far.
struct CgroupEvents {
  std::uint64_t out_of_memory_kills = 0;
  std::uint64_t refused_forks = 0;
};

/// A sandbox's group in every hierarchy that is used. Removes it when destroyed; the processes must
/// be gone by then.
class Cgroup {
 public:
  Cgroup(Cgroup&&) noexcept = default;
  Cgroup& operator=(Cgroup&&) noexcept;
  ~Cgroup();

  /// Files to which a process writes "0" to join.
  Result<std::vector<sys::UniqueFd>> OpenJoinFiles() const;

  /// Reads back what is in force: "memory 536870912, pids 100, cpu unlimited". An error when a
  /// limit is not what was asked for or `pid` is not in the group.
  Result<std::string> Verify(pid_t pid) const;

  Result<CgroupEvents> Events() const;
  Status Freeze();
  Status Thaw();

  /// Removes the group; waits up to the deadline for the kernel to let go of ended processes.
  Status Remove(Deadline deadline);

 private:
  friend class CgroupRoot;
  struct Part {
    std::string hierarchy;  // "memory", "pids", "cpu", "freezer", or "unified"
    std::string path;       // from the hierarchy's root, as /proc/<pid>/cgroup shows it
    sys::UniqueFd parent;
    std::string name;
    sys::UniqueFd directory;
  };
  Cgroup() = default;
  const Part* Find(std::string_view hierarchy) const;
  Status Apply();

  bool is_v2_ = false;
  Limits limits_;
  std::vector<Part> parts_;
};

/// A directory of this process's own in each hierarchy, below which sandboxes get theirs.
/// Thread-safe after Open.
class CgroupRoot {
 public:
  CgroupRoot(CgroupRoot&&) noexcept = default;
  CgroupRoot& operator=(CgroupRoot&&) noexcept = delete;
  ~CgroupRoot();

  /// Finds what this host offers. kLayerMissing, with the reason and the remedy, when memory and
  /// process limits cannot be had.
  static Result<CgroupRoot> Open();

  /// A new group with the limits in force.
  Result<Cgroup> Make(const std::string& name, const Limits& limits) const;

  bool is_v2() const { return is_v2_; }

  /// What the launcher needs to remove everything when this process dies: the name of the
  /// directories, and for each hierarchy the parent of the directory and the directory itself.
  const std::string& directory_name() const { return directory_name_; }
  std::vector<int> Descriptors() const;

 private:
  struct Hierarchy {
    std::string name;
    std::string path;
    sys::UniqueFd parent;
    sys::UniqueFd directory;
  };
  CgroupRoot();
  static Result<CgroupRoot> OpenV1();
  static Result<CgroupRoot> OpenV2();
  Status Add(std::string name, const std::string& mount_point, const std::string& path);

  bool is_v2_ = false;
  std::string directory_name_;
  std::vector<Hierarchy> hierarchies_;
};

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

}  // namespace cofferdam::sandbox
