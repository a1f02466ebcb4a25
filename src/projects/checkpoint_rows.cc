#include "projects/checkpoint_rows.h"

#include <limits.h>

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "projects/tree_walk.h"

namespace cofferdam::projects {
namespace {

using storage::Database;
using storage::Row;

constexpr std::array<storage::Sql, 1> kMigrations = {R"(
CREATE TABLE views (
  view TEXT PRIMARY KEY,
  source TEXT NOT NULL,
  mode TEXT NOT NULL,
  layers TEXT NOT NULL,
  format INTEGER NOT NULL,
  created INTEGER NOT NULL,
  used INTEGER NOT NULL
) STRICT;
CREATE TABLE checkpoints (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  view TEXT NOT NULL,
  epoch INTEGER NOT NULL,
  reason TEXT NOT NULL,
  session TEXT NOT NULL,
  run TEXT NOT NULL,
  turn INTEGER NOT NULL,
  frozen INTEGER NOT NULL,
  created INTEGER NOT NULL,
  changed INTEGER NOT NULL,
  abandoned INTEGER NOT NULL
) STRICT;
CREATE INDEX checkpoints_of_view ON checkpoints (view, id);
CREATE TABLE changes (
  view TEXT NOT NULL,
  path TEXT NOT NULL,
  checkpoint INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  mode INTEGER NOT NULL,
  size INTEGER NOT NULL,
  modified INTEGER NOT NULL,
  target TEXT NOT NULL,
  opaque INTEGER NOT NULL,
  redirect TEXT NOT NULL,
  object TEXT NOT NULL,
  PRIMARY KEY (view, path, checkpoint)
) STRICT, WITHOUT ROWID;
CREATE TABLE current (
  view TEXT NOT NULL,
  path TEXT NOT NULL,
  checkpoint INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  mode INTEGER NOT NULL,
  size INTEGER NOT NULL,
  modified INTEGER NOT NULL,
  target TEXT NOT NULL,
  opaque INTEGER NOT NULL,
  redirect TEXT NOT NULL,
  object TEXT NOT NULL,
  stamp_inode INTEGER NOT NULL,
  stamp_size INTEGER NOT NULL,
  stamp_changed INTEGER NOT NULL,
  PRIMARY KEY (view, path)
) STRICT, WITHOUT ROWID;
CREATE TABLE bases (
  view TEXT NOT NULL,
  path TEXT NOT NULL,
  kind INTEGER NOT NULL,
  mode INTEGER NOT NULL,
  size INTEGER NOT NULL,
  modified INTEGER NOT NULL,
  target TEXT NOT NULL,
  opaque INTEGER NOT NULL,
  redirect TEXT NOT NULL,
  object TEXT NOT NULL,
  PRIMARY KEY (view, path)
) STRICT, WITHOUT ROWID;
CREATE TABLE intents (
  view TEXT PRIMARY KEY,
  checkpoint INTEGER NOT NULL,
  reason TEXT NOT NULL,
  session TEXT NOT NULL,
  run TEXT NOT NULL,
  turn INTEGER NOT NULL,
  frozen INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
)"};

// What a change says of a path that has gone.
constexpr std::int64_t kGone = 0;

std::unexpected<Error> Damaged(std::string_view what) {
  return Err(ErrorCode::kCorrupt, "checkpoints.db is damaged: " + std::string(what),
             "it was left as it is; restore it from a backup");
}

// ---- Nodes

/// The columns kind … object, as they are in a row that begins with them at `first`.
struct NodeColumns {
  std::int64_t kind = kGone;
  std::int64_t mode = 0;
  std::int64_t size = 0;
  std::int64_t modified = 0;
  std::string target = {};
  std::int64_t opaque = 0;
  std::string redirect = {};
  std::string object = {};
};

NodeColumns ColumnsOf(const Row& row, int first) {
  return {row.Integer(first),     row.Integer(first + 1), row.Integer(first + 2),
          row.Integer(first + 3), row.Text(first + 4),    row.Integer(first + 5),
          row.Text(first + 6),    row.Text(first + 7)};
}

NodeColumns ColumnsOf(const Node& node, const ObjectId& object) {
  return {static_cast<std::int64_t>(node.kind),
          static_cast<std::int64_t>(node.mode),
          static_cast<std::int64_t>(node.size),
          node.modified_nanos,
          node.target,
          node.opaque ? 1 : 0,
          node.redirect,
          object};
}

bool IsText(const std::string& text) {
  return text.size() < PATH_MAX && text.find('\0') == std::string::npos;
}

bool FitsKind(const NodeColumns& columns) {
  const auto kind = static_cast<NodeKind>(columns.kind);
  const bool is_directory = kind == NodeKind::kDirectory;
  return columns.target.empty() == (kind != NodeKind::kSymlink) &&
         (is_directory || (columns.opaque == 0 && columns.redirect.empty())) &&
         (kind == NodeKind::kFile || (columns.size == 0 && columns.object.empty()));
}

Result<std::pair<Node, ObjectId>> NodeOf(NodeColumns columns) {
  if (columns.kind < static_cast<std::int64_t>(NodeKind::kFile) ||
      columns.kind > static_cast<std::int64_t>(NodeKind::kOther))
    return Damaged("it has something of no known kind");
  if ((columns.mode & ~std::int64_t{0777}) != 0 || columns.size < 0 || columns.opaque < 0 ||
      columns.opaque > 1 || !IsText(columns.target) || !IsText(columns.redirect) ||
      !FitsKind(columns) || !(columns.object.empty() || IsObjectId(columns.object)))
    return Damaged("it says of something what cannot be");
  return std::pair{Node{.kind = static_cast<NodeKind>(columns.kind),
                        .mode = static_cast<std::uint32_t>(columns.mode),
                        .size = static_cast<std::uint64_t>(columns.size),
                        .modified_nanos = columns.modified,
                        .target = std::move(columns.target),
                        .opaque = columns.opaque != 0,
                        .redirect = std::move(columns.redirect)},
                   std::move(columns.object)};
}

/// Puts rows of (path, checkpoint, node, …) into a tree; those of what has gone are passed over.
class TreeLoader {
 public:
  void Add(const Row& row, bool has_stamp) {
    NodeColumns columns = ColumnsOf(row, 2);
    if (!status_ || columns.kind == kGone) return;
    std::string path = row.Text(0);
    if (!IsUpperPath(path)) {
      status_ = Damaged("it has '" + PathForPerson(path) + "' for a path");
      return;
    }
    auto node = NodeOf(std::move(columns));
    if (!node) {
      status_ = std::unexpected(node.error().With(PathForPerson(path)));
      return;
    }
    Kept kept{.node = std::move(node->first), .object = std::move(node->second)};
    kept.checkpoint = row.Integer(1);
    if (has_stamp)
      kept.stamp = {.inode = static_cast<std::uint64_t>(row.Integer(10)),
                    .size = static_cast<std::uint64_t>(row.Integer(11)),
                    .changed_nanos = row.Integer(12)};
    tree_.emplace_hint(tree_.end(), std::move(path), std::move(kept));
  }

  Result<KeptTree> Take(const Status& read) {
    RETURN_IF_ERROR(read);
    RETURN_IF_ERROR(status_);
    return std::move(tree_);
  }

 private:
  KeptTree tree_;
  Status status_;
};

CheckpointLabel LabelOf(const Row& row, int first) {
  return {.reason = row.Text(first),
          .session = row.Text(first + 1),
          .run = row.Text(first + 2),
          .turn = row.Integer(first + 3),
          .frozen = row.Integer(first + 4) != 0};
}

}  // namespace

std::span<const storage::Sql> CheckpointMigrations() { return kMigrations; }

// ---- Checkpoints

Result<std::vector<Checkpoint>> LoadCheckpoints(Database& database,
                                                const std::optional<std::string>& view) {
  std::vector<Checkpoint> checkpoints;
  RETURN_IF_ERROR(database.Run(
      "SELECT id, view, epoch, created, changed, abandoned, reason, session, run, turn, frozen "
      "FROM checkpoints WHERE ?1 IS NULL OR view = ?1 ORDER BY id",
      {view ? storage::SqlValue(std::string_view(*view)) : storage::SqlValue(nullptr)},
      [&](const Row& row) {
        checkpoints.push_back({.id = row.Integer(0),
                               .view = row.Text(1),
                               .label = LabelOf(row, 6),
                               .unix_millis = row.Integer(3),
                               .changed = row.Integer(4),
                               .abandoned = row.Integer(5) != 0,
                               .epoch = row.Integer(2)});
      }));
  return checkpoints;
}

Status InsertCheckpoint(Database& database, Checkpoint& checkpoint) {
  const CheckpointLabel& label = checkpoint.label;
  RETURN_IF_ERROR(database.Run(
      "INSERT INTO checkpoints (view, epoch, reason, session, run, turn, frozen, created, changed, "
      "abandoned) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 0)",
      {checkpoint.view, checkpoint.epoch, label.reason, label.session, label.run, label.turn,
       std::int64_t{label.frozen}, checkpoint.unix_millis, checkpoint.changed}));
  return database.Run("SELECT last_insert_rowid()", {},
                      [&](const Row& row) { checkpoint.id = row.Integer(0); });
}

// ---- Trees

Result<KeptTree> LoadCurrent(Database& database, const std::string& view) {
  TreeLoader loader;
  const Status read = database.Run(
      "SELECT path, checkpoint, kind, mode, size, modified, target, opaque, redirect, object, "
      "stamp_inode, stamp_size, stamp_changed FROM current WHERE view = ?1 ORDER BY path",
      {view}, [&](const Row& row) { loader.Add(row, true); });
  return loader.Take(read);
}

Status SaveCurrent(Database& database, const std::string& view, const std::string& path,
                   const Kept* kept) {
  if (kept == nullptr)
    return database.Run("DELETE FROM current WHERE view = ?1 AND path = ?2", {view, path});
  const NodeColumns node = ColumnsOf(kept->node, kept->object);
  return database.Run(
      "INSERT OR REPLACE INTO current VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, "
      "?13, ?14)",
      {view, path, kept->checkpoint, node.kind, node.mode, node.size, node.modified, node.target,
       node.opaque, node.redirect, node.object, static_cast<std::int64_t>(kept->stamp.inode),
       static_cast<std::int64_t>(kept->stamp.size), kept->stamp.changed_nanos});
}

Result<KeptTree> LoadState(Database& database, const std::string& view, std::int64_t first,
                           std::int64_t id) {
  TreeLoader loader;
  // The other columns are those of the row that has the maximum.
  const Status read = database.Run(
      "SELECT path, max(checkpoint), kind, mode, size, modified, target, opaque, redirect, object "
      "FROM changes WHERE view = ?1 AND checkpoint BETWEEN ?2 AND ?3 GROUP BY path ORDER BY path",
      {view, first, id}, [&](const Row& row) { loader.Add(row, false); });
  return loader.Take(read);
}

Status InsertChange(Database& database, const Checkpoint& checkpoint, const UpperChange& change) {
  const NodeColumns node = change.node ? ColumnsOf(*change.node, change.object) : NodeColumns();
  return database.Run("INSERT INTO changes VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
                      {checkpoint.view, change.path, checkpoint.id, node.kind, node.mode, node.size,
                       node.modified, node.target, node.opaque, node.redirect, node.object});
}

// ---- Intents, bases, objects

Result<std::vector<Checkpoints::Intent>> LoadIntents(Database& database) {
  std::vector<Checkpoints::Intent> intents;
  RETURN_IF_ERROR(database.Run(
      "SELECT view, checkpoint, reason, session, run, turn, frozen FROM intents ORDER BY view", {},
      [&](const Row& row) { intents.push_back({row.Text(0), row.Integer(1), LabelOf(row, 2)}); }));
  return intents;
}

Status SaveIntent(Database& database, const Checkpoints::Intent& intent) {
  const CheckpointLabel& label = intent.label;
  return database.Run("INSERT OR REPLACE INTO intents VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                      {intent.view, intent.id, label.reason, label.session, label.run, label.turn,
                       std::int64_t{label.frozen}});
}

Result<std::optional<Checkpoints::Base>> LoadBase(Database& database, const std::string& view,
                                                  const std::string& path) {
  std::optional<NodeColumns> found;
  RETURN_IF_ERROR(
      database.Run("SELECT kind, mode, size, modified, target, opaque, redirect, object FROM bases "
                   "WHERE view = ?1 AND path = ?2",
                   {view, path}, [&](const Row& row) { found = ColumnsOf(row, 0); }));
  if (!found) return std::nullopt;
  ASSIGN_OR_RETURN(auto node, NodeOf(std::move(*found)));
  return Checkpoints::Base{.object = std::move(node.second), .node = std::move(node.first)};
}

Result<bool> InsertBase(Database& database, const std::string& view, const std::string& path,
                        const Checkpoints::Base& base) {
  const NodeColumns node = ColumnsOf(base.node, base.object);
  RETURN_IF_ERROR(
      database.Run("INSERT OR IGNORE INTO bases VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
                   {view, path, node.kind, node.mode, node.size, node.modified, node.target,
                    node.opaque, node.redirect, node.object}));
  return database.changes() > 0;
}

Status DeleteEndedEpochs(Database& database) {
  RETURN_IF_ERROR(
      database.Run("DELETE FROM checkpoints AS old WHERE epoch < "
                   "(SELECT max(epoch) FROM checkpoints WHERE view = old.view)"));
  // Those that are forgotten have given their changes to a later one.
  return database.Run("DELETE FROM changes WHERE checkpoint NOT IN (SELECT id FROM checkpoints)");
}

Status ForgetBefore(Database& database, const std::string& view, std::int64_t id) {
  RETURN_IF_ERROR(
      database.Run("DELETE FROM changes AS old WHERE view = ?1 AND checkpoint < ?2 AND EXISTS "
                   "(SELECT 1 FROM changes WHERE view = old.view AND path = old.path AND "
                   "checkpoint > old.checkpoint AND checkpoint <= ?2)",
                   {view, id}));
  RETURN_IF_ERROR(database.Run(
      "UPDATE changes SET checkpoint = ?2 WHERE view = ?1 AND checkpoint < ?2", {view, id}));
  RETURN_IF_ERROR(database.Run(
      "DELETE FROM changes WHERE view = ?1 AND checkpoint = ?2 AND kind = ?3", {view, id, kGone}));
  RETURN_IF_ERROR(database.Run(
      "UPDATE current SET checkpoint = ?2 WHERE view = ?1 AND checkpoint < ?2", {view, id}));
  RETURN_IF_ERROR(
      database.Run("DELETE FROM checkpoints WHERE view = ?1 AND id < (SELECT max(id) FROM "
                   "checkpoints WHERE view = ?1 AND id < ?2)",
                   {view, id}));
  return database.Run(
      "UPDATE checkpoints SET reason = ?3, session = '', run = '', turn = 0, changed = 0 "
      "WHERE view = ?1 AND id < ?2",
      {view, id, kForgotten});
}

Result<std::uint64_t> ObjectBytes(Database& database) {
  std::int64_t bytes = 0;
  RETURN_IF_ERROR(database.Run(
      "SELECT sum(size) FROM (SELECT max(size) AS size FROM (SELECT object, size FROM changes "
      "UNION ALL SELECT object, size FROM current UNION ALL SELECT object, size FROM bases) "
      "WHERE object <> '' GROUP BY object)",
      {}, [&](const Row& row) { bytes = row.Integer(0); }));
  return static_cast<std::uint64_t>(std::max<std::int64_t>(bytes, 0));
}

Result<std::set<ObjectId>> LoadObjects(Database& database) {
  std::set<ObjectId> objects;
  RETURN_IF_ERROR(database.Run(
      "SELECT object FROM changes UNION SELECT object FROM current UNION SELECT object FROM bases",
      {}, [&](const Row& row) { objects.insert(objects.end(), row.Text(0)); }));
  return objects;
}

}  // namespace cofferdam::projects
