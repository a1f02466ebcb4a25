#include "sandbox/layers/seccomp/syscalls.h"

#include <algorithm>
#include <iterator>

namespace cofferdam::sandbox::seccomp {
namespace {
#include "seccomp_syscalls.inc"
}  // namespace

const SyscallInfo* FindSyscall(Machine machine, std::uint32_t number) {
  const auto* const found = std::ranges::find_if(kSyscalls, [&](const SyscallInfo& info) {
    return info.machine == machine && info.number == number;
  });
  return found == std::end(kSyscalls) ? nullptr : found;
}

}  // namespace cofferdam::sandbox::seccomp
