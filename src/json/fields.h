// Reading the fields of a JSON object that came from outside, with errors that say which field is
// wrong and how. Every function gives ErrorCode::kMalformed when `object` is not an object, and
// when the field is missing (unless optional) or has another type; a message names the field and
// never its value. Pure; safe to call from any thread.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "json/json.h"

namespace cofferdam::json {

/// Inclusive bounds of an integer field.
struct IntRange {
  std::int64_t min = std::numeric_limits<std::int64_t>::min();
  std::int64_t max = std::numeric_limits<std::int64_t>::max();
};

Result<std::string> GetString(const Json& object, std::string_view key);
Result<bool> GetBool(const Json& object, std::string_view key);
/// Takes 3 and 3.0, not 3.5; outside `range` is an error that names the bounds.
Result<std::int64_t> GetInt(const Json& object, std::string_view key, IntRange range = {});
/// The nested object or array itself; valid as long as `object` is and is not changed.
Result<const Json*> GetObject(const Json& object, std::string_view key);
Result<const Json*> GetArray(const Json& object, std::string_view key);

/// The same, with nullopt for a field that is absent or null.
Result<std::optional<std::string>> GetOptionalString(const Json& object, std::string_view key);
Result<std::optional<bool>> GetOptionalBool(const Json& object, std::string_view key);
Result<std::optional<std::int64_t>> GetOptionalInt(const Json& object, std::string_view key,
                                                   IntRange range = {});

}  // namespace cofferdam::json
