#include "sandbox/layers/layer.h"

#include <array>

#include "base/check.h"

namespace cofferdam::sandbox {
namespace {

constexpr std::array<std::string_view, kLayerCount> kNames = {
    "user",         "mount",     "pid",     "net",       "ipc",     "uts",
    "cgroup",       "cgroup_ns", "root",    "identity",  "rlimits", "capabilities",
    "no_new_privs", "landlock",  "seccomp", "undumpable"};

}  // namespace

std::string_view LayerName(Layer layer) {
  const auto index = static_cast<std::size_t>(layer);
  CHECK(index < kNames.size());
  return kNames[index];
}

std::optional<Layer> LayerFromName(std::string_view name) {
  for (std::size_t i = 0; i < kNames.size(); ++i)
    if (kNames[i] == name) return static_cast<Layer>(i);
  return std::nullopt;
}

}  // namespace cofferdam::sandbox
