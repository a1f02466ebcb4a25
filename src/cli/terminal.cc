#include "cli/terminal.h"

#include <cstdio>

#include "base/utf8.h"

namespace cofferdam::cli {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

/// The length of a control character at the start of `text`, or 0: C0 and DEL have one byte, C1
/// (U+0080 to U+009F) two in UTF-8.
std::size_t ControlLength(std::string_view text) {
  const auto byte = static_cast<unsigned char>(text[0]);
  if (byte == '\n' || byte == '\t') return 0;
  if (byte < 0x20 || byte == 0x7F) return 1;
  if (byte == 0xC2 && text.size() > 1 && static_cast<unsigned char>(text[1]) < 0xA0) return 2;
  return 0;
}

}  // namespace

std::string ForTerminal(std::string_view text) {
  std::string safe;
  safe.reserve(text.size());
  while (!text.empty()) {
    const std::size_t control = ControlLength(text);
    if (control == 0)
      safe += text[0];
    else
      safe += kReplacement;
    text.remove_prefix(control == 0 ? 1 : control);
  }
  return safe;
}

std::string OneLine(std::string_view text, std::size_t columns) {
  std::string line(Utf8Prefix(text, columns));
  if (line.size() < text.size()) {
    line = Utf8Prefix(text, columns > 3 ? columns - 3 : 0);
    line += "...";
  }
  line = ForTerminal(line);
  for (char& c : line)
    if (c == '\n' || c == '\t') c = ' ';
  return line;
}

std::string Duration(double milliseconds) {
  char text[64];
  if (milliseconds < 9.95)
    std::snprintf(text, sizeof(text), "%.1f ms", milliseconds);
  else if (milliseconds < 999.5)
    std::snprintf(text, sizeof(text), "%.0f ms", milliseconds);
  else if (milliseconds < 59'950)
    std::snprintf(text, sizeof(text), "%.1f s", milliseconds / 1000);
  else
    std::snprintf(text, sizeof(text), "%d min %d s", static_cast<int>(milliseconds / 60'000),
                  static_cast<int>(milliseconds / 1000) % 60);
  return text;
}

}  // namespace cofferdam::cli
