// The launcher: a small single-threaded process that makes sandboxes on request. It answers on one
// socket, keeps nothing of a sandbox once it is made, and ends with its host.
#pragma once

namespace cofferdam::worker {

/// Serves launch requests (sandbox/layers/launch.h) on `socket` until the host is gone; then kills
/// every sandbox, waits for their end and returns. Does not return in a sandbox that it cloned.
void RunLauncher(int socket);

}  // namespace cofferdam::worker
