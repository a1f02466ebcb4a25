#include "model/script.h"

#include <algorithm>
#include <initializer_list>
#include <utility>

#include "base/check.h"
#include "json/fields.h"
#include "model/yaml.h"
#include "sys/file.h"

namespace cofferdam::model {
namespace {

using json::Json;

constexpr std::string_view kBuiltInScript = R"yaml(
turns:
  - text: |
      You said: {{user}}

      I am the built-in script, not a model: I need no key and understand nothing. To work with a
      real model, give its provider a key (for Anthropic the environment variable
      ANTHROPIC_API_KEY) and name it as provider/model, for example anthropic/claude-sonnet-4-5.
    tool_calls:
      - {name: ls, arguments: {path: .}, if_offered: true}
  - text: |
      These are the files that an agent would work on, seen through the sandbox:

      {{results}}
)yaml";

// Puts the place before an error on its way up: "turns[1]: expect: …".
template <typename T>
Result<T> At(const std::string& place, Result<T> result) {
  if (!result) return std::unexpected(result.error().With(place));
  return result;
}

Status CheckMembers(const Json& object, std::initializer_list<std::string_view> known) {
  if (!object.is_object()) return Err(ErrorCode::kMalformed, "is not a map");
  for (const auto& [name, value] : object.items())
    if (std::ranges::find(known, name) == known.end())
      return Err(ErrorCode::kMalformed, "'" + name + "' is not a known key here");
  return {};
}

const Json* Find(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() ? nullptr : &*found;
}

// A list under `key`, each item read by `read`; absent is empty.
template <typename Item>
Result<std::vector<Item>> ReadList(const Json& object, const char* key,
                                   Result<Item> (*read)(const Json&)) {
  std::vector<Item> items;
  const Json* list = Find(object, key);
  if (list == nullptr) return items;
  if (!list->is_array()) return Err(ErrorCode::kMalformed, std::string(key) + ": is not a list");
  for (const Json& json : *list) {
    const std::string place = std::string(key) + "[" + std::to_string(items.size()) + "]";
    ASSIGN_OR_RETURN(Item item, At(place, read(json)));
    items.push_back(std::move(item));
  }
  return items;
}

// One text, or a list of them.
Result<std::vector<std::string>> ReadTexts(const Json& object, const char* key) {
  const Json* value = Find(object, key);
  if (value == nullptr) return std::vector<std::string>();
  if (value->is_string()) return std::vector<std::string>{value->get<std::string>()};
  const auto not_texts = [key] {
    return Err(ErrorCode::kMalformed, std::string(key) + ": is neither a text nor a list of texts");
  };
  if (!value->is_array()) return not_texts();
  std::vector<std::string> texts;
  for (const Json& item : *value) {
    if (!item.is_string()) return not_texts();
    texts.push_back(item.get<std::string>());
  }
  return texts;
}

Result<TextExpectation> ReadTextMembers(const Json& object) {
  TextExpectation expectation;
  ASSIGN_OR_RETURN(expectation.contains, ReadTexts(object, "contains"));
  ASSIGN_OR_RETURN(expectation.not_contains, ReadTexts(object, "not_contains"));
  return expectation;
}

Result<TextExpectation> ReadText(const Json& object, const char* key) {
  const Json* value = Find(object, key);
  if (value == nullptr) return TextExpectation();
  RETURN_IF_ERROR(At<void>(key, CheckMembers(*value, {"contains", "not_contains"})));
  return At(key, ReadTextMembers(*value));
}

Result<ResultExpectation> ReadResult(const Json& object) {
  RETURN_IF_ERROR(CheckMembers(object, {"contains", "not_contains", "is_error", "exit_code"}));
  ResultExpectation expectation;
  ASSIGN_OR_RETURN(expectation.text, ReadTextMembers(object));
  ASSIGN_OR_RETURN(expectation.is_error, json::GetOptionalBool(object, "is_error"));
  ASSIGN_OR_RETURN(expectation.exit_code, json::GetOptionalInt(object, "exit_code"));
  return expectation;
}

Status ReadExpect(const Json& object, ScriptedTurn& turn) {
  const Json* expect = Find(object, "expect");
  if (expect == nullptr) return {};
  RETURN_IF_ERROR(At<void>("expect", CheckMembers(*expect, {"user", "results"})));
  ASSIGN_OR_RETURN(turn.expect_user, At("expect", ReadText(*expect, "user")));
  ASSIGN_OR_RETURN(turn.expect_results, At("expect", ReadList(*expect, "results", &ReadResult)));
  return {};
}

Result<ScriptedCall> ReadCall(const Json& object) {
  RETURN_IF_ERROR(CheckMembers(object, {"name", "arguments", "if_offered"}));
  ScriptedCall call;
  ASSIGN_OR_RETURN(call.name, json::GetString(object, "name"));
  if (call.name.empty()) return Err(ErrorCode::kMalformed, "name: is empty");
  ASSIGN_OR_RETURN(const auto if_offered, json::GetOptionalBool(object, "if_offered"));
  call.if_offered = if_offered.value_or(false);
  if (Find(object, "arguments") != nullptr) {
    ASSIGN_OR_RETURN(const Json* arguments, json::GetObject(object, "arguments"));
    call.arguments = *arguments;
  }
  return call;
}

std::optional<ErrorCode> ErrorCodeFromName(std::string_view name) {
#define COFFERDAM_ERROR_CODE(identifier, text) \
  if (name == text) return ErrorCode::identifier;
#include <cofferdam/error_codes.inc>
#undef COFFERDAM_ERROR_CODE
  return std::nullopt;
}

Status ReadError(const Json& object, ScriptedTurn& turn) {
  const Json* value = Find(object, "error");
  if (value == nullptr) return {};
  RETURN_IF_ERROR(At<void>("error", CheckMembers(*value, {"code", "message", "hint"})));
  ASSIGN_OR_RETURN(const std::string name, At("error", json::GetString(*value, "code")));
  ASSIGN_OR_RETURN(auto message, At("error", json::GetOptionalString(*value, "message")));
  ASSIGN_OR_RETURN(auto hint, At("error", json::GetOptionalString(*value, "hint")));
  const auto code = ErrorCodeFromName(name);
  if (!code) return Err(ErrorCode::kMalformed, "error: code: '" + name + "' is no error code");
  turn.error = Error{*code, std::move(message).value_or("the script says so"),
                     std::move(hint).value_or(""), 0};
  return {};
}

Status ReadEnd(const Json& object, ScriptedTurn& turn) {
  ASSIGN_OR_RETURN(const auto hang, json::GetOptionalBool(object, "hang"));
  turn.hang = hang.value_or(false);
  ASSIGN_OR_RETURN(const auto name, json::GetOptionalString(object, "stop_reason"));
  if (name) {
    turn.stop_reason = StopReasonFromName(*name);
    if (!turn.stop_reason)
      return Err(ErrorCode::kMalformed, "stop_reason: '" + *name + "' is none");
  }
  const Json* usage = Find(object, "usage");
  if (usage == nullptr) return {};
  if (!usage->is_object()) return Err(ErrorCode::kMalformed, "usage: is not a map");
  Json whole = ToJson(Usage{});
  whole.update(*usage);
  ASSIGN_OR_RETURN(turn.usage, At("usage", UsageFromJson(whole)));
  return {};
}

Result<ScriptedTurn> ReadTurn(const Json& object) {
  RETURN_IF_ERROR(CheckMembers(object, {"expect", "thinking", "text", "tool_calls", "error", "hang",
                                        "usage", "stop_reason"}));
  ScriptedTurn turn;
  RETURN_IF_ERROR(ReadExpect(object, turn));
  ASSIGN_OR_RETURN(auto thinking, json::GetOptionalString(object, "thinking"));
  ASSIGN_OR_RETURN(auto text, json::GetOptionalString(object, "text"));
  turn.thinking = std::move(thinking).value_or("");
  turn.text = std::move(text).value_or("");
  ASSIGN_OR_RETURN(turn.tool_calls, ReadList(object, "tool_calls", &ReadCall));
  RETURN_IF_ERROR(ReadError(object, turn));
  RETURN_IF_ERROR(ReadEnd(object, turn));
  return turn;
}

Result<ScriptedCase> ReadCase(const Json& object) {
  RETURN_IF_ERROR(CheckMembers(object, {"when", "turns"}));
  ScriptedCase scripted;
  ASSIGN_OR_RETURN(scripted.when, ReadText(object, "when"));
  ASSIGN_OR_RETURN(scripted.turns, ReadList(object, "turns", &ReadTurn));
  if (scripted.turns.empty()) return Err(ErrorCode::kMalformed, "turns: there is none");
  return scripted;
}

Result<Script> ReadScript(const Json& document) {
  Script script;
  if (document.is_object() && document.contains("turns")) {
    RETURN_IF_ERROR(CheckMembers(document, {"turns"}));
    ASSIGN_OR_RETURN(ScriptedCase only, ReadCase(document));
    script.cases.push_back(std::move(only));
    return script;
  }
  RETURN_IF_ERROR(CheckMembers(document, {"cases"}));
  ASSIGN_OR_RETURN(script.cases, ReadList(document, "cases", &ReadCase));
  if (script.cases.empty()) return Err(ErrorCode::kMalformed, "has neither turns nor cases");
  return script;
}

Result<Json> ParseDocument(std::string_view text) {
  if (text.starts_with('{'))
    return json::Parse(text, {.max_bytes = kMaxYamlBytes, .max_depth = 64});
  return ParseYaml(text);
}

}  // namespace

Result<Script> ParseScript(std::string_view text) {
  ASSIGN_OR_RETURN(const Json document, At("the script", ParseDocument(text)));
  return At("the script", ReadScript(document));
}

Result<Script> LoadScript(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, sys::ReadFile(path, kMaxYamlBytes));
  return At(path, ParseScript(text));
}

Script BuiltInScript() {
  auto script = ParseScript(kBuiltInScript);
  CHECK(script);
  return std::move(*script);
}

}  // namespace cofferdam::model
