// The script of model::ScriptedProvider as a value. The format is in docs/scripted-provider.md.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "json/json.h"
#include "model/message.h"

namespace cofferdam::model {

/// What a text has to hold and must not hold.
struct TextExpectation {
  std::vector<std::string> contains = {};
  std::vector<std::string> not_contains = {};
};

/// What one tool result has to be.
struct ResultExpectation {
  TextExpectation text = {};
  std::optional<bool> is_error = {};
  /// The number that stands behind the words "exit code" in the result's text.
  std::optional<std::int64_t> exit_code = {};
};

struct ScriptedCall {
  std::string name = {};
  json::Json arguments = json::Json::object();
  /// Left out when the request does not offer a tool of that name.
  bool if_offered = false;
};

/// One answer of the model.
struct ScriptedTurn {
  TextExpectation expect_user = {};
  /// By the order of the tool calls of the turn before.
  std::vector<ResultExpectation> expect_results = {};
  std::string thinking = {};
  std::string text = {};
  std::vector<ScriptedCall> tool_calls = {};
  /// Raised when the text has been streamed.
  std::optional<Error> error = {};
  /// Instead of ending, the turn waits until it is cancelled.
  bool hang = false;
  std::optional<Usage> usage = {};
  std::optional<StopReason> stop_reason = {};
};

/// The turns for every user message that `when` fits.
struct ScriptedCase {
  TextExpectation when = {};
  std::vector<ScriptedTurn> turns = {};
};

struct Script {
  std::vector<ScriptedCase> cases = {};
};

/// Reads a script: JSON when its first character is '{', else YAML. kMalformed, naming the place.
Result<Script> ParseScript(std::string_view text);

/// The same from a file of at most kMaxYamlBytes.
Result<Script> LoadScript(const std::string& path);

/// What is played without a file: an answer that says how to use a real model, and the list of
/// files when an `ls` tool is offered.
Script BuiltInScript();

}  // namespace cofferdam::model
