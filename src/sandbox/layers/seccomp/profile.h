// The seccomp profiles by name. Values only.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace cofferdam::sandbox {

/// Which system calls a sandbox allows. Nothing that reaches out of a sandbox is in either.
enum class SeccompProfile : std::uint32_t {
  kTools,    // what commands, compilers, interpreters and servers need
  kHarness,  // and what whole agent programs and browsers do to their own threads
};

std::string_view SeccompProfileName(SeccompProfile profile);
std::optional<SeccompProfile> SeccompProfileFromName(std::string_view name);

}  // namespace cofferdam::sandbox
