// A list of changes as text: what `git diff` would print. The text is made by git, in a sandbox
// that holds copies of the two sides and nothing else: hostile bytes are nobody else's to parse.
#pragma once

#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/error.h"
#include "projects/changes.h"
#include "sandbox/sandbox.h"

namespace cofferdam::projects {

/// How many lines of a path were added and removed; both 0 and `binary` for what is no text.
struct LineCount {
  std::string path;
  std::uint64_t added = 0;
  std::uint64_t removed = 0;
  bool binary = false;
};

struct DiffText {
  /// `git apply` takes it, binary files included.
  std::string patch;
  std::vector<LineCount> counts;  // in the order of the changes
  /// The patch was longer than the limit and ends early.
  bool truncated = false;
};

/// Copies both sides of the changes below two new directories, "a" and "b", of `directory` (the
/// caller's, empty). Modes and links as they are; setuid bits never. Big files (over
/// `max_text_bytes`) come out as "Binary files differ".
Status WriteSides(const ChangeList& list, const LayerView& upper,
                  const std::vector<LayerView>& lowers, int directory);

/// Asks git in a sandbox that has that directory as /workspace.
Result<DiffText> DiffSides(sandbox::Sandbox& sandbox, const ChangeList& list,
                           std::uint64_t max_bytes, const std::stop_token& stop);

/// The table of `--stat`, for a terminal of `columns`.
std::string StatTable(const std::vector<LineCount>& counts, std::size_t columns);

}  // namespace cofferdam::projects
