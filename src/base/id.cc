#include "base/id.h"

#include <sys/random.h>

#include <algorithm>
#include <array>
#include <cstdint>

#include "base/check.h"

namespace cofferdam {
namespace {

constexpr bool IsHyphenAt(std::size_t i) { return i == 8 || i == 13 || i == 18 || i == 23; }
constexpr bool IsLowerHex(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); }

}  // namespace

std::string NewId(const Clock& clock) {
  std::array<std::uint8_t, 16> bytes;
  CHECK(::getrandom(bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
  const auto millis = static_cast<std::uint64_t>(clock.UnixMillis());
  for (int i = 0; i < 6; ++i) bytes[i] = static_cast<std::uint8_t>(millis >> (8 * (5 - i)));
  bytes[6] = static_cast<std::uint8_t>((bytes[6] & 0x0f) | 0x70);
  bytes[8] = static_cast<std::uint8_t>((bytes[8] & 0x3f) | 0x80);
  constexpr char kHex[] = "0123456789abcdef";
  std::string text;
  text.reserve(36);
  for (const std::uint8_t byte : bytes) {
    if (IsHyphenAt(text.size())) text += '-';
    text += kHex[byte >> 4];
    text += kHex[byte & 0xf];
  }
  return text;
}

bool IsId(std::string_view text) {
  if (text.size() != 36 || text[14] != '7') return false;
  for (std::size_t i = 0; i < text.size(); ++i)
    if (IsHyphenAt(i) ? text[i] != '-' : !IsLowerHex(text[i])) return false;
  return true;
}

bool IsName(std::string_view text) {
  const auto allowed = [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
  };
  return !text.empty() && text.size() <= 128 && std::ranges::all_of(text, allowed);
}

}  // namespace cofferdam
