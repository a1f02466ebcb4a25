// What git says in a sandbox, where hostile trees are compared: whatever it is, it is read within
// bounds, and a patch keeps every line but those that name files.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "projects/patch_text.h"

namespace {

using namespace cofferdam;

std::vector<std::string_view> Lines(std::string_view text) {
  std::vector<std::string_view> lines;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::string patch = projects::WithUsualPrefixes(text);
  const auto before = Lines(text);
  const auto after = Lines(patch);
  CHECK(before.size() == after.size());
  for (std::size_t i = 0; i < before.size(); ++i)
    CHECK(before[i] == after[i] || before[i].starts_with("diff --git "));
  CHECK(projects::WithUsualPrefixes(patch) == patch);

  const auto counts = projects::ParseNumstat(text);
  if (!counts) {
    CHECK(counts.error().code == ErrorCode::kMalformed);
    return 0;
  }
  std::vector<projects::LineCount> list;
  for (const auto& [path, count] : *counts) list.push_back(count);
  const std::string table = projects::StatTable(list, 80);
  CHECK(Lines(table).size() == (list.empty() ? 1 : list.size() + 2));
  return 0;
}
