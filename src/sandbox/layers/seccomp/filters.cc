#include "sandbox/layers/seccomp/filters.h"

#include "base/check.h"

namespace cofferdam::sandbox::seccomp {
namespace {

struct CompiledFilter {
  Machine machine;
  SeccompProfile profile;
  Denials denials;
  std::span<const sock_filter> program;
};

#include "seccomp_filters.inc"

}  // namespace

std::span<const sock_filter> Filter(Machine machine, SeccompProfile profile, Denials denials) {
  for (const CompiledFilter& filter : kFilters)
    if (filter.machine == machine && filter.profile == profile && filter.denials == denials)
      return filter.program;
  CHECK(false && "there is a filter for each");
}

}  // namespace cofferdam::sandbox::seccomp
