// From a policy to the bytes that the kernel takes: a classic BPF program that finds the system
// call by binary search, so that the executed path is short; the kernel runs the filter once for
// every number at load time, and a linear one costs three times as much.
#pragma once

#include <linux/filter.h>

#include <cstdint>
#include <vector>

#include "sandbox/layers/seccomp/policy.h"

namespace cofferdam::sandbox::seccomp {

/// A rule whose system call has a number on the architecture.
struct NumberedRule {
  std::uint32_t number;
  const Rule* rule;
};

/// `audit_arch` is AUDIT_ARCH_X86_64 or AUDIT_ARCH_AARCH64. Numbers are unique. A call of another
/// architecture, and on x86-64 one with the x32 bit, kills the process; a number without a rule
/// gives `otherwise`.
std::vector<sock_filter> Compile(std::uint32_t audit_arch, std::vector<NumberedRule> rules,
                                 Action otherwise);

}  // namespace cofferdam::sandbox::seccomp
