#include "json/fields.h"

#include <cmath>
#include <utility>

#include "json/canonical.h"

namespace cofferdam::json {
namespace {

std::unexpected<Error> Wrong(std::string_view key, std::string_view what) {
  return Err(ErrorCode::kMalformed, "field '" + std::string(key) + "' " + std::string(what));
}

// Null when the field is absent.
Result<const Json*> Find(const Json& object, std::string_view key) {
  if (!object.is_object())
    return Err(ErrorCode::kMalformed,
               "no object where one with the field '" + std::string(key) + "' should be");
  const auto member = object.find(key);
  return member == object.end() ? nullptr : &*member;
}

Result<const Json*> Require(const Json& object, std::string_view key) {
  ASSIGN_OR_RETURN(const Json* value, Find(object, key));
  if (value == nullptr) return Wrong(key, "is missing");
  return value;
}

Result<std::string> AsString(const Json& value, std::string_view key) {
  if (!value.is_string()) return Wrong(key, "is not a string");
  return value.get_ref<const std::string&>();
}

Result<bool> AsBool(const Json& value, std::string_view key) {
  if (!value.is_boolean()) return Wrong(key, "is not true or false");
  return value.get_ref<const bool&>();
}

Result<std::int64_t> AsInt(const Json& value, std::string_view key, IntRange range) {
  const auto outside = [&] {
    return Wrong(
        key, "is not between " + std::to_string(range.min) + " and " + std::to_string(range.max));
  };
  std::int64_t number = 0;
  if (value.is_number_unsigned()) {
    const auto wide = value.get_ref<const std::uint64_t&>();
    if (wide > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
      return outside();
    number = static_cast<std::int64_t>(wide);
  } else if (value.is_number_integer()) {
    number = value.get_ref<const std::int64_t&>();
  } else if (value.is_number_float()) {
    const double real = value.get_ref<const double&>();
    if (std::trunc(real) != real) return Wrong(key, "is not a whole number");
    if (std::abs(real) > static_cast<double>(kMaxExactInteger)) return outside();
    number = static_cast<std::int64_t>(real);
  } else {
    return Wrong(key, "is not a whole number");
  }
  if (number < range.min || number > range.max) return outside();
  return number;
}

// By hand, because expected<bool> does not convert to expected<optional<bool>>.
template <typename T>
Result<std::optional<T>> Present(Result<T> value) {
  if (!value) return std::unexpected(std::move(value).error());
  return std::optional<T>(std::move(*value));
}

bool IsAbsent(const Json* value) { return value == nullptr || value->is_null(); }

}  // namespace

Result<std::string> GetString(const Json& object, std::string_view key) {
  ASSIGN_OR_RETURN(const Json* value, Require(object, key));
  return AsString(*value, key);
}

Result<bool> GetBool(const Json& object, std::string_view key) {
  ASSIGN_OR_RETURN(const Json* value, Require(object, key));
  return AsBool(*value, key);
}

Result<std::int64_t> GetInt(const Json& object, std::string_view key, IntRange range) {
  ASSIGN_OR_RETURN(const Json* value, Require(object, key));
  return AsInt(*value, key, range);
}

Result<const Json*> GetObject(const Json& object, std::string_view key) {
  ASSIGN_OR_RETURN(const Json* value, Require(object, key));
  if (!value->is_object()) return Wrong(key, "is not an object");
  return value;
}

Result<const Json*> GetArray(const Json& object, std::string_view key) {
  ASSIGN_OR_RETURN(const Json* value, Require(object, key));
  if (!value->is_array()) return Wrong(key, "is not an array");
  return value;
}

Result<std::optional<std::string>> GetOptionalString(const Json& object, std::string_view key) {
  ASSIGN_OR_RETURN(const Json* value, Find(object, key));
  if (IsAbsent(value)) return std::nullopt;
  return Present(AsString(*value, key));
}

Result<std::optional<bool>> GetOptionalBool(const Json& object, std::string_view key) {
  ASSIGN_OR_RETURN(const Json* value, Find(object, key));
  if (IsAbsent(value)) return std::nullopt;
  return Present(AsBool(*value, key));
}

Result<std::optional<std::int64_t>> GetOptionalInt(const Json& object, std::string_view key,
                                                   IntRange range) {
  ASSIGN_OR_RETURN(const Json* value, Find(object, key));
  if (IsAbsent(value)) return std::nullopt;
  return Present(AsInt(*value, key, range));
}

}  // namespace cofferdam::json
