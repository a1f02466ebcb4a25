#include "agent/tool.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "agent/bash_tool.h"
#include "agent/file_tools.h"
#include "agent/search_tools.h"
#include "base/check.h"

namespace cofferdam::agent {

model::ToolDefinition Tool::Definition() const {
  return {.name = name_, .description = description_, .input_schema = SchemaOf(parameters_)};
}

Result<ToolOutcome> Tool::Call(const ToolContext& context, const json::Json& arguments) const {
  const auto checked = Arguments::Check(name_, parameters_, arguments);
  if (!checked) return ErrorOutcome(checked.error());
  std::optional<Error> no_sandbox;
  ToolContext watched = context;
  watched.sandbox = [&context, &no_sandbox] {
    auto sandbox = context.sandbox();
    if (!sandbox) no_sandbox = sandbox.error();
    return sandbox;
  };
  Result<ToolOutcome> outcome = Run(watched, *checked);
  // Whatever its code: no other tool will have one.
  if (no_sandbox) return std::unexpected(std::move(*no_sandbox));
  if (!outcome && !EndsRun(outcome.error())) return ErrorOutcome(outcome.error());
  return outcome;
}

ToolSet::ToolSet(std::vector<std::unique_ptr<Tool>> tools) : tools_(std::move(tools)) {
  for (std::size_t i = 0; i < tools_.size(); ++i)
    for (std::size_t j = 0; j < i; ++j) CHECK(tools_[i]->name() != tools_[j]->name());
}

std::vector<model::ToolDefinition> ToolSet::Definitions() const {
  std::vector<model::ToolDefinition> definitions;
  definitions.reserve(tools_.size());
  for (const auto& tool : tools_) definitions.push_back(tool->Definition());
  return definitions;
}

Result<ToolOutcome> ToolSet::Call(const ToolContext& context, const model::ToolCall& call) const {
  const auto tool = std::ranges::find_if(
      tools_, [&call](const auto& candidate) { return candidate->name() == call.name; });
  if (tool == tools_.end()) {
    std::string names;
    for (const auto& known : tools_) names += (names.empty() ? "" : ", ") + known->name();
    return ErrorOutcome("there is no such tool; there are " + names);
  }
  if (call.invalid_arguments)
    return ErrorOutcome("the arguments were not a JSON object, so the call was not made");
  return (*tool)->Call(context, call.arguments);
}

ToolSet SandboxTools() {
  std::vector<std::unique_ptr<Tool>> tools;
  tools.push_back(NewReadTool());
  tools.push_back(NewWriteTool());
  tools.push_back(NewEditTool());
  tools.push_back(NewBashTool());
  tools.push_back(NewGrepTool());
  tools.push_back(NewFindTool());
  tools.push_back(NewLsTool());
  return ToolSet(std::move(tools));
}

bool EndsRun(const Error& error) {
  switch (error.code) {
    case ErrorCode::kInternal:
    case ErrorCode::kCancelled:
    case ErrorCode::kLayerMissing:
    case ErrorCode::kNotVerified:
    case ErrorCode::kSandboxLost:
    case ErrorCode::kMountRefused:
    case ErrorCode::kDiskLimit:
    case ErrorCode::kProtocol:
      return true;
    default:
      return false;
  }
}

ToolOutcome ErrorOutcome(const Error& error) {
  std::string message = error.message;
  if (error.code == ErrorCode::kOperationLost)
    message += "; whether it took effect is unknown, so look before you try again";
  if (!error.hint.empty()) message += " (" + error.hint + ")";
  return ErrorOutcome(std::move(message));
}

ToolOutcome ErrorOutcome(std::string message) {
  return {.content = "Error: " + std::move(message), .is_error = true};
}

}  // namespace cofferdam::agent
