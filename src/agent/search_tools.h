// The tools that search: grep in files' content, find for files' names. Both act in the sandbox, in
// time linear in what they look at.
#pragma once

#include <memory>
#include <string>

#include "agent/tool.h"
#include "sandbox/sandbox.h"

namespace cofferdam::agent {

/// grep{pattern, path?, glob?, ignore_case?, literal?, context?, limit?}
std::unique_ptr<Tool> NewGrepTool();
/// find{pattern, path?, limit?}
std::unique_ptr<Tool> NewFindTool();

/// The lines as grep prints them: "path:12:text" for a match, "path-12-text" for context, "--"
/// between lines that do not follow each other when there is context.
std::string FormatGrep(const sandbox::GrepResult& result, bool has_context);

}  // namespace cofferdam::agent
