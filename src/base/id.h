// Identifiers that sort by time: UUID version 7, RFC 9562 section 5.7.
#pragma once

#include <string>
#include <string_view>

#include "base/clock.h"

namespace cofferdam {

/// A fresh UUIDv7 in its 36-character lower-case form; time from `clock`, the rest from the
/// kernel's random source. Thread-safe.
std::string NewId(const Clock& clock);

/// True for 36 characters of a version 7 UUID as NewId writes them.
bool IsId(std::string_view text);

/// The rule for workspace and session names: 1 to 128 of A-Z a-z 0-9 _ -. Nothing that passes can
/// be a path, an option or a key with a meaning of its own ("__proto__" passes and is harmless).
bool IsName(std::string_view text);

}  // namespace cofferdam
