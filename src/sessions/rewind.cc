#include "sessions/rewind.h"

#include <algorithm>

#include "json/fields.h"

namespace cofferdam::sessions {

using json::Json;

Json RewindEntry(const std::string& rewind_id, const std::string& keep, std::int64_t turn) {
  return {{"type", kRewindType}, {"run", rewind_id}, {"keep", keep}, {"turn", turn}};
}

Result<std::vector<Json>> EffectiveEntries(const std::vector<Json>& entries) {
  std::vector<Json> effective;
  for (const Json& entry : entries) {
    ASSIGN_OR_RETURN(const std::string type, json::GetString(entry, "type"));
    if (type != kRewindType) {
      effective.push_back(entry);
      continue;
    }
    const auto keep = json::GetString(entry, "keep");
    if (!keep) return Err(ErrorCode::kCorrupt, "a rewind that keeps nothing that is named");
    auto end = effective.begin();
    if (!keep->empty()) {
      end = std::ranges::find_if(effective, [&keep](const Json& candidate) {
        return json::GetString(candidate, "id") == *keep;
      });
      if (end == effective.end())
        return Err(ErrorCode::kCorrupt, "a rewind to an entry that does not count");
      ++end;
    }
    effective.erase(end, effective.end());
  }
  return effective;
}

}  // namespace cofferdam::sessions
