// A list of changes as text: what `git diff` would print. The text is made by git, in a sandbox
// that holds copies of the two sides and nothing else: hostile bytes are nobody else's to parse.
//
// What git has no words for is not in the text: empty directories, modes of directories, and of a
// file's mode all but whether its owner may execute it.
#pragma once

#include <cstdint>
#include <stop_token>
#include <string>
#include <vector>

#include "base/error.h"
#include "projects/changes.h"
#include "sandbox/sandbox.h"

namespace cofferdam::projects {

/// A bigger file comes out as "Binary files differ", and so does what is beyond the sum, and what
/// has a path that git cannot open.
inline constexpr std::uint64_t kMaxDiffFileBytes = 16 << 20;
inline constexpr std::uint64_t kMaxDiffTotalBytes = 1 << 30;
inline constexpr std::size_t kMaxDiffPathBytes = 4000;

/// How many lines of a path were added and removed; both 0 and `binary` for what is no text.
struct LineCount {
  std::string path;
  std::uint64_t added = 0;
  std::uint64_t removed = 0;
  bool binary = false;

  bool operator==(const LineCount&) const = default;
};

struct DiffText {
  /// `git apply` takes it, binary files included, unless something in it was too big. Hostile
  /// bytes: not for a terminal as it is.
  std::string patch;
  /// In the order of the changes, without those that are only about directories.
  std::vector<LineCount> counts;
  /// The patch was longer than the limit and ends early, after a whole line.
  bool truncated = false;
};

/// Copies both sides of the changes below two new directories, "a" and "b", of `directory` (the
/// caller's, empty, in which nobody else writes): files as 0644 or 0755, links as links. What is
/// renamed, or too big, is not copied. What has changed since the list was made is left out.
Status WriteSides(const ChangeList& list, const LayerView& upper,
                  const std::vector<LayerView>& lowers, int directory);

/// Asks git in a sandbox that has that directory as /workspace. Nothing in the two sides has a say
/// in how: no configuration, no .gitattributes, no repository. kUnsupported when the host has no
/// git. At most `max_bytes` of a patch.
Result<DiffText> DiffSides(sandbox::Sandbox& sandbox, const ChangeList& list,
                           std::uint64_t max_bytes, const std::stop_token& stop);

/// The table of `--stat`, for a terminal of `columns`. Paths are written for a person.
std::string StatTable(const std::vector<LineCount>& counts, std::size_t columns);

}  // namespace cofferdam::projects
