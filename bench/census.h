// What there is, as the kernel's files say it: processes, their namespaces, control groups, mounts
// and memory. Nothing here asks the sandboxes' own books.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace cofferdam::bench {

/// The processes below `root`, with their parents.
std::map<pid_t, pid_t> ProcessesBelow(pid_t root);

/// Whether a process is in another pid namespace than this one.
bool IsInSandbox(pid_t pid);

/// The lines of a process's mountinfo.
std::size_t MountsOf(pid_t pid);

/// What the machine has, from /proc/meminfo, in KiB.
struct Memory {
  double available, slab, kernel_stack, page_tables, percpu, shared;

  static Memory Read();
};

/// Waits until the kernel has given back what it gives back by itself: until its slab has not
/// shrunk for a second; at most half a minute.
Memory SettledMemory();

/// What a process alone has, in KiB.
double PrivateMemoryOf(pid_t pid);

/// What is there of sandboxes that live, and later what is left of them.
class Census {
 public:
  /// What is below this process now is not theirs; nor are the mounts that it sees.
  Census();

  /// Notes the namespaces and the control groups of everything that came below this process since.
  void TakeLive();
  /// Sandboxes that were seen: each has a pid namespace of its own.
  std::size_t live() const;
  /// Processes below this one that came since it began.
  std::vector<pid_t> Processes() const;
  /// Whatever came and is still there: processes, namespaces that any process is in, control
  /// groups, mounts. Says on standard error what.
  std::size_t CountLeft() const;

 private:
  std::set<pid_t> processes_before_;
  std::size_t mounts_before_;
  std::set<std::string> namespaces_;
  std::set<std::string> cgroups_;
};

}  // namespace cofferdam::bench
