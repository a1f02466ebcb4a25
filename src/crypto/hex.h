// Bytes as hexadecimal digits. Pure; safe to call from any thread.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace cofferdam::crypto {

/// Two lower-case digits a byte, in order. Not constant-time: not for secrets.
std::string HexEncode(std::span<const std::uint8_t> bytes);

/// The bytes; takes digits of either case. ErrorCode::kMalformed for an odd number of digits or
/// anything that is not one.
Result<std::vector<std::uint8_t>> HexDecode(std::string_view digits);

}  // namespace cofferdam::crypto
