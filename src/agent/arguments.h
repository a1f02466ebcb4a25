// The parameters of a tool, declared once: the JSON Schema that the model sees and the check of
// what it sends come from the same list, so they cannot disagree.
//
// Values and pure functions; safe to use from any thread.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "json/json.h"

namespace cofferdam::agent {

enum class ParameterType { kString, kInteger, kBoolean };

/// One parameter of a tool.
struct Parameter {
  std::string name;
  ParameterType type = ParameterType::kString;
  /// For the model: what it means and what happens without it.
  std::string description;
  bool required = false;
  /// Inclusive bounds of an integer.
  std::int64_t min = 0;
  std::int64_t max = 0;
};

/// The JSON Schema of an object with these parameters and no others.
json::Json SchemaOf(std::span<const Parameter> parameters);

/// Arguments that passed the check.
class Arguments {
 public:
  /// Checks `arguments` against `parameters`: unknown, missing and mistyped names, and integers out
  /// of bounds, are ErrorCode::kInvalidArgument with one message that names every one of them. A
  /// null counts as absent. `tool` is the tool's name, for the message.
  static Result<Arguments> Check(std::string_view tool, std::span<const Parameter> parameters,
                                 const json::Json& arguments);

  /// A required string; asking so for one that may be absent is a bug and ends the process.
  const std::string& String(std::string_view name) const;
  std::string StringOr(std::string_view name, std::string fallback) const;
  std::int64_t IntegerOr(std::string_view name, std::int64_t fallback) const;
  bool BooleanOr(std::string_view name, bool fallback) const;

 private:
  explicit Arguments(json::Json values) : values_(std::move(values)) {}
  const json::Json* Find(std::string_view name) const;

  json::Json values_;
};

}  // namespace cofferdam::agent
