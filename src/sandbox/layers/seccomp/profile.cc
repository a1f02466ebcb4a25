#include "sandbox/layers/seccomp/profile.h"

namespace cofferdam::sandbox {

std::string_view SeccompProfileName(SeccompProfile profile) {
  return profile == SeccompProfile::kTools ? "tools" : "harness";
}

std::optional<SeccompProfile> SeccompProfileFromName(std::string_view name) {
  for (const auto profile : {SeccompProfile::kTools, SeccompProfile::kHarness})
    if (SeccompProfileName(profile) == name) return profile;
  return std::nullopt;
}

}  // namespace cofferdam::sandbox
