// Taking back a part of a conversation. A transcript is only ever appended to, so a rewind is an
// entry, too, and what it takes back stays on disk:
//
//   {"type": "rewind", "run": "<the rewind's id>", "keep": "<id of an entry, or empty>", "turn": N}
//
// Pure functions; safe to use from any thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "json/json.h"

namespace cofferdam::sessions {

inline constexpr char kRewindType[] = "rewind";

/// The entry, for Session::Append. `keep` is the id of the last entry that still counts, which ends
/// turn `turn`; empty (and 0) when nothing is to count any more.
json::Json RewindEntry(const std::string& rewind_id, const std::string& keep, std::int64_t turn);

/// The entries that count: without those that were taken back, and without the rewinds themselves.
/// ErrorCode::kCorrupt for a rewind to an entry that does not count.
Result<std::vector<json::Json>> EffectiveEntries(const std::vector<json::Json>& entries);

}  // namespace cofferdam::sessions
