// The compiled filters that ship, for every supported machine, so that tests can read the very
// bytes of one that they do not run on.
#pragma once

#include <linux/filter.h>

#include <span>

#include "sandbox/layers/seccomp/profile.h"

namespace cofferdam::sandbox::seccomp {

enum class Machine { kX86_64, kArm64 };

#if defined(__x86_64__)
inline constexpr Machine kNativeMachine = Machine::kX86_64;
#elif defined(__aarch64__)
inline constexpr Machine kNativeMachine = Machine::kArm64;
#else
#error "Cofferdam's sandbox supports x86-64 and arm64"
#endif

/// What becomes of a call that the policy refuses. It fails either way, by the same bytes or, when
/// nobody listens, with ENOSYS.
enum class Denials {
  kAnswered,  // the filter gives the error itself
  kReported,  // the filter asks its listener, which gives the error of the other filter
};

std::span<const sock_filter> Filter(Machine machine, SeccompProfile profile, Denials denials);

}  // namespace cofferdam::sandbox::seccomp
