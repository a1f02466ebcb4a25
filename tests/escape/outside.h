// What a test does and sees outside of every sandbox: the attack program as an ordinary process of
// this machine, and the machine itself before and after.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <vector>

namespace cofferdam::escape {

struct OutsideRun {
  /// "succeeded", "errno EPERM", "signal 9", as the sandbox's runs are described.
  std::string outcome;
};

/// A descriptor that is left open in a program.
enum class Leak { kNothing, kStream, kRoot };

struct OutsideOptions {
  std::string working_directory = {};
  /// Runs under this uid and gid, without groups; 0 stays what the test is.
  std::uint32_t uid = 0;
  Leak leak = Leak::kNothing;
};

/// Runs a program to its end, and kills whatever it leaves in its process group.
OutsideRun RunOutside(const std::vector<std::string>& argv, const OutsideOptions& options);

/// Starts a program whose parent is a process of its own, as a supervisor is, and waits until that
/// parent has stopped or ended; true when it did either because of a signal. Everything is killed.
bool ParentFallsTo(const std::vector<std::string>& argv);

/// What `work` returns in a process of its own, which may put itself where the test must not be.
std::string InChild(const std::function<std::string()>& work);

/// "succeeded" or "errno NAME" out of what the attack program printed, or a signal.
std::string Describe(const std::string& printed, int signal);

/// Pids of the processes that have `mark` as an argument.
std::set<pid_t> ProcessesMarked(const std::string& mark);
/// Pids of the processes in a pid namespace, as far as the caller may see that.
std::set<pid_t> ProcessesIn(std::uint64_t pid_namespace);
/// Identity of a process's pid namespace; 0 where the caller may not see it.
std::uint64_t PidNamespaceOf(pid_t pid);
/// Waits until a set of processes is gone, ended ones that wait for their parent included.
bool AllGone(const std::set<pid_t>& pids);

void KillAll(const std::set<pid_t>& pids);

/// Has the test itself this capability (in the initial or whatever user namespace it is in)?
bool HasCapability(int capability);

/// A kernel setting as a number; `otherwise` where it does not exist.
int Sysctl(const std::string& path, int otherwise);

std::string HostName();

/// Is there an IPv4 route beyond this machine?
bool HasRoute();

}  // namespace cofferdam::escape
