// How much memory there is for sandboxes, and how many of them that allows at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "base/error.h"

namespace cofferdam::policy {

/// In bytes.
struct HostMemory {
  std::uint64_t total = 0;
  /// What can be had without pushing anything else out.
  std::uint64_t available = 0;
};

/// What this process may use: the machine's memory, or that of the control group which limits this
/// process, whichever is less. kOs, kMalformed.
Result<HostMemory> ReadHostMemory();

/// How many sandboxes at once a platform starts with so much memory, when nobody says otherwise:
/// three quarters of what is available, divided by what a sandbox at work is expected to use
/// (kExpectedSandboxBytes); at least 1, at most 1024. Pure.
std::size_t SlotsFor(const HostMemory& memory);
inline constexpr std::uint64_t kExpectedSandboxBytes = std::uint64_t{128} << 20;

/// Whether kept sandboxes have to go: less than a tenth is available. Pure.
bool IsShort(const HostMemory& memory);

/// From the text of /proc/meminfo. Pure.
std::optional<HostMemory> ParseMemInfo(std::string_view text);

}  // namespace cofferdam::policy
