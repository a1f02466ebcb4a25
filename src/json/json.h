// JSON documents: a strict reader and a writer that cannot fail. The value type is nlohmann::json,
// whose header is only ever included through this one. Nothing declared here throws; the members of
// Json itself do when they are asked for what is not there (at(), get<T>() on another type), so
// documents from outside are read with fields.h.
//
// Format: RFC 8259, narrowed as Parse says. Functions are pure and safe to call from any thread.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "base/error.h"

namespace cofferdam::json {

/// Objects keep their keys in byte order; integers keep their 64 bits, apart from doubles.
using Json = nlohmann::json;

/// What Parse accepts at most.
struct Limits {
  std::size_t max_bytes = std::size_t{16} * 1024 * 1024;
  /// Arrays and objects within each other; a scalar document has depth 0.
  std::size_t max_depth = 128;
};

/// The one value that `text` is. ErrorCode::kMalformed, with what is wrong and at which byte
/// (counted from 0), for anything that another reader could understand differently:
/// - duplicate keys, bytes after the value, a byte order mark, a NUL byte;
/// - invalid UTF-8, and \u escapes that are lone surrogates;
/// - NaN, Infinity, numbers beyond a double, integers beyond 64 bits;
/// - more bytes or a deeper nesting than `limits`.
/// The message never quotes the text, which may be secret.
Result<Json> Parse(std::string_view text, const Limits& limits = {});

/// Compact text on one line. Never fails: invalid UTF-8 becomes U+FFFD and a NaN or infinite number
/// becomes null.
std::string Dump(const Json& value);

}  // namespace cofferdam::json
