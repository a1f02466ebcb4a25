// YAML files as JSON values: what people write by hand, read strictly.
#pragma once

#include <cstddef>
#include <string_view>

#include "base/error.h"
#include "json/json.h"

namespace cofferdam::model {

inline constexpr std::size_t kMaxYamlBytes = 256 << 10;

/// The one document in `text` as JSON; an empty text is null. Plain scalars become null, booleans
/// and numbers as in YAML's core schema (decimal only), all others strings. kMalformed, with the
/// line, for anchors and aliases, tags, duplicate keys, keys that are no scalars, nesting deeper
/// than 64, a second document, control characters and ill-formed UTF-8; kTooLarge above
/// kMaxYamlBytes. Pure.
Result<json::Json> ParseYaml(std::string_view text);

}  // namespace cofferdam::model
