// A mounter: a copy of the launcher that makes one overlay in a mount namespace of its own, hands
// it to the host and ends, so that nothing of it stays in the launcher.
#pragma once

#include "sandbox/layers/tree.h"

namespace cofferdam::worker {

/// Serves the one OverlayRequest that comes on `socket`.
void MountOverlay(int socket, const sandbox::HostHandles& host);

}  // namespace cofferdam::worker
