// Control groups for sandboxes: version 2 where its controllers are, the version 1 controllers on a
// hybrid host. A platform's sandboxes lie in groups below the host process's own, so that whatever
// limits the host limits them too.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
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

class CgroupRoot;

/// A sandbox's group in every hierarchy that is used. Removes it when destroyed; the processes must
/// be gone by then. Holds no descriptor; its root must outlive it.
class Cgroup {
 public:
  Cgroup(Cgroup&& other) noexcept;
  Cgroup& operator=(Cgroup&& other) noexcept;
  ~Cgroup();

  /// Files to which a process writes "0" to join.
  Result<std::vector<sys::UniqueFd>> OpenJoinFiles() const;

  /// Puts other limits in force; does nothing when they are the same.
  Status SetLimits(const Limits& limits);

  /// Reads back what is in force: "memory 536870912, pids 100, cpu unlimited". An error when a
  /// limit is not what was asked for or the process is not in the group. `proc` is an open
  /// /proc/<pid>.
  Result<std::string> Verify(int proc) const;

  /// What was counted since the group was made or recycled.
  Result<CgroupEvents> Events() const;
  Status Freeze();
  Status Thaw();

  /// Makes it as good as new for another sandbox: no process, no page charged, nothing counted.
  /// Waits up to the deadline for ended processes. kUnsupported where the kernel cannot.
  Status Recycle(Deadline deadline);

  /// Removes the group; waits up to the deadline for the kernel to let go of ended processes.
  Status Remove(Deadline deadline);

 private:
  friend class CgroupRoot;
  Cgroup(const CgroupRoot* root, std::string name, const Limits& limits)
      : root_(root), name_(std::move(name)), limits_(limits) {}
  Result<std::string> ReadControl(std::string_view hierarchy, const std::string& file) const;
  Status WriteControl(std::string_view hierarchy, const std::string& file,
                      const std::string& value) const;
  Status ExpectControl(std::string_view hierarchy, const std::string& file,
                       const std::string& wanted) const;
  Status Apply(std::uint64_t memory_bytes_before);
  Status WriteMemoryLimit(std::uint64_t memory_bytes_before) const;
  Result<CgroupEvents> CountedEvents() const;

  const CgroupRoot* root_;  // null after a move and after Remove
  std::string name_;
  Limits limits_;
  CgroupEvents before_;  // counted for an earlier sandbox
};

/// A directory of this process's own in each hierarchy, below which sandboxes get theirs.
/// Thread-safe after Open.
class CgroupRoot {
 public:
  CgroupRoot(CgroupRoot&& other) noexcept = default;
  CgroupRoot& operator=(CgroupRoot&&) noexcept = delete;
  ~CgroupRoot();

  /// Finds what this host offers. kLayerMissing, with the reason and the remedy, when memory and
  /// process limits cannot be had.
  static Result<CgroupRoot> Open();

  /// A new group, with a name of its own and the limits in force.
  Result<Cgroup> Make(const Limits& limits) const;

  bool is_v2() const { return is_v2_; }

  /// What the launcher needs to remove everything when this process dies: the name of the
  /// directories, and for each hierarchy the parent of the directory and the directory itself.
  const std::string& directory_name() const { return directory_name_; }
  std::vector<int> Descriptors() const;

 private:
  friend class Cgroup;
  struct Hierarchy {
    std::string name;  // "memory", "pids", "cpu", "freezer", or "unified"
    std::string path;  // from the hierarchy's root, as /proc/<pid>/cgroup shows it
    sys::UniqueFd parent;
    sys::UniqueFd directory;
  };
  CgroupRoot();
  static Result<CgroupRoot> OpenV1();
  static Result<CgroupRoot> OpenV2();
  Status Add(std::string name, const std::string& mount_point, const std::string& path);
  const Hierarchy& Find(std::string_view name) const;

  bool is_v2_ = false;
  std::string directory_name_;
  std::vector<Hierarchy> hierarchies_;
  // On the heap, so that the root can be moved.
  std::unique_ptr<std::atomic<std::uint64_t>> made_ =
      std::make_unique<std::atomic<std::uint64_t>>(0);
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
