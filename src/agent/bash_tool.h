// The tool that runs commands in the sandbox.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include "agent/tool.h"
#include "sandbox/sandbox.h"

namespace cofferdam::agent {

/// bash{command, timeout?}
std::unique_ptr<Tool> NewBashTool();

/// Where in the sandbox the whole output of a call is kept. Whatever text the ids are, the path is
/// one file below /home/agent/.cofferdam/results.
std::string ResultPath(std::string_view run_id, std::string_view call_id);

/// How a command ended, in words for the model, one bracketed line for each fact worth telling;
/// empty for a plain success.
std::string DescribeEnd(const sandbox::ExecResult& result, const ToolLimits& limits,
                        std::chrono::milliseconds timeout);

}  // namespace cofferdam::agent
