// The limits of this machine that many sandboxes reach before its memory ends, how many sandboxes
// each allows, and how to raise it.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace cofferdam::sandbox {

struct HostLimit {
  /// A sysctl, "fs.inotify.max_user_instances", or "RLIMIT_NOFILE".
  std::string name;
  std::uint64_t value = 0;
  /// What a sandbox takes of it: "one inotify instance".
  std::string takes;
  /// Which sandboxes share it: "one user" (a workspace when the host is root), "one host process"
  /// or "the machine".
  std::string shared_by;
  /// How many of those can live at once.
  std::uint64_t sandboxes = 0;
  /// The command that makes room for kManySandboxes; empty when there is room.
  std::string remedy;
};

/// What a machine is to have room for.
inline constexpr std::uint64_t kManySandboxes = 10'000;

/// The limits in force for this process, those that allow the fewest sandboxes first. What this
/// kernel does not show is left out.
std::vector<HostLimit> ReadHostLimits();

/// The same from values: `sysctl` has each by its name, `descriptors` is the soft RLIMIT_NOFILE.
/// Pure.
std::vector<HostLimit> HostLimitsFrom(
    const std::function<std::optional<std::uint64_t>(std::string_view name)>& sysctl,
    std::uint64_t descriptors);

/// Raises the soft limit of descriptors to the hard one. For a program's start: a library does not
/// change its host.
Status RaiseDescriptorLimit();

}  // namespace cofferdam::sandbox
