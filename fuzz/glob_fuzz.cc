// A glob becomes a regular expression that RE2 takes, or refuses without harm; one of ordinary
// characters fits itself and nothing longer.
#include <re2/re2.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/check.h"
#include "worker/search.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cofferdam;
  constexpr std::size_t kMaxPatternBytes = 4096;
  if (size > kMaxPatternBytes) return 0;
  const std::string glob(reinterpret_cast<const char*>(data), size);
  const RE2 regex(worker::GlobToRegex(glob), RE2::Quiet);
  if (!regex.ok()) return 0;
  static_cast<void>(RE2::FullMatch("some/path.cc", regex));
  if (glob.find_first_of("*?[{") == std::string::npos) {
    CHECK(RE2::FullMatch(glob, regex));
    CHECK(!RE2::FullMatch(glob + "x", regex));
  }
  return 0;
}
