// The mounts that belong to one sandbox, attached by its zygote in a mount namespace of its own.
// The sandbox's clone inherits them across a user namespace, so that the kernel locks them all.
#pragma once

#include <cstdint>
#include <vector>

#include "sandbox/layers/launch.h"
#include "sandbox/layers/tree.h"
#include "sys/fd.h"

namespace cofferdam::worker {

/// Where it went wrong, or Step::kNone.
struct Failure {
  sandbox::Step step = sandbox::Step::kNone;
  int error_number = 0;
  std::uint32_t mount = 0;  // which one, for a step that is about one
};

/// A new file system, of the usual size, for /tmp, /dev/shm and /run together, and one at /dev/pts.
/// 0 or an errno.
int MountTemporary();
int MountTerminals();

/// Gives the temporary file system the size and the owner that a request wants. 0 or an errno.
int FitTemporary(const sandbox::LaunchRequest& request);

/// Opens what the host's descriptors show in the namespace of sources, makes sure that it is that,
/// and attaches it in `own_mounts`, where the caller is. `trees` shows each mount afterwards.
Failure AttachSources(const sandbox::HostHandles& host, int own_mounts,
                      sandbox::LaunchRequest& request, const std::vector<sys::UniqueFd>& sources,
                      std::vector<sys::UniqueFd>& trees);

}  // namespace cofferdam::worker
