// A zygote: a copy of the launcher that gets ready ahead of time everything that no request
// decides, waits for one request, and makes the sandbox. It ends when the host lets go of its
// socket.
#pragma once

#include <vector>

#include "sandbox/layers/layer.h"
#include "sandbox/layers/tree.h"
#include "sys/fd.h"

namespace cofferdam::worker {

struct ZygoteParts {
  sys::UniqueFd socket;                        // to the host: a report, a request, a reply
  sys::UniqueFd channel;                       // becomes the worker's
  std::vector<sys::UniqueFd> cgroups;          // files to join by
  int cgroup_error = 0;                        // why it could not be cloned into its group
  sandbox::LayerSet skip_layers;               // what tests leave off
  const sandbox::HostHandles* host = nullptr;  // the launcher's
};

/// Runs in a fork of the launcher. The sandbox that it makes is the launcher's child, not the
/// zygote's: it lives as long as the launcher.
[[noreturn]] void RunZygote(ZygoteParts parts);

}  // namespace cofferdam::worker
