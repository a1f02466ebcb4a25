// Which checkpoint a rewind goes back to. Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "projects/checkpoints.h"

namespace cofferdam::platform {

/// The files of one view at one time.
struct FilesTarget {
  std::string view;
  /// 0: an empty upper.
  std::int64_t checkpoint = 0;
  bool operator==(const FilesTarget&) const = default;
};

/// Everything below takes the checkpoints of all views of a workspace, oldest first.
using AllCheckpoints = std::vector<projects::Checkpoint>;

/// The files as they were at the end of a turn of a session: its newest checkpoint that is not of a
/// later turn, or what was there before its first one. Nothing when the session has changed no
/// files. kUnsupported when it has changed files in several views since.
Result<std::optional<FilesTarget>> FilesAfterTurn(const AllCheckpoints& all,
                                                  const std::string& session, std::int64_t turn);

/// The files as a run found them; nothing when no checkpoint is of the run.
std::optional<FilesTarget> FilesBeforeRun(const AllCheckpoints& all, const std::string& run);

/// The files of the view's newest checkpoint; nothing when it has none.
std::optional<FilesTarget> NewestFiles(const AllCheckpoints& all, const std::string& view);

/// The view in which a session has changed files last; nothing when it has changed none.
std::optional<std::string> LastViewOf(const AllCheckpoints& all, const std::string& session);

/// Whether an apply lies between a checkpoint and now.
bool IsReachable(const AllCheckpoints& all, const projects::Checkpoint& checkpoint);

/// The target, where the state is the one in which an apply has left the view: an empty upper.
/// kUnsupported when it lies further back: the project has what was changed since.
Result<FilesTarget> CheckReachable(const AllCheckpoints& all, const FilesTarget& target);

/// The other sessions that changed files of the view after the target, each once.
std::vector<std::string> OthersSince(const AllCheckpoints& all, const FilesTarget& target,
                                     const std::string& session);

}  // namespace cofferdam::platform
