// UTF-8 as Unicode 15 table 3-7 defines it: no overlong forms, no surrogates, nothing above
// U+10FFFF.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace cofferdam {

bool IsValidUtf8(std::string_view bytes);

/// The bytes as valid UTF-8: each maximal ill-formed part is replaced by U+FFFD.
std::string ToValidUtf8(std::string_view bytes);

/// The longest prefix of valid UTF-8 `text` that has at most `max_bytes` bytes and ends between
/// characters.
std::string_view Utf8Prefix(std::string_view text, std::size_t max_bytes);

/// The longest such suffix.
std::string_view Utf8Suffix(std::string_view text, std::size_t max_bytes);

/// The number of trailing bytes that begin a character which `bytes` cuts off (0 to 3): what a
/// stream decoder has to keep for the next chunk.
std::size_t Utf8IncompleteTail(std::string_view bytes);

}  // namespace cofferdam
