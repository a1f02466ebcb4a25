// Processes by descriptor: pidfds, and clone3 with the flags that libc has no wrapper for.
#pragma once

#include <signal.h>
#include <sys/types.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/deadline.h"
#include "base/error.h"
#include "sys/fd.h"

namespace cofferdam::sys {

struct Child {
  pid_t pid = 0;   // 0 in the child itself
  UniqueFd pidfd;  // in the parent only
};

/// clone3(2) like fork, with namespace `flags`. Only for single-threaded programs: the child goes
/// on with a copy of the memory and libc's idea of the thread.
Result<Child> CloneProcess(std::uint64_t flags);

/// As CloneProcess; the child begins its life in a control group of version 2, whose directory this
/// is. Moving a process later takes a lock on all processes of the machine.
Result<Child> CloneProcessInto(int cgroup_directory, std::uint64_t flags);

/// Sends a signal to exactly this process. A process that is already gone is success.
Status SendSignal(int pidfd, int signal);

/// Waits until the process has ended (it need not be a child).
Status WaitForEnd(int pidfd, Deadline deadline);

/// The pid in this process's own pid namespace, from /proc/self/fdinfo; kNotFound when it has
/// ended.
Result<pid_t> PidOf(int pidfd);

/// Closes every descriptor but those in `keep` (any order).
void CloseAllExcept(std::span<const int> keep);

/// The pids of the calling thread's children, from /proc/thread-self/children beneath `proc` (a
/// descriptor of a mounted procfs).
Result<std::vector<pid_t>> Children(int proc);

/// Starts a program from an image in memory: a sealed memfd, an empty environment, `socket` as
/// descriptor 3, /dev/null as standard input and output, our standard error. Returns the child's
/// pid and pidfd; the caller waits for it.
Result<Child> SpawnImage(std::span<const char> image, const char* name, int socket);

/// Reaps a child that has ended or is about to; its wait status.
Result<int> Reap(pid_t pid);

}  // namespace cofferdam::sys
