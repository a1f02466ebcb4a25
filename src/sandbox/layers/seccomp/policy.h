// The seccomp policy as data: what each system call may do. Read by the compiler at build time.
// An allow-list: what is not named here answers ENOSYS, what is named and refused answers EPERM,
// a foreign architecture (and x32) kills the process.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sandbox/layers/seccomp/profile.h"

namespace cofferdam::sandbox::seccomp {

/// A SECCOMP_RET_* value.
using Action = std::uint32_t;
Action Allow();
Action Fail(int error_number);
Action KillProcess();
/// Asks the listener, without which the call fails with ENOSYS.
Action Report();

/// Holds when (argument & mask) is one of `values`. Only the low 32 bits are compared: the kernel
/// reads no more of the arguments that stand in this policy.
struct Condition {
  unsigned argument;
  std::uint32_t mask;
  std::vector<std::uint32_t> values;
  /// The argument names a process or a thread: a report leaves it out, or no two calls were alike.
  bool is_id = false;
};

/// If all conditions hold, `action` is taken, else the next check is made.
struct Check {
  std::vector<Condition> all_of;
  Action action;
};

struct Rule {
  std::string syscall;
  std::vector<Check> checks;
  /// Taken when no check applies.
  Action action;
};

/// Every rule of a profile once, in no order.
std::vector<Rule> Policy(SeccompProfile profile);

/// The same rules, but what failed is reported. What was allowed or killed stays so.
std::vector<Rule> WithDenialsReported(std::vector<Rule> rules);

}  // namespace cofferdam::sandbox::seccomp
