// The kernel's text about control groups, or something in its place.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "sandbox/cgroup.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cofferdam;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const sandbox::CgroupMount& mount : sandbox::ParseCgroupMounts(text)) {
    CHECK(mount.is_v2 ? mount.controllers.empty() : true);
    CHECK(text.find(mount.mount_point) != std::string_view::npos);
  }
  for (const char* controller : {"", "memory", "pids", "cpu"})
    if (const auto path = sandbox::ParseCgroupPath(text, controller))
      CHECK(text.find(*path) != std::string_view::npos);
  return 0;
}
