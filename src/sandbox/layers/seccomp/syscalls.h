// What system calls are called, for reports. Of the host; the worker does without.
#pragma once

#include <cstdint>

#include "sandbox/layers/seccomp/filters.h"

namespace cofferdam::sandbox::seccomp {

struct SyscallInfo {
  Machine machine;
  std::uint32_t number;
  const char* name;
  /// A bit for each argument that the policy compares, but for ids of processes and threads.
  unsigned deciding_arguments;
};

/// Null for a number that was nobody's when this was built.
const SyscallInfo* FindSyscall(Machine machine, std::uint32_t number);

}  // namespace cofferdam::sandbox::seccomp
