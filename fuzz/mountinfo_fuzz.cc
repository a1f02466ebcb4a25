// Whatever the mounts of a sandbox look like, one more that can be written is seen; and a field of
// a status text is a part of it.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "base/check.h"
#include "sandbox/verify.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cofferdam;
  const std::string text(reinterpret_cast<const char*>(data), size);
  sandbox::LaunchRequest request{};
  request.mount_count = 1;
  std::strcpy(request.mounts[0].target, "/workspace");
  static_cast<void>(sandbox::FaultInMounts(text, request));
  for (const char* line : {"9 1 0:9 / /etc rw,nosuid,nodev - tmpfs t rw\n",
                           "9 1 0:9 / /tmp rw,nodev - tmpfs t rw\n", "9 1 0:9\n"})
    CHECK(!sandbox::FaultInMounts(text + "\n" + line, request).empty());
  const std::string_view value = sandbox::StatusField(text, "Seccomp");
  CHECK(value.empty() || text.find(value) != std::string::npos);
  CHECK(value.find('\n') == std::string_view::npos);
  return 0;
}
