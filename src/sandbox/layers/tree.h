// The tree that all sandboxes of a launcher share: a read-only root in a mount namespace that holds
// nothing else of the host. Built once; runs in the launcher.
#pragma once

#include "sandbox/layers/launch.h"
#include "sys/fd.h"

namespace cofferdam::sandbox {

struct TreeFailure {
  Step step = Step::kNone;
  int error_number = 0;
};

/// What a launcher keeps of the host after PrepareTree.
struct HostHandles {
  sys::UniqueFd source_mounts;  // the mount namespace in which sources of mounts are opened
  sys::UniqueFd own_mounts;     // the launcher's own, with the prepared tree as its root
  sys::UniqueFd proc;           // a procfs that shows the launcher and its sandboxes
  sys::UniqueFd launcher;       // a pidfd
};

/// Moves the calling process into namespaces of its own (as root a mount namespace; as an ordinary
/// user also a user and a network namespace) and makes the prepared tree its root. On failure the
/// process is of no further use.
TreeFailure PrepareTree(HostHandles& handles);

}  // namespace cofferdam::sandbox
