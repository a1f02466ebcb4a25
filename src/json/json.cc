#include "json/json.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <optional>
#include <utility>
#include <vector>

#include "base/check.h"

namespace cofferdam::json {
namespace {

// Walks over the text and tells the builder how far the lexer has come, because the callbacks of
// nlohmann's reader carry no position.
class TrackingIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  TrackingIterator(const char* at, const char** reached) : at_(at), reached_(reached) {}
  reference operator*() const { return *at_; }
  TrackingIterator& operator++() {
    *reached_ = ++at_;
    return *this;
  }
  TrackingIterator operator++(int) {
    TrackingIterator before = *this;
    ++*this;
    return before;
  }
  bool operator==(const TrackingIterator& other) const { return at_ == other.at_; }

 private:
  const char* at_;
  const char** reached_;
};

std::unexpected<Error> Malformed(std::string_view what, std::size_t byte) {
  return Err(ErrorCode::kMalformed,
             "not acceptable JSON: " + std::string(what) + " at byte " + std::to_string(byte));
}

// The middle of nlohmann's "[json.exception…] parse error at …: syntax error while parsing value -
// invalid literal; last read: '…'; expected …": the part that is about the error and holds no byte
// of the document.
std::string SyntaxReason(std::string_view what) {
  if (const std::size_t dash = what.find(" - "); dash != std::string_view::npos)
    what.remove_prefix(dash + 3);
  return std::string(what.substr(0, what.find("; last read: ")));
}

// Builds the document and stops at the first thing that is not allowed. The signatures are those
// that nlohmann::json::sax_parse calls; returning false ends the parse.
class Builder {
 public:
  Builder(std::string_view text, const Limits& limits) : text_(text), limits_(limits) {}

  bool null() { return Add(nullptr); }
  bool boolean(bool value) { return Add(value); }
  bool number_integer(std::int64_t value) { return Add(value); }
  bool number_unsigned(std::uint64_t value) { return Add(value); }
  bool number_float(double value, const std::string& token) {
    if (token.find_first_of(".eE") == std::string::npos)
      return Fail("an integer beyond 64 bits", Here());
    return Add(value);
  }
  bool string(std::string& value) { return Add(std::move(value)); }
  bool binary(std::vector<std::uint8_t>&) { CHECK(false && "JSON text has no binary values"); }
  bool start_object(std::size_t) { return Open(Json::object()); }
  bool start_array(std::size_t) { return Open(Json::array()); }
  bool end_object() { return Close(); }
  bool end_array() { return Close(); }
  bool key(std::string& name) {
    const auto [member, inserted] =
        open_.back()->get_ref<Json::object_t&>().try_emplace(std::move(name));
    if (!inserted) return Fail("a duplicate key", Here());
    member_ = &member->second;
    return true;
  }
  bool parse_error(std::size_t bytes_read, const std::string&, const Json::exception& error) {
    // The lexer counts the end of the text as a byte read.
    const std::size_t byte =
        std::min(bytes_read - std::min<std::size_t>(bytes_read, 1), text_.size());
    constexpr int kNumberOverflow = 406;
    return Fail(
        error.id == kNumberOverflow ? "a number beyond a double" : SyntaxReason(error.what()),
        byte);
  }

  const char** reached() { return &reached_; }
  Result<Json> Finish() && {
    if (error_) return std::unexpected(std::move(*error_));
    return std::move(root_);
  }

 private:
  // The lexer has read to the end of the current token and no further, except for a number, which
  // it only knows to be over by the byte after it.
  std::size_t Here() const { return static_cast<std::size_t>(reached_ - text_.data()) - 1; }

  bool Fail(std::string_view what, std::size_t byte) {
    error_ = Malformed(what, byte).error();
    return false;
  }

  Json* Place(Json&& value) {
    if (open_.empty()) return &(root_ = std::move(value));
    if (open_.back()->is_object()) return &(*member_ = std::move(value));
    auto& array = open_.back()->get_ref<Json::array_t&>();
    return &array.emplace_back(std::move(value));
  }
  bool Add(Json&& value) {
    Place(std::move(value));
    return true;
  }
  bool Open(Json&& container) {
    if (open_.size() == limits_.max_depth) return Fail("too deep a nesting", Here());
    // Stays valid while it is open: only the innermost container grows.
    open_.push_back(Place(std::move(container)));
    return true;
  }
  bool Close() {
    open_.pop_back();
    return true;
  }

  std::string_view text_;
  const Limits& limits_;
  const char* reached_ = text_.data();
  Json root_;
  std::vector<Json*> open_;
  Json* member_ = nullptr;
  std::optional<Error> error_;
};

}  // namespace

Result<Json> Parse(std::string_view text, const Limits& limits) {
  if (text.size() > limits.max_bytes)
    return Malformed("more than " + std::to_string(limits.max_bytes) + " bytes", limits.max_bytes);
  // nlohmann's lexer takes a NUL for the end of the text and skips a byte order mark.
  if (const std::size_t nul = text.find('\0'); nul != std::string_view::npos)
    return Malformed("a NUL", nul);
  if (text.starts_with("\xEF\xBB\xBF")) return Malformed("a byte order mark", 0);
  Builder builder(text, limits);
  // NOLINTNEXTLINE(bugprone-suspicious-stringview-data-usage): `end` bounds it
  const TrackingIterator begin(text.data(), builder.reached());
  const TrackingIterator end(text.data() + text.size(), builder.reached());
  static_cast<void>(Json::sax_parse(begin, end, &builder));  // The builder keeps what was wrong.
  return std::move(builder).Finish();
}

std::string Dump(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace cofferdam::json
