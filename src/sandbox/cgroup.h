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
#include "sandbox/cgroup_place.h"
#include "sandbox/spec.h"
#include "sys/fd.h"

namespace cofferdam::sandbox {

/// What the kernel counted in a group so far.
struct CgroupEvents {
  std::uint64_t out_of_memory_kills = 0;
  std::uint64_t refused_forks = 0;
};

/// What a sandbox has used. Pressure is the time in which at least one of its processes waited for
/// the resource; version 1 does not count it, nor the processor where cpuacct lies elsewhere.
struct CgroupUsage {
  CgroupEvents events;
  std::uint64_t memory_peak_bytes = 0;
  std::optional<std::uint64_t> cpu_micros;
  std::optional<std::uint64_t> memory_pressure_micros;
  std::optional<std::uint64_t> cpu_pressure_micros;
  std::optional<std::uint64_t> io_pressure_micros;
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

  /// The group's directory, to clone into. Version 2 only.
  Result<sys::UniqueFd> OpenDirectory() const;

  /// Puts other limits in force; does nothing when they are the same.
  Status SetLimits(const Limits& limits);

  /// Reads back what is in force: "memory 536870912, pids 100, cpu unlimited". An error when a
  /// limit is not what was asked for or the process is not in the group. `proc` is an open
  /// /proc/<pid>.
  Result<std::string> Verify(int proc) const;

  /// What was counted since the group was made or recycled.
  Result<CgroupEvents> Events() const;
  Result<CgroupUsage> Usage() const;

  /// Ends every process in the group, frozen or not. Where the kernel has no such file, nothing
  /// happens: the end of a sandbox's first process ends the others.
  Status Kill();

  Status Freeze();
  Status Thaw();
  /// Whether every process has come to a halt; a process in a system call that cannot be
  /// interrupted does so after it.
  Result<bool> IsFrozen() const;

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
  Status Apply(const Limits& before, bool is_new) const;
  Status ApplyMemory(const Limits& before, bool is_new) const;
  Status ApplyMemoryV1(std::uint64_t bytes_before) const;
  Status ApplyCpu(const Limits& before) const;
  Status ApplyIo(const Limits& before) const;
  Status WriteIo(const IoLimit& limit) const;
  Status WriteIfPresent(std::string_view hierarchy, const std::string& file,
                        const std::string& value) const;
  Status ExpectMemory() const;
  Status ExpectCpu() const;
  Status ExpectIo(const IoLimit& limit) const;
  Result<CgroupEvents> CountedEvents() const;
  std::optional<std::uint64_t> CountedCpuMicros() const;

  const CgroupRoot* root_;  // null after a move and after Remove
  std::string name_;
  Limits limits_;
  // Counted for earlier sandboxes.
  CgroupEvents before_;
  std::uint64_t cpu_micros_before_ = 0;
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

  /// "memory", "pids", "cpu" or "io".
  bool HasController(std::string_view name) const;

  /// What the launcher needs to remove everything when this process dies: the name of the
  /// directories, and for each hierarchy the parent of the directory and the directory itself.
  const std::string& directory_name() const { return directory_name_; }
  std::vector<int> Descriptors() const;

 private:
  friend class Cgroup;
  struct Hierarchy {
    std::string name;  // "memory", "pids", "cpu", "freezer", "blkio", or "unified"
    std::string path;  // from the hierarchy's root, as /proc/<pid>/cgroup shows it
    sys::UniqueFd parent;
    sys::UniqueFd directory;
  };
  CgroupRoot();
  static Result<CgroupRoot> OpenV1();
  static Result<CgroupRoot> OpenV2();
  Status Add(std::string name, const CgroupPlace& place);
  const Hierarchy& Find(std::string_view name) const;

  bool is_v2_ = false;
  std::string controllers_;  // of version 2
  std::string directory_name_;
  std::vector<Hierarchy> hierarchies_;
  // On the heap, so that the root can be moved.
  std::unique_ptr<std::atomic<std::uint64_t>> made_ =
      std::make_unique<std::atomic<std::uint64_t>>(0);
};

}  // namespace cofferdam::sandbox
