// The start code of a sandbox: what a zygote's clone does, alone in its new namespaces, before it
// serves its first request. Every step is a layer or prepares one.
#pragma once

#include "sandbox/layers/landlock.h"
#include "sandbox/layers/launch.h"

namespace cofferdam::sandbox {

/// What the zygote made ready.
struct StartParts {
  int proc;  // the launcher's procfs
  int landlock_abi;
  int landlock_error;  // 0, or why there is no ruleset
  LandlockRuleset& landlock;
  int channel;  // to the host
};

/// Confines the calling process for good. The report says what happened; when a step failed that
/// may not fail, the steps after it were not tried and the caller must end the process.
StartReport Confine(const LaunchRequest& request, const StartParts& parts);

}  // namespace cofferdam::sandbox
