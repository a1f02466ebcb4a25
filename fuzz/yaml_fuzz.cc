// What is read from YAML is a JSON value that can be written and read back, and reading it as a
// script ends.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "json/json.h"
#include "model/script.h"
#include "model/yaml.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cofferdam;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  static_cast<void>(model::ParseScript(text));
  const auto value = model::ParseYaml(text);
  if (value) CHECK(json::Parse(json::Dump(*value)) == *value);
  return 0;
}
