// Cutting kernel text into parts. The parts point into the text.
#pragma once

#include <string_view>
#include <vector>

namespace cofferdam {

/// Every part between separators, empty ones too: "a,,b" has three. Never empty itself.
std::vector<std::string_view> Split(std::string_view text, char separator);

/// The parts that are not empty: "a  b" has two.
std::vector<std::string_view> SplitNonEmpty(std::string_view text, char separator);

}  // namespace cofferdam
