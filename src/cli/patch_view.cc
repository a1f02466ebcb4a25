#include "cli/patch_view.h"

#include <stdlib.h>

#include "base/utf8.h"
#include "cli/terminal.h"

namespace cofferdam::cli {
namespace {

constexpr const char* kBold = "\x1b[1m";
constexpr const char* kRed = "\x1b[31m";
constexpr const char* kGreen = "\x1b[32m";
constexpr const char* kCyan = "\x1b[36m";
constexpr const char* kPlain = "\x1b[m";

/// Empty: no colour.
std::string_view ColourOf(std::string_view line) {
  if (line.starts_with("diff ") || line.starts_with("--- ") || line.starts_with("+++ "))
    return kBold;
  if (line.starts_with("@@")) return kCyan;
  if (line.starts_with('+')) return kGreen;
  if (line.starts_with('-')) return kRed;
  return {};
}

}  // namespace

std::string PatchForTerminal(std::string_view patch, bool colours) {
  std::string text;
  while (!patch.empty()) {
    const std::size_t end = patch.find('\n');
    const std::string_view line = patch.substr(0, end);
    const std::string_view colour = colours ? ColourOf(line) : std::string_view();
    text += colour;
    text += ForTerminal(ToValidUtf8(line));
    if (!colour.empty()) text += kPlain;
    if (end == std::string_view::npos) break;
    text += '\n';
    patch.remove_prefix(end + 1);
  }
  return text;
}

bool WantsColours() {
  const char* no_colour = ::getenv("NO_COLOR");
  const char* term = ::getenv("TERM");
  return (no_colour == nullptr || *no_colour == '\0') && term != nullptr &&
         std::string_view(term) != "dumb";
}

}  // namespace cofferdam::cli
