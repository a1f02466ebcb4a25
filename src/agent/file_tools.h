// The tools on files: read, write, edit and ls. All of them act in the sandbox.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "agent/tool.h"
#include "base/error.h"

namespace cofferdam::agent {

/// read{path, offset?, limit?}: lines of a text file, and how to go on when some are left.
std::unique_ptr<Tool> NewReadTool();
/// write{path, content}: the whole file, with missing directories.
std::unique_ptr<Tool> NewWriteTool();
/// edit{path, old_string, new_string, replace_all?}: exact replacement.
std::unique_ptr<Tool> NewEditTool();
/// ls{path?, limit?}: the entries of a directory.
std::unique_ptr<Tool> NewLsTool();

/// A text after an edit.
struct Edited {
  std::string text = {};
  std::size_t replacements = 0;
};

/// Puts `replacement` in the place of `old`, which must occur in `text` exactly once, or with
/// `all` at least once. Occurrences do not overlap. ErrorCode::kInvalidArgument says how often it
/// occurs, and on which lines.
Result<Edited> ApplyEdit(std::string_view text, std::string_view old, std::string_view replacement,
                         bool all);

}  // namespace cofferdam::agent
