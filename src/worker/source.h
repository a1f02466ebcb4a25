// What the host has opened, opened anew where the launcher's processes can mount it, and shown
// under other ids.
#pragma once

#include "sandbox/layers/launch.h"
#include "sys/fd.h"

namespace cofferdam::worker {

/// 0, or ESTALE when a descriptor shows something else.
int CheckPlace(int fd, const sandbox::Place& place);

/// A clone, attached nowhere, of what a descriptor of the host's shows. The caller is in the mount
/// namespace of sources; `proc` shows its own descriptors. 0 or an errno: ESTALE when something
/// else lies at the path by now.
int OpenSource(int proc, int host_fd, const sandbox::Place& place, sys::UniqueFd& tree);

/// A user namespace under whose map files of `owner` appear as those of `shown`, and those of
/// others as nobody's. Only for the superuser. 0 or an errno.
int MakeIdMap(int proc, const sandbox::Ids& owner, const sandbox::Ids& shown, sys::UniqueFd& map);

/// Puts the map on a mount that is attached nowhere yet. 0 or an errno: EINVAL when its file system
/// cannot.
int MapIds(int tree, int map);

}  // namespace cofferdam::worker
