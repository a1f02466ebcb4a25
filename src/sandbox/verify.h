// Seeing a sandbox's layers from outside, before its first operation: from the kernel's files about
// its first process, and from the probes of the start code where no file tells.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "sandbox/cgroup.h"
#include "sandbox/layers/launch.h"
#include "sandbox/sandbox.h"

namespace cofferdam::sandbox {

struct VerifyInput {
  const LaunchRequest& request;
  const LaunchReply& reply;
  const StartReport& report;
  std::uint32_t missing_layers;  // those that the zygote did not get
  const NamespaceIds& host_namespaces;
  /// Null when the cgroup layer is missing and may be.
  const Cgroup* cgroup;
  /// Nobody else's sandboxes have the request's ids.
  bool own_identity = false;
};

/// One entry for each layer, in order; kNotVerified, naming the layer and what was seen, when one
/// that is neither skipped nor reported missing is not in force.
Result<std::vector<LayerEvidence>> Verify(const VerifyInput& input);

/// The value of a field in the text of /proc/<pid>/status, without blanks around it; empty when
/// absent. Pure.
std::string_view StatusField(std::string_view status, std::string_view field);

/// What is wrong with the mounts that a mountinfo text shows, for the plan of `request`; empty when
/// nothing is. Pure.
std::string FaultInMounts(std::string_view mountinfo, const LaunchRequest& request);

}  // namespace cofferdam::sandbox
