#include "json/canonical.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <string_view>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/utf8.h"

namespace cofferdam::json {
namespace {

// Whether `a` stands before `b` when both are compared by UTF-16 units. Valid UTF-8 compares alike
// by bytes, except that characters above U+FFFF (first byte from F0) are written with surrogates in
// UTF-16 and so stand before U+E000 to U+FFFF (first byte EE or EF).
bool LessByUtf16(std::string_view a, std::string_view b) {
  const auto [at_a, at_b] = std::ranges::mismatch(a, b);
  if (at_a == a.end() || at_b == b.end()) return a.size() < b.size();
  const auto byte_a = static_cast<unsigned char>(*at_a);
  const auto byte_b = static_cast<unsigned char>(*at_b);
  const bool surrogates_a = byte_a >= 0xF0;
  const bool surrogates_b = byte_b >= 0xF0;
  if (byte_a >= 0xEE && byte_b >= 0xEE && surrogates_a != surrogates_b) return surrogates_a;
  return byte_a < byte_b;
}

class Writer {
 public:
  Status Write(const Json& value, std::size_t depth) {
    switch (value.type()) {
      case Json::value_t::null:
        text_ += "null";
        return {};
      case Json::value_t::boolean:
        text_ += value.get_ref<const bool&>() ? "true" : "false";
        return {};
      case Json::value_t::number_unsigned:
        return WriteUnsigned(value.get_ref<const std::uint64_t&>());
      case Json::value_t::number_integer:
        return WriteInteger(value.get_ref<const std::int64_t&>());
      case Json::value_t::number_float:
        return WriteDouble(value.get_ref<const double&>());
      case Json::value_t::string:
        return WriteString(value.get_ref<const std::string&>());
      case Json::value_t::array:
        return WriteArray(value.get_ref<const Json::array_t&>(), depth + 1);
      case Json::value_t::object:
        return WriteObject(value.get_ref<const Json::object_t&>(), depth + 1);
      case Json::value_t::binary:
      case Json::value_t::discarded:
        break;
    }
    return Err(ErrorCode::kInvalidArgument, "no canonical JSON: a value that JSON does not have");
  }

  std::string Take() && { return std::move(text_); }

 private:
  static std::unexpected<Error> TooLargeInteger() {
    return Err(ErrorCode::kInvalidArgument, "no canonical JSON: an integer beyond 2^53",
               "write it as a string");
  }

  Status WriteUnsigned(std::uint64_t value) {
    if (value > static_cast<std::uint64_t>(kMaxExactInteger)) return TooLargeInteger();
    text_ += std::to_string(value);
    return {};
  }

  Status WriteInteger(std::int64_t value) {
    if (value > kMaxExactInteger || value < -kMaxExactInteger) return TooLargeInteger();
    text_ += std::to_string(value);
    return {};
  }

  Status WriteDouble(double value) {
    if (!std::isfinite(value))
      return Err(ErrorCode::kInvalidArgument, "no canonical JSON: a number that is not finite");
    std::string number = CanonicalNumber(value);
    // Digits alone are read back as an integer, and there one that large is refused.
    const bool reads_as_integer = number.find_first_of(".e") == std::string::npos;
    if (reads_as_integer && std::abs(value) > static_cast<double>(kMaxExactInteger))
      return TooLargeInteger();
    text_ += number;
    return {};
  }

  Status WriteString(std::string_view value) {
    if (!IsValidUtf8(value))
      return Err(ErrorCode::kInvalidArgument, "no canonical JSON: a string is not valid UTF-8");
    text_ += '"';
    for (const char c : value) WriteCharacter(c);
    text_ += '"';
    return {};
  }

  void WriteCharacter(char c) {
    constexpr std::string_view kShort = "\b\t\n\f\r\"\\";
    constexpr std::string_view kLetters = "btnfr\"\\";
    constexpr std::string_view kHex = "0123456789abcdef";
    const auto byte = static_cast<unsigned char>(c);
    if (const std::size_t i = kShort.find(c); i != std::string_view::npos) {
      text_ += '\\';
      text_ += kLetters[i];
    } else if (byte < 0x20) {
      text_ += "\\u00";
      text_ += kHex[byte >> 4];
      text_ += kHex[byte & 0xF];
    } else {
      text_ += c;
    }
  }

  static Status CheckDepth(std::size_t depth) {
    if (depth <= kMaxCanonicalDepth) return {};
    return Err(ErrorCode::kInvalidArgument, "no canonical JSON: too deep a nesting");
  }

  Status WriteArray(const Json::array_t& array, std::size_t depth) {
    RETURN_IF_ERROR(CheckDepth(depth));
    text_ += '[';
    bool first = true;
    for (const Json& element : array) {
      if (!std::exchange(first, false)) text_ += ',';
      RETURN_IF_ERROR(Write(element, depth));
    }
    text_ += ']';
    return {};
  }

  Status WriteObject(const Json::object_t& object, std::size_t depth) {
    RETURN_IF_ERROR(CheckDepth(depth));
    std::vector<const Json::object_t::value_type*> members;
    members.reserve(object.size());
    for (const auto& member : object) members.push_back(&member);
    std::ranges::sort(members, LessByUtf16,
                      [](const auto* member) { return std::string_view(member->first); });
    text_ += '{';
    bool first = true;
    for (const auto* member : members) {
      if (!std::exchange(first, false)) text_ += ',';
      RETURN_IF_ERROR(WriteString(member->first));
      text_ += ':';
      RETURN_IF_ERROR(Write(member->second, depth));
    }
    text_ += '}';
    return {};
  }

  std::string text_;
};

}  // namespace

Result<std::string> Canonical(const Json& value) {
  Writer writer;
  RETURN_IF_ERROR(writer.Write(value, 0));
  return std::move(writer).Take();
}

std::string CanonicalNumber(double value) {
  CHECK(std::isfinite(value));
  if (value == 0) return "0";
  // "d.ddde±xx" with the fewest digits that read back as the same number.
  char buffer[32];
  const auto [end, error] = std::to_chars(std::begin(buffer), std::end(buffer), std::abs(value),
                                          std::chars_format::scientific);
  CHECK(error == std::errc());
  const std::string_view scientific(buffer, end);
  const std::size_t mark = scientific.find('e');
  std::string digits(scientific.substr(0, mark));
  std::erase(digits, '.');
  // The names of ECMA-262, Number::toString: the value is 0.digits times 10^n, with k digits.
  const int n = std::atoi(std::string(scientific.substr(mark + 1)).c_str()) + 1;
  const int k = static_cast<int>(digits.size());
  const std::string sign = value < 0 ? "-" : "";
  if (n >= k && n <= 21) return sign + digits + std::string(n - k, '0');
  if (n > 0 && n <= 21) return sign + digits.substr(0, n) + "." + digits.substr(n);
  if (n > -6 && n <= 0) return sign + "0." + std::string(-n, '0') + digits;
  if (k > 1) digits.insert(1, ".");
  return sign + digits + (n > 0 ? "e+" : "e-") + std::to_string(std::abs(n - 1));
}

}  // namespace cofferdam::json
