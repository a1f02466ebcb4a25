#include "agent/tool.h"

#include <map>

#include <gmock/gmock.h>

namespace cofferdam::agent {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

/// A context whose sandbox must not be asked for.
ToolContext NoSandbox(ErrorCode code = ErrorCode::kLayerMissing) {
  return {.sandbox = [code]() -> Result<sandbox::Sandbox*> { return Err(code, "no sandbox here"); },
          .run_id = "run",
          .call_id = "call",
          .deadline = Deadline::Never()};
}

TEST(SandboxTools, HaveTheNamesAndParametersAgentsAreUsedTo) {
  std::map<std::string, std::vector<std::string>> parameters;
  for (const model::ToolDefinition& tool : SandboxTools().Definitions())
    for (const auto& [name, schema] : tool.input_schema.at("properties").items())
      parameters[tool.name].push_back(name);
  EXPECT_THAT(parameters["read"], ElementsAre("limit", "offset", "path"));
  EXPECT_THAT(parameters["write"], ElementsAre("content", "path"));
  EXPECT_THAT(parameters["edit"], ElementsAre("new_string", "old_string", "path", "replace_all"));
  EXPECT_THAT(parameters["bash"], ElementsAre("command", "timeout"));
  EXPECT_THAT(parameters["grep"],
              ElementsAre("context", "glob", "ignore_case", "limit", "literal", "path", "pattern"));
  EXPECT_THAT(parameters["find"], ElementsAre("limit", "path", "pattern"));
  EXPECT_THAT(parameters["ls"], ElementsAre("limit", "path"));
  EXPECT_EQ(parameters.size(), 7U);
}

TEST(ToolSet, TellsTheModelThatAToolDoesNotExist) {
  const auto outcome = SandboxTools().Call(NoSandbox(), {.id = "1", .name = "browse"});
  ASSERT_TRUE(outcome);
  EXPECT_TRUE(outcome->is_error);
  EXPECT_THAT(outcome->content, HasSubstr("there are read, write, edit, bash, grep, find, ls"));
}

TEST(ToolSet, DoesNotMakeACallWhoseArgumentsAreWrong) {
  const ToolSet tools = SandboxTools();
  const auto mistyped =
      tools.Call(NoSandbox(), {.id = "1", .name = "read", .arguments = {{"path", 1}}});
  ASSERT_TRUE(mistyped);
  EXPECT_TRUE(mistyped->is_error);
  EXPECT_THAT(mistyped->content, HasSubstr("'path' must be of type string"));
  const auto unparsable =
      tools.Call(NoSandbox(), {.id = "1", .name = "ls", .invalid_arguments = "{\"path\":"});
  ASSERT_TRUE(unparsable);
  EXPECT_TRUE(unparsable->is_error);
}

TEST(ToolSet, ASandboxThatCannotBeHadEndsTheRun) {
  for (const ErrorCode code : {ErrorCode::kLayerMissing, ErrorCode::kBusy, ErrorCode::kCorrupt}) {
    const auto outcome = SandboxTools().Call(
        NoSandbox(code), {.id = "1", .name = "bash", .arguments = {{"command", "x"}}});
    ASSERT_FALSE(outcome);
    EXPECT_EQ(outcome.error().code, code);
  }
}

TEST(BashTool, RefusesALongerTimeoutThanIsAllowedBeforeAnythingRuns) {
  const auto outcome = SandboxTools().Call(
      NoSandbox(), {.id = "1", .name = "bash", .arguments = {{"command", "x"}, {"timeout", 301}}});
  ASSERT_TRUE(outcome);
  EXPECT_THAT(outcome->content, HasSubstr("at most 300"));
}

TEST(ErrorOutcome, SaysThatTheOutcomeOfALostOperationIsUnknown) {
  const ToolOutcome outcome =
      ErrorOutcome(Err(ErrorCode::kOperationLost, "the worker died").error());
  EXPECT_TRUE(outcome.is_error);
  EXPECT_THAT(outcome.content, HasSubstr("whether it took effect is unknown"));
}

}  // namespace
}  // namespace cofferdam::agent
