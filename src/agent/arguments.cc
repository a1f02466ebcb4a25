#include "agent/arguments.h"

#include <algorithm>

#include "base/check.h"

namespace cofferdam::agent {
namespace {

std::string_view TypeName(ParameterType type) {
  switch (type) {
    case ParameterType::kString:
      return "string";
    case ParameterType::kInteger:
      return "integer";
    case ParameterType::kBoolean:
      return "boolean";
  }
  CHECK(false && "a parameter type without a name");
}

/// 10.0 is an integer: models write it, and JSON does not tell the two apart.
bool IsInteger(const json::Json& value) {
  if (value.is_number_integer()) return true;
  if (!value.is_number_float()) return false;
  const double number = value.get<double>();
  return number >= -9e15 && number <= 9e15 &&
         number == static_cast<double>(static_cast<std::int64_t>(number));
}

bool HasType(const json::Json& value, ParameterType type) {
  switch (type) {
    case ParameterType::kString:
      return value.is_string();
    case ParameterType::kInteger:
      return IsInteger(value);
    case ParameterType::kBoolean:
      return value.is_boolean();
  }
  CHECK(false && "a parameter type without a check");
}

/// An unsigned value beyond the signed range is out of every bound of ours.
bool InBounds(const json::Json& value, const Parameter& parameter) {
  if (value.is_number_unsigned() && value.get<std::uint64_t>() > INT64_MAX) return false;
  const auto number = value.get<std::int64_t>();
  return number >= parameter.min && number <= parameter.max;
}

std::string Quoted(std::string_view name) { return "'" + std::string(name) + "'"; }

std::string Names(std::span<const Parameter> parameters) {
  std::string text;
  for (const Parameter& parameter : parameters) text += (text.empty() ? "" : ", ") + parameter.name;
  return text;
}

/// What is wrong with the value of one parameter, or nothing.
std::string ProblemWith(const Parameter& parameter, const json::Json& arguments) {
  const auto found = arguments.find(parameter.name);
  if (found == arguments.end() || found->is_null())
    return parameter.required ? Quoted(parameter.name) + " is missing" : "";
  if (!HasType(*found, parameter.type))
    return Quoted(parameter.name) + " must be of type " + std::string(TypeName(parameter.type)) +
           ", not " + found->type_name();
  if (parameter.type == ParameterType::kInteger && !InBounds(*found, parameter))
    return Quoted(parameter.name) + " must be from " + std::to_string(parameter.min) + " to " +
           std::to_string(parameter.max);
  return "";
}

}  // namespace

json::Json SchemaOf(std::span<const Parameter> parameters) {
  json::Json properties = json::Json::object();
  json::Json required = json::Json::array();
  for (const Parameter& parameter : parameters) {
    json::Json& property = properties[parameter.name];
    property = {{"type", TypeName(parameter.type)}, {"description", parameter.description}};
    if (parameter.type == ParameterType::kInteger) {
      property["minimum"] = parameter.min;
      property["maximum"] = parameter.max;
    }
    if (parameter.required) required.push_back(parameter.name);
  }
  return {{"type", "object"},
          {"properties", std::move(properties)},
          {"required", std::move(required)},
          {"additionalProperties", false}};
}

Result<Arguments> Arguments::Check(std::string_view tool, std::span<const Parameter> parameters,
                                   const json::Json& arguments) {
  if (!arguments.is_object())
    return Err(ErrorCode::kInvalidArgument,
               "the arguments of " + std::string(tool) + " must be an object");
  std::vector<std::string> problems;
  for (const auto& [name, value] : arguments.items()) {
    const bool known = std::ranges::any_of(
        parameters, [&name](const Parameter& parameter) { return parameter.name == name; });
    // The name is the model's own text: it gets it back cut, so that a message stays a message.
    if (!known) problems.push_back(Quoted(name.substr(0, 64)) + " is unknown");
  }
  for (const Parameter& parameter : parameters)
    if (std::string problem = ProblemWith(parameter, arguments); !problem.empty())
      problems.push_back(std::move(problem));
  if (problems.empty()) return Arguments(arguments);

  std::string message = "wrong arguments for " + std::string(tool) + ": ";
  for (std::size_t i = 0; i < problems.size(); ++i) message += (i == 0 ? "" : "; ") + problems[i];
  return Err(ErrorCode::kInvalidArgument, std::move(message),
             std::string(tool) + " takes " + Names(parameters));
}

const json::Json* Arguments::Find(std::string_view name) const {
  const auto found = values_.find(name);
  return found == values_.end() || found->is_null() ? nullptr : &*found;
}

const std::string& Arguments::String(std::string_view name) const {
  const json::Json* value = Find(name);
  CHECK(value != nullptr);
  return value->get_ref<const std::string&>();
}

std::string Arguments::StringOr(std::string_view name, std::string fallback) const {
  const json::Json* value = Find(name);
  return value == nullptr ? std::move(fallback) : value->get<std::string>();
}

std::int64_t Arguments::IntegerOr(std::string_view name, std::int64_t fallback) const {
  const json::Json* value = Find(name);
  return value == nullptr ? fallback : value->get<std::int64_t>();
}

bool Arguments::BooleanOr(std::string_view name, bool fallback) const {
  const json::Json* value = Find(name);
  return value == nullptr ? fallback : value->get<bool>();
}

}  // namespace cofferdam::agent
