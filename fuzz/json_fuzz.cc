// What the strict reader accepts and the canonical writer can write is read back as an equal value
// with the same canonical text.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "json/canonical.h"
#include "json/json.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cofferdam;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const Result<json::Json> value = json::Parse(text);
  if (!value) return 0;
  CHECK(json::Parse(json::Dump(*value)) == *value);
  const Result<std::string> canonical = json::Canonical(*value);
  if (!canonical) return 0;
  const Result<json::Json> again = json::Parse(*canonical);
  CHECK(again && *again == *value);
  CHECK(json::Canonical(*again) == *canonical);
  return 0;
}
