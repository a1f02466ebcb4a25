// The canonical form of JSON, over which hashes and signatures are made.
//
// Format: RFC 8785 (JSON Canonicalization Scheme). Functions are pure and safe to call from any
// thread.
#pragma once

#include <cstdint>
#include <string>

#include "base/error.h"
#include "json/json.h"

namespace cofferdam::json {

/// The largest magnitude up to which a double holds every integer, 2^53.
inline constexpr std::int64_t kMaxExactInteger = std::int64_t{1} << 53;

/// The nesting that Canonical accepts. Twice that of Parse's default, so that what came from
/// outside can be put into a document of ours.
inline constexpr std::size_t kMaxCanonicalDepth = 256;

/// The RFC 8785 text of `value`: no white space, keys in the order of their UTF-16 units, shortest
/// numbers as ECMAScript writes them, -0 as 0, the fewest escapes. Parsing the text gives an equal
/// value, whose canonical text is the same.
///
/// ErrorCode::kInvalidArgument for what has no such text or would be read back as something else:
/// NaN and infinities, whole numbers beyond kMaxExactInteger that would be written without an
/// exponent, invalid UTF-8, a nesting deeper than kMaxCanonicalDepth.
Result<std::string> Canonical(const Json& value);

/// A finite number as ECMAScript's Number::toString(10) writes it; -0 becomes "0".
std::string CanonicalNumber(double value);

}  // namespace cofferdam::json
