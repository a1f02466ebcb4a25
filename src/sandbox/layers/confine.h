// The start code of a sandbox: what the launcher's clone does, alone in its new namespaces, before
// it serves its first request. Every step is a layer or prepares one.
#pragma once

#include <span>

#include "sandbox/layers/launch.h"

namespace cofferdam::sandbox {

struct StartDescriptors {
  std::span<const int> cgroups;  // files of the host's cgroups to which a process joins itself
  int proc;                      // the launcher's procfs
};

/// Confines the calling process for good. The report says what happened; when a step failed that
/// may not fail, the steps after it were not tried and the caller must end the process.
StartReport Confine(const LaunchRequest& request, const StartDescriptors& descriptors);

}  // namespace cofferdam::sandbox
