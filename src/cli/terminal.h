// Text on its way to a person's terminal. Pure functions.
#pragma once

#include <string>
#include <string_view>

namespace cofferdam::cli {

/// The text without what a terminal could take for a command: control characters other than tab and
/// line feed become U+FFFD. `text` is valid UTF-8.
std::string ForTerminal(std::string_view text);

/// At most `columns` bytes on one line: line feeds and tabs become blanks, and a longer text ends
/// in
/// "...".
std::string OneLine(std::string_view text, std::size_t columns);

/// "0.4 ms", "12 ms", "3.4 s", "2 min 5 s".
std::string Duration(double milliseconds);

}  // namespace cofferdam::cli
