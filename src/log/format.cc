#include "log/format.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/check.h"
#include "base/clock.h"
#include "base/utf8.h"

namespace cofferdam::log {
namespace {

using json::Json;

// A character that can break a line or change how a terminal shows others.
struct Unsafe {
  std::size_t bytes = 0;  // its length in UTF-8; 0 when the text begins with a safe character
  unsigned code_point = 0;
};

Unsafe UnsafeAt(std::string_view text) {
  const auto byte = [&](std::size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u;
  };
  const unsigned first = byte(0);
  if (first < 0x20 || first == 0x7F) return {1, first};
  if (first == 0xC2 && byte(1) < 0xA0) return {2, byte(1)};
  if (first == 0xD8 && byte(1) == 0x9C) return {2, 0x61C};
  if (first != 0xE2) return {};
  const unsigned code_point = 0x2000 + ((byte(1) & 0x3F) << 6) + (byte(2) & 0x3F);
  const bool marks_direction = code_point == 0x200E || code_point == 0x200F ||
                               (code_point >= 0x202A && code_point <= 0x202E) ||
                               (code_point >= 0x2066 && code_point <= 0x2069);
  const bool separates_lines = code_point == 0x2028 || code_point == 0x2029;
  return marks_direction || separates_lines ? Unsafe{3, code_point} : Unsafe{};
}

// Valid inside JSON strings too, where it names the same characters.
std::string Escaped(std::string_view text) {
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string safe;
  safe.reserve(text.size());
  while (!text.empty()) {
    const Unsafe unsafe = UnsafeAt(text);
    if (unsafe.bytes == 0) {
      safe += text[0];
    } else if (unsafe.code_point == '\n') {
      safe += "\\n";
    } else if (unsafe.code_point == '\r') {
      safe += "\\r";
    } else if (unsafe.code_point == '\t') {
      safe += "\\t";
    } else {
      safe += "\\u";
      for (int shift = 12; shift >= 0; shift -= 4) safe += kHex[unsafe.code_point >> shift & 0xF];
    }
    text.remove_prefix(std::max<std::size_t>(unsafe.bytes, 1));
  }
  return safe;
}

// Valid UTF-8 of bounded length.
std::string Bounded(std::string_view text) {
  if (text.size() <= kMaxTextBytes) return ToValidUtf8(text);
  const std::string_view kept = text.substr(0, kMaxTextBytes);
  const std::size_t whole = kept.size() - Utf8IncompleteTail(kept);
  return ToValidUtf8(kept.substr(0, whole)) + "… (" + std::to_string(text.size() - whole) +
         " bytes more)";
}

std::string JsonText(const Json& value) {
  if (value.is_string()) return json::Dump(Bounded(value.get_ref<const std::string&>()));
  std::string text = json::Dump(value);
  return text.size() <= kMaxTextBytes ? text : json::Dump(Bounded(text));
}

constexpr std::array<std::string_view, 4> kReserved = {"time", "level", "subsystem", "message"};

std::string KeyOf(const Field& field) {
  const bool reserved = std::ranges::find(kReserved, field.key) != kReserved.end();
  return (reserved ? "fields." : "") + Bounded(field.key);
}

// `"key":value` of each field, separated by commas.
std::string Members(std::span<const Field> fields) {
  std::vector<std::pair<std::string, const Field*>> members;
  for (const Field& field : fields) {
    std::string key = KeyOf(field);
    const auto same = std::ranges::find(
        members, key, [](const auto& member) -> const std::string& { return member.first; });
    if (same != members.end())
      same->second = &field;
    else
      members.emplace_back(std::move(key), &field);
  }
  std::string text;
  for (const auto& [key, field] : members) {
    if (!text.empty()) text += ',';
    text += json::Dump(key) + ":" + JsonText(field->value.ToJson());
  }
  return text;
}

}  // namespace

Json Value::ToJson() const {
  return std::visit(
      [](const auto& value) -> Json {
        if constexpr (std::is_same_v<decltype(value), const Json* const&>)
          return *value;
        else
          return value;
      },
      value_);
}

std::string FormatJson(const Record& record) {
  std::string line = "{\"time\":" + json::Dump(FormatUtc(record.unix_millis)) +
                     ",\"level\":" + json::Dump(LevelName(record.level)) +
                     ",\"subsystem\":" + json::Dump(Bounded(record.subsystem)) +
                     ",\"message\":" + json::Dump(Bounded(record.message));
  if (!record.fields.empty()) line += "," + Members(record.fields);
  return Escaped(line + "}");
}

std::string FormatCompact(const Record& record) {
  std::string line = "[" + Bounded(record.subsystem) + "] " + Bounded(record.message);
  if (!record.fields.empty()) line += " {" + Members(record.fields) + "}";
  return Escaped(line);
}

std::string FormatPretty(const Record& record) {
  std::string level(LevelName(record.level));
  std::ranges::transform(level, level.begin(),
                         [](char c) { return static_cast<char>(c - 'a' + 'A'); });
  level.resize(5, ' ');
  return FormatUtc(record.unix_millis) + " [" + level + "] " + FormatCompact(record);
}

}  // namespace cofferdam::log
