// Landlock: the mount plan said once more, in a layer that does not depend on mounts. Runs in the
// start code of a sandbox.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace cofferdam::sandbox {

enum class Access : std::uint8_t {
  kList,       // reading directories
  kRead,       // reading and executing
  kReadWrite,  // everything but making devices
};

struct PathRule {
  const char* path;
  Access access;
};

/// The ABI version that the kernel offers, or 0.
int LandlockAbi();

/// Confines the calling thread to the rules (a path that does not exist is left out), and its
/// signals and abstract sockets to its own domain where the ABI can. no_new_privs must be set.
/// Returns 0 or an errno.
int RestrictWithLandlock(int abi, std::span<const PathRule> rules);

}  // namespace cofferdam::sandbox
