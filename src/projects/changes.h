// What an upper changes of the layers below it, as a list that a person understands.
#pragma once

#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/error.h"
#include "projects/merged_tree.h"
#include "projects/node.h"

namespace cofferdam::projects {

enum class ChangeKind : std::uint8_t { kAdded, kModified, kDeleted, kRenamed };

/// "added", "modified", "deleted", "renamed".
std::string_view ChangeKindName(ChangeKind kind);

/// A path that is longer is left out, and what is below it: no program could name it.
inline constexpr std::size_t kMaxChangePathBytes = 4096;

/// One path. A directory appears when it is added or deleted, or its mode is changed; files, links
/// and directories in it each for themselves. What becomes of another kind is a kModified one whose
/// nodes differ in kind. A kRenamed one is a file or link that vanished from `old_path` and has the
/// very same content at `path`; its mode may differ.
struct Change {
  ChangeKind kind = ChangeKind::kModified;
  std::string path;
  std::string old_path = {};  // of kRenamed
  /// As the layers below have it; nothing of kAdded.
  std::optional<Node> before = {};
  /// As the upper has it; nothing of kDeleted.
  std::optional<Node> after = {};
  /// SHA-256 of files, 64 lower-case hex digits; empty for what is no file or is over the limit.
  std::string before_sha256 = {};
  std::string after_sha256 = {};
};

/// What cannot be part of a diff, an apply or a checkpoint, and why.
struct LeftOut {
  enum class Why : std::uint8_t { kTooLarge, kSpecial, kUnreadable, kPathTooLong };
  std::string path;
  Why why;
  std::uint64_t size = 0;

  bool operator==(const LeftOut&) const = default;
};

/// "too_large", "special", "unreadable", "path_too_long".
std::string_view LeftOutName(LeftOut::Why why);

struct ChangeList {
  /// By the bytes of `path`.
  std::vector<Change> changes;
  std::vector<LeftOut> left_out;
};

/// Compares. Costs what the upper holds, not what the layers below hold; of a directory that was
/// renamed or replaced, what both hold. A file that was copied up and is the same as below is no
/// change. Left out, and named:
/// - files over `max_file_bytes`: they are compared by their sizes, and a change of theirs has no
///   hashes, so that whoever needs the content has to look whether a path is left out;
/// - devices, fifos and sockets that are new: for a diff nothing is there;
/// - what may not be read: no change tells what is below such a directory.
Result<ChangeList> FindChanges(const LayerView& upper, const std::vector<LayerView>& lowers,
                               std::uint64_t max_file_bytes, const std::stop_token& stop = {});

}  // namespace cofferdam::projects
