// What a sandbox's seccomp filter refused, as `--audit-syscalls` lists it. Values.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace cofferdam {

/// One kind of system call that was refused.
struct DeniedCall {
  /// "socket"
  std::string syscall = {};
  /// With the arguments that the filter looks at, by their low 32 bits: "socket(0x28, 0x1, 0x0)",
  /// "ioctl(_, 0x5412)". The name alone where it looks at none.
  std::string call = {};
  /// The error that the program got: "EPERM".
  std::string answer = {};
  std::uint64_t count = 0;
  bool operator==(const DeniedCall&) const = default;
};

struct DeniedCalls {
  /// The most frequent first.
  std::vector<DeniedCall> calls = {};
  /// How many more were refused of kinds that came after the first 256.
  std::uint64_t others = 0;
};

}  // namespace cofferdam
