// What an agent has changed, and what becomes of it: the values that Workspace::Diff, Apply,
// Discard, Rewind and Checkpoints take and give (docs/projects.md).
//
// Paths are bytes, relative to /workspace: an agent may have given any name to a file.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <cofferdam/error.h>

namespace cofferdam {

/// A project that an agent of a workspace has worked on, with changes of its own above it.
struct ProjectInfo {
  std::string path = {};
  /// "overlay" or "copy".
  std::string mode = {};
};

/// One side of a change.
struct FileState {
  /// "file", "directory" or "symlink".
  std::string kind = {};
  /// Permission bits of a file or a directory.
  std::uint32_t mode = 0;
  /// Of a file. The hash is empty for one over the size limit.
  std::uint64_t size = 0;
  std::string sha256 = {};
  /// Of a symlink.
  std::string target = {};
};

struct ProjectChange {
  /// "added", "modified", "deleted" or "renamed".
  std::string kind = {};
  std::string path = {};
  std::string old_path = {};  // of a renamed one
  std::optional<FileState> before = {};
  std::optional<FileState> after = {};
  /// Lines; both 0 and `binary` for what is no text. Only with DiffOptions::text.
  std::uint64_t added_lines = 0;
  std::uint64_t removed_lines = 0;
  bool binary = false;
};

/// What is there and cannot be part of a diff, an apply or a checkpoint.
struct LeftOutPath {
  std::string path = {};
  /// "too_large", "special" (a device, a fifo, a socket), "unreadable" or "path_too_long".
  std::string why = {};
  std::uint64_t size = 0;
};

struct DiffOptions {
  /// The project's directory; empty: the workspace's own files. Without one, what the workspace's
  /// setting `project` says.
  std::optional<std::string> project = {};
  /// Not what the agent has changed, but what the project's owner has since the agent began.
  bool project_edits = false;
  /// Makes the patch and counts lines, for which git is run in a sandbox.
  bool text = true;
  /// Of the patch.
  std::uint64_t max_bytes = std::uint64_t{64} << 20;
};

struct ProjectDiff {
  /// Empty: the workspace's own files.
  std::string project = {};
  /// By path.
  std::vector<ProjectChange> changes = {};
  std::vector<LeftOutPath> left_out = {};
  /// `git apply` takes it. Of the owner's edits it has those of files that the agent changed, too.
  std::string patch = {};
  /// The patch would have been longer than DiffOptions::max_bytes.
  bool truncated = false;
};

struct ApplyConflict {
  std::string path = {};
  /// A sentence.
  std::string why = {};
};

struct ApplyResult {
  std::string project = {};
  /// What the project now has; nothing when there are conflicts.
  std::vector<ProjectChange> changes = {};
  /// The paths of those where the owner's edits and the agent's were merged.
  std::vector<std::string> merged = {};
  std::vector<LeftOutPath> left_out = {};
  /// Not empty: the owner has changed the same, and nothing was applied.
  std::vector<ApplyConflict> conflicts = {};
};

struct DiscardResult {
  std::string project = {};
  /// Goes back to what was discarded: RewindOptions::checkpoint. 0 when there was nothing.
  std::int64_t checkpoint = 0;
  std::vector<LeftOutPath> left_out = {};
};

/// The files of /workspace as they were at one time.
struct CheckpointInfo {
  std::int64_t id = 0;
  /// Empty: of the workspace's own files.
  std::string project = {};
  /// "turn", "start" (what a run found that no checkpoint had), "before_rewind", "rewind",
  /// "before_discard", "discard", "apply", "project_changed", "fork", or "forgotten": a mark in the
  /// place of older ones, which went so that all stay within disk_mib.
  std::string reason = {};
  std::string session = {};
  std::string run = {};
  /// Of the session; 0 for what is of no turn.
  std::int64_t turn = 0;
  /// RFC 3339 in UTC.
  std::string time = {};
  /// How many paths are other than at the checkpoint before.
  std::int64_t changed = 0;
  /// A rewind went back before it.
  bool abandoned = false;
  /// False: the changes were applied since, or the owner changed the project while there were none,
  /// so that it cannot be gone back to.
  bool reachable = true;
};

struct RewindOptions {
  /// Empty: that of the workspace's last run, or of the checkpoint.
  std::string session = {};
  /// Back to the end of this turn; 0 is the beginning. Without it and without a checkpoint: to
  /// before the session's last run.
  std::optional<std::int64_t> to_turn = {};
  /// Back to the files of a checkpoint, and to the end of its turn if it is one of the session's.
  std::optional<std::int64_t> checkpoint = {};
  bool files = true;
  bool chat = true;
  /// Also takes back what turns of other sessions have changed since.
  bool also_others = false;
};

struct RewindResult {
  std::string session = {};
  /// The turn that the conversation now ends with; nothing when it was left as it is.
  std::optional<std::int64_t> turn = {};
  /// Whether files were put back, and of which project (empty: the workspace's own).
  bool files = false;
  std::string project = {};
  /// How many paths were changed for it.
  std::uint64_t paths = 0;
  /// Has the files as they were before this rewind; 0 when there were none.
  std::int64_t before = 0;
  /// What could not be put back, or was not kept.
  std::vector<LeftOutPath> left_out = {};
};

}  // namespace cofferdam
