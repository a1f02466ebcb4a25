// What a message can carry besides its text.
#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>

#include "json/json.h"

namespace cofferdam::log {

/// A type that guards a secret: it gives its value only through Reveal(). Such a type cannot be
/// logged; what it reveals must not be.
template <typename T>
concept Secret = requires(const T& value) { value.Reveal(); };

/// The value of a field: text, a number, true or false, or a Json document. Borrows text and
/// documents, so it is made in the call that logs it and lives no longer. Nothing else converts to
/// it, pointers and secrets least of all.
class Value {
 public:
  Value(const char* text) : value_(std::string_view(text)) {}
  Value(std::string_view text) : value_(text) {}
  Value(const std::string& text) : value_(std::string_view(text)) {}
  template <std::same_as<bool> T>
  Value(T truth) : value_(truth) {}
  template <std::signed_integral T>
  Value(T number) : value_(static_cast<std::int64_t>(number)) {}
  template <std::unsigned_integral T>
    requires(!std::same_as<T, bool>)
  Value(T number) : value_(static_cast<std::uint64_t>(number)) {}
  template <std::floating_point T>
  Value(T number) : value_(static_cast<double>(number)) {}
  template <std::same_as<json::Json> T>
  Value(const T& document) : value_(&document) {}
  template <Secret T>
  Value(const T&) = delete;

  /// A copy as JSON.
  json::Json ToJson() const;

 private:
  std::variant<std::string_view, bool, std::int64_t, std::uint64_t, double, const json::Json*>
      value_;
};

template <typename T>
concept Loggable = std::is_constructible_v<Value, T>;

struct Field {
  std::string_view key;
  Value value;
};

}  // namespace cofferdam::log
