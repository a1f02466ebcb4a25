// <state>/platform.db: what the host has to remember for all workspaces together.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "platform/id_space.h"
#include "storage/sqlite.h"

namespace cofferdam::platform {

/// A range of ids and the folder, by its name in workspaces/, that holds files of these ids.
struct IdRange {
  std::uint32_t first = 0;
  std::string workspace;
  /// The workspace's own name; another one while the workspace is being made or removed.
  std::string folder;
};

/// The open database. Thread-safe; several processes may have it open. Errors as storage::Database.
///
/// A range is taken before the first file belongs to it and released after the last is gone.
class PlatformDb {
 public:
  /// `state_directory` is trusted: absolute and without symbolic links.
  static Result<std::unique_ptr<PlatformDb>> Open(const std::string& state_directory);

  /// Gives a free range of `space`, which has one at least, to `folder`, which has none. Returns
  /// its first id. kTooLarge when all are taken.
  Result<std::uint32_t> TakeRange(const IdSpace& space, std::string_view platform_id,
                                  const std::string& workspace, const std::string& folder);
  /// Ranges that were taken, as the files show, when the database is a new one. Those that it knows
  /// stay as they are.
  Status AddRanges(const std::vector<IdRange>& ranges);
  Result<bool> HasRanges();
  /// The range of a folder, if it has one.
  Result<std::optional<std::uint32_t>> RangeOf(const std::string& folder);
  /// The folder is called `to` now, or will be in a moment. Whatever had that name is gone.
  Status MoveRange(const std::string& from, const std::string& to);
  /// No file of the folder is left. It may have had no range.
  Status ReleaseRange(const std::string& folder);
  /// The ranges of workspaces that are being made or removed, or were when their host died.
  Result<std::vector<IdRange>> UnsettledRanges();

 private:
  explicit PlatformDb(storage::Database database) : database_(std::move(database)) {}
  Result<std::optional<std::uint32_t>> FindFree(const IdSpace& space, std::uint32_t start);
  Result<std::optional<std::uint32_t>> FindGap(const IdSpace& space);
  Result<std::optional<std::uint32_t>> ReadId(storage::Sql sql,
                                              std::initializer_list<storage::SqlValue> values);

  std::mutex mutex_;
  storage::Database database_;  // guarded by mutex_
};

}  // namespace cofferdam::platform
