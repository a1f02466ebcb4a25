#include "platform/platform_db.h"

#include <set>

namespace cofferdam::platform {
namespace {

using storage::Row;
using storage::Sql;

// Each step once; docs/formats/state.md has the tables.
constexpr Sql kMigrations[] = {
    "CREATE TABLE id_ranges ("
    "  first INTEGER PRIMARY KEY,"
    "  workspace TEXT NOT NULL,"
    "  folder TEXT NOT NULL UNIQUE"
    ") STRICT",
};

}  // namespace

Result<std::unique_ptr<PlatformDb>> PlatformDb::Open(const std::string& state_directory) {
  ASSIGN_OR_RETURN(storage::Database database,
                   storage::Database::Open(state_directory + "/platform.db", kMigrations));
  return std::unique_ptr<PlatformDb>(new PlatformDb(std::move(database)));
}

Result<std::optional<std::uint32_t>> PlatformDb::ReadId(
    Sql sql, std::initializer_list<storage::SqlValue> values) {
  std::optional<std::uint32_t> id;
  RETURN_IF_ERROR(database_.Run(sql, values, [&id](const Row& row) {
    if (row.Integer(0) != 0) id = static_cast<std::uint32_t>(row.Integer(0));
  }));
  return id;
}

Result<std::uint32_t> PlatformDb::TakeRange(const IdSpace& space, std::string_view platform_id,
                                            const std::string& workspace,
                                            const std::string& folder) {
  const std::lock_guard lock(mutex_);
  std::optional<std::uint32_t> first;
  RETURN_IF_ERROR(database_.Transaction([&]() -> Status {
    ASSIGN_OR_RETURN(first, FindFree(space, space.StartFor(platform_id)));
    if (!first)
      return Err(ErrorCode::kTooLarge,
                 "all " + std::to_string(space.size()) + " ranges of host ids are taken",
                 "delete workspaces that nobody needs");
    return database_.Run("INSERT INTO id_ranges (first, workspace, folder) VALUES (?1, ?2, ?3)",
                         {*first, workspace, folder});
  }));
  return *first;
}

Status PlatformDb::AddRanges(const std::vector<IdRange>& ranges) {
  const std::lock_guard lock(mutex_);
  return database_.Transaction([&]() -> Status {
    for (const IdRange& range : ranges)
      RETURN_IF_ERROR(database_.Run(
          "INSERT OR IGNORE INTO id_ranges (first, workspace, folder) VALUES (?1, ?2, ?3)",
          {range.first, range.workspace, range.folder}));
    return {};
  });
}

Result<bool> PlatformDb::HasRanges() {
  const std::lock_guard lock(mutex_);
  ASSIGN_OR_RETURN(const auto any, ReadId("SELECT max(first) FROM id_ranges", {}));
  return any.has_value();
}

// Behind the last one, so that a range that was released is not given away again soon.
Result<std::optional<std::uint32_t>> PlatformDb::FindFree(const IdSpace& space,
                                                          std::uint32_t start) {
  ASSIGN_OR_RETURN(const auto last,
                   ReadId("SELECT max(first) FROM id_ranges WHERE first >= ?1", {start}));
  const auto next = space.AtOrAbove(last ? *last + kIdsPerWorkspace : start);
  if (next) return next;
  return FindGap(space);
}

Result<std::optional<std::uint32_t>> PlatformDb::FindGap(const IdSpace& space) {
  std::set<std::uint32_t> taken;
  RETURN_IF_ERROR(database_.Run("SELECT first FROM id_ranges", {}, [&taken](const Row& row) {
    taken.insert(static_cast<std::uint32_t>(row.Integer(0)));
  }));
  auto candidate = space.AtOrAbove(0);
  while (candidate && taken.contains(*candidate))
    candidate = space.AtOrAbove(*candidate + kIdsPerWorkspace);
  return candidate;
}

Result<std::optional<std::uint32_t>> PlatformDb::RangeOf(const std::string& folder) {
  const std::lock_guard lock(mutex_);
  return ReadId("SELECT first FROM id_ranges WHERE folder = ?1", {folder});
}

Status PlatformDb::MoveRange(const std::string& from, const std::string& to) {
  const std::lock_guard lock(mutex_);
  return database_.Transaction([&]() -> Status {
    RETURN_IF_ERROR(database_.Run("DELETE FROM id_ranges WHERE folder = ?1", {to}));
    return database_.Run("UPDATE id_ranges SET folder = ?2 WHERE folder = ?1", {from, to});
  });
}

Status PlatformDb::ReleaseRange(const std::string& folder) {
  const std::lock_guard lock(mutex_);
  return database_.Run("DELETE FROM id_ranges WHERE folder = ?1", {folder});
}

Result<std::vector<IdRange>> PlatformDb::UnsettledRanges() {
  const std::lock_guard lock(mutex_);
  std::vector<IdRange> ranges;
  RETURN_IF_ERROR(database_.Run(
      "SELECT first, workspace, folder FROM id_ranges WHERE folder <> workspace ORDER BY first", {},
      [&ranges](const Row& row) {
        ranges.push_back({static_cast<std::uint32_t>(row.Integer(0)), row.Text(1), row.Text(2)});
      }));
  return ranges;
}

}  // namespace cofferdam::platform
