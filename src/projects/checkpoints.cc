#include "projects/checkpoints.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>
#include <utility>

#include "base/check.h"
#include "projects/checkpoint_rows.h"
#include "projects/restore.h"
#include "storage/atomic_file.h"
#include "sys/file.h"

namespace cofferdam::projects {
namespace {

constexpr char kLock[] = "checkpoints.lock";

/// Contents that were added for a checkpoint that is not made are forgotten.
class Adding {
 public:
  explicit Adding(ObjectStore& objects) : objects_(objects) {}
  Adding(const Adding&) = delete;
  Adding& operator=(const Adding&) = delete;
  ~Adding() { objects_.Discard(); }

 private:
  ObjectStore& objects_;
};

/// The paths of an upper that may not be as they were known.
std::set<std::string> TouchedBy(const Rewritten& rewritten, const UpperScan& scan) {
  std::set<std::string> touched;
  for (const auto& [path, kept] : rewritten.written) touched.insert(path);
  for (const auto& [path, after] : scan.updates) touched.insert(path);
  return touched;
}

}  // namespace

Result<Checkpoints> Checkpoints::Open(const std::string& folder, const Clock& clock,
                                      std::uint64_t max_file_bytes) {
  const std::string path = folder + "/checkpoints";
  RETURN_IF_ERROR(sys::MakeDirectories(path + "/objects", 0700));
  ASSIGN_OR_RETURN(sys::UniqueFd directory, sys::Open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW));
  ASSIGN_OR_RETURN(sys::UniqueFd objects,
                   sys::OpenAt(directory.get(), "objects", O_PATH | O_DIRECTORY | O_NOFOLLOW));
  ASSIGN_OR_RETURN(storage::Database database,
                   storage::Database::Open(path + "/checkpoints.db", CheckpointMigrations()));
  return Checkpoints(std::move(directory), std::move(database), ObjectStore(std::move(objects)),
                     clock, max_file_bytes);
}

// ---- What is known

Result<storage::FileLock> Checkpoints::Lock(const std::stop_token& stop) const {
  return storage::FileLock::Acquire(directory_.get(), kLock, Deadline::Never(), stop);
}

Result<std::int64_t> Checkpoints::EpochOf(const std::string& view) {
  std::int64_t epoch = 0;
  RETURN_IF_ERROR(
      database_.Run("SELECT epoch FROM checkpoints WHERE view = ?1 ORDER BY id DESC LIMIT 1",
                    {view}, [&](const storage::Row& row) { epoch = row.Integer(0); }));
  return epoch;
}

// Everybody who writes what is kept here has the lock.
Result<KeptTree*> Checkpoints::Current(const std::string& view) {
  std::int64_t version = 0;
  RETURN_IF_ERROR(database_.Run("PRAGMA data_version", {},
                                [&](const storage::Row& row) { version = row.Integer(0); }));
  if (version != std::exchange(data_version_, version)) current_.clear();
  auto known = current_.find(view);
  if (known == current_.end()) {
    ASSIGN_OR_RETURN(KeptTree tree, LoadCurrent(database_, view));
    known = current_.emplace(view, std::move(tree)).first;
  }
  return &known->second;
}

Result<KeptTree> Checkpoints::StateAt(const std::string& view, std::int64_t id) {
  if (id == 0) return KeptTree();
  std::optional<std::int64_t> epoch;
  std::string reason;
  RETURN_IF_ERROR(database_.Run("SELECT epoch, reason FROM checkpoints WHERE view = ?1 AND id = ?2",
                                {view, id}, [&](const storage::Row& row) {
                                  epoch = row.Integer(0);
                                  reason = row.Text(1);
                                }));
  if (!epoch)
    return Err(ErrorCode::kNotFound, "there is no checkpoint " + std::to_string(id) + " here");
  if (reason == kForgotten)
    return Err(ErrorCode::kInvalidArgument,
               "what the files were then is forgotten: the oldest checkpoints go when all take "
               "more than the workspace's disk limit",
               "go back to a later one, or raise disk_mib for the future");
  ASSIGN_OR_RETURN(const std::int64_t now, EpochOf(view));
  if (*epoch != now)
    return Err(ErrorCode::kInvalidArgument,
               "checkpoint " + std::to_string(id) + " is from before an apply or a fork",
               "what was applied is in the project; go back to a later checkpoint");
  std::int64_t first = 0;
  RETURN_IF_ERROR(database_.Run("SELECT min(id) FROM checkpoints WHERE view = ?1 AND epoch = ?2",
                                {view, now},
                                [&](const storage::Row& row) { first = row.Integer(0); }));
  return LoadState(database_, view, first, id);
}

// ---- Taking

Result<Taken> Checkpoints::Take(const std::string& view, const Upper& upper,
                                const CheckpointLabel& label, const std::stop_token& stop) {
  ASSIGN_OR_RETURN(const storage::FileLock lock, Lock(stop));
  ASSIGN_OR_RETURN(const std::vector<Intent> intents, LoadIntents(database_));
  for (const Intent& intent : intents)
    if (intent.view == view)
      return Err(ErrorCode::kBusy, "the files were being set back, and that is not finished",
                 "rewind again");
  ASSIGN_OR_RETURN(KeptTree* const known, Current(view));
  const Adding adding(objects_);
  ASSIGN_OR_RETURN(UpperScan scan, ScanUpper(upper, *known, objects_, max_file_bytes_, stop));
  if (scan.updates.empty()) return Taken();
  RETURN_IF_ERROR(objects_.Sync());
  Checkpoint checkpoint{.view = view, .label = label};
  const Status stored = database_.Transaction([&]() -> Status {
    if (!scan.changes.empty()) RETURN_IF_ERROR(Save(checkpoint, scan.changes));
    for (auto& [path, after] : scan.updates)
      RETURN_IF_ERROR(SaveKept(checkpoint, path, *known, after ? &*after : nullptr));
    return {};
  });
  if (!stored) return std::unexpected(stored.error());
  UpdateTree(scan.updates, *known);
  Taken taken{.changes = std::move(scan.changes), .left_out = std::move(scan.left_out)};
  if (checkpoint.id != 0) taken.checkpoint = std::move(checkpoint);
  return taken;
}

/// Within a transaction.
Status Checkpoints::Save(Checkpoint& checkpoint, const std::vector<UpperChange>& changes) {
  checkpoint.unix_millis = clock_->UnixMillis();
  checkpoint.changed = static_cast<std::int64_t>(changes.size());
  ASSIGN_OR_RETURN(checkpoint.epoch, EpochOf(checkpoint.view));
  RETURN_IF_ERROR(InsertCheckpoint(database_, checkpoint));
  for (const UpperChange& change : changes)
    RETURN_IF_ERROR(InsertChange(database_, checkpoint, change));
  return {};
}

/// Within a transaction. `after` gets the checkpoint that had it first.
Status Checkpoints::SaveKept(const Checkpoint& checkpoint, const std::string& path,
                             const KeptTree& before, Kept* after) {
  if (after != nullptr) {
    const auto old = before.find(path);
    const bool is_same = old != before.end() && IsSame(old->second, *after);
    after->checkpoint = is_same ? old->second.checkpoint : checkpoint.id;
  }
  return SaveCurrent(database_, checkpoint.view, path, after);
}

Result<std::vector<Checkpoint>> Checkpoints::List(const std::optional<std::string>& view) {
  return LoadCheckpoints(database_, view);
}

// ---- Going back

Result<Restored> Checkpoints::Restore(const std::string& view, std::int64_t id, const Upper& upper,
                                      const CheckpointLabel& label) {
  ASSIGN_OR_RETURN(const storage::FileLock lock, Lock({}));
  ASSIGN_OR_RETURN(KeptTree wanted, StateAt(view, id));
  ASSIGN_OR_RETURN(KeptTree* const known, Current(view));
  RETURN_IF_ERROR(SaveIntent(database_, {view, id, label}));
  ASSIGN_OR_RETURN(Rewritten rewritten, RewriteUpper(upper, std::move(wanted), *known, objects_));
  RETURN_IF_ERROR(SyncRewritten(upper, rewritten));

  // What is there now is looked at once more: what was left alone is as the agent made it.
  KeptTree state = *known;
  for (const auto& [path, kept] : rewritten.written) state[path] = kept;
  const Adding adding(objects_);
  ASSIGN_OR_RETURN(const UpperScan scan, ScanUpper(upper, state, objects_, max_file_bytes_, {}));
  RETURN_IF_ERROR(objects_.Sync());
  UpdateTree(scan.updates, state);
  Checkpoint checkpoint{.view = view, .label = label};
  const Status stored = database_.Transaction([&]() -> Status {
    RETURN_IF_ERROR(Save(checkpoint, Differences(*known, state)));
    for (const std::string& path : TouchedBy(rewritten, scan)) {
      const auto after = state.find(path);
      RETURN_IF_ERROR(
          SaveKept(checkpoint, path, *known, after != state.end() ? &after->second : nullptr));
    }
    return database_.Run("DELETE FROM intents WHERE view = ?1", {view});
  });
  if (!stored) return std::unexpected(stored.error());
  *known = std::move(state);
  return Restored{.checkpoint = std::move(checkpoint),
                  .paths = rewritten.paths,
                  .left_out = std::move(rewritten.left_out)};
}

Result<std::optional<Checkpoints::Intent>> Checkpoints::Unfinished(const std::string& view) {
  ASSIGN_OR_RETURN(std::vector<Intent> intents, LoadIntents(database_));
  for (Intent& intent : intents)
    if (intent.view == view) return std::move(intent);
  return std::nullopt;
}

Status Checkpoints::Abandon(const std::string& session, std::int64_t turn) {
  return database_.Run("UPDATE checkpoints SET abandoned = 1 WHERE session = ?1 AND turn > ?2",
                       {session, turn});
}

Status Checkpoints::BeginEpoch(const std::string& view, const CheckpointLabel& label) {
  ASSIGN_OR_RETURN(const storage::FileLock lock, Lock({}));
  current_.erase(view);
  return database_.Transaction([&]() -> Status {
    ASSIGN_OR_RETURN(const std::int64_t epoch, EpochOf(view));
    Checkpoint checkpoint{
        .view = view, .label = label, .unix_millis = clock_->UnixMillis(), .epoch = epoch + 1};
    RETURN_IF_ERROR(InsertCheckpoint(database_, checkpoint));
    RETURN_IF_ERROR(database_.Run("DELETE FROM current WHERE view = ?1", {view}));
    return database_.Run("DELETE FROM intents WHERE view = ?1", {view});
  });
}

// ---- Bases

Status Checkpoints::KeepBase(const std::string& view, const std::string& path,
                             const ObjectId& object, const Node& node) {
  ASSIGN_OR_RETURN(const bool is_new, InsertBase(database_, view, path, {object, node}));
  if (!is_new || object.empty()) return {};
  // Looked for when Collect would see the row.
  const auto size = objects_.SizeOf(object);
  if (size) return {};
  RETURN_IF_ERROR(database_.Run("DELETE FROM bases WHERE view = ?1 AND path = ?2", {view, path}));
  return std::unexpected(size.error());
}

Result<std::optional<Checkpoints::Base>> Checkpoints::FindBase(const std::string& view,
                                                               const std::string& path) {
  return LoadBase(database_, view, path);
}

Status Checkpoints::ForgetBases(const std::string& view) {
  return database_.Run("DELETE FROM bases WHERE view = ?1", {view});
}

// ---- Collecting

Result<std::uint64_t> Checkpoints::Collect() {
  ASSIGN_OR_RETURN(const storage::FileLock lock, Lock({}));
  std::uint64_t freed = 0;
  // Contents go while nobody can say that they are needed. When it is killed then, rows of epochs
  // that have ended are left without their contents, and go the next time.
  const Status collected = database_.Transaction([&]() -> Status {
    RETURN_IF_ERROR(DeleteEndedEpochs(database_));
    ASSIGN_OR_RETURN(const std::set<ObjectId> used, LoadObjects(database_));
    ASSIGN_OR_RETURN(
        freed, objects_.Collect([&](const ObjectId& object) { return used.contains(object); }));
    return {};
  });
  if (!collected) return std::unexpected(collected.error());
  return freed;
}

Result<std::size_t> Checkpoints::KeepWithin(std::uint64_t max_bytes) {
  std::size_t forgotten = 0;
  for (bool goes_on = true; goes_on;) {
    ASSIGN_OR_RETURN(const std::uint64_t bytes, ObjectBytes(database_));
    if (bytes <= max_bytes) return forgotten;
    {
      ASSIGN_OR_RETURN(const storage::FileLock lock, Lock({}));
      ASSIGN_OR_RETURN(const std::size_t now, ForgetOldest());
      forgotten += now;
      goes_on = now > 0;
    }
    // While another process adds contents, they go the next time.
    const auto collected = Collect();
    if (!collected && collected.error().code != ErrorCode::kBusy)
      return std::unexpected(collected.error());
  }
  return forgotten;
}

/// A quarter of what can be forgotten, so that it need not be done again soon. The caller has the
/// lock.
Result<std::size_t> Checkpoints::ForgetOldest() {
  ASSIGN_OR_RETURN(const std::vector<Intent> intents, LoadIntents(database_));
  if (!intents.empty()) return 0;
  std::size_t forgotten = 0;
  current_.clear();
  const Status done = database_.Transaction([&]() -> Status {
    RETURN_IF_ERROR(DeleteEndedEpochs(database_));
    ASSIGN_OR_RETURN(const std::vector<Checkpoint> all, LoadCheckpoints(database_, {}));
    std::map<std::string, std::int64_t> last;
    for (const Checkpoint& checkpoint : all) last[checkpoint.view] = checkpoint.id;
    std::vector<const Checkpoint*> oldest;
    for (const Checkpoint& checkpoint : all)
      if (checkpoint.id != last[checkpoint.view] && checkpoint.label.reason != kForgotten)
        oldest.push_back(&checkpoint);
    oldest.resize((oldest.size() + 3) / 4);
    std::map<std::string, std::int64_t> gone;
    for (const Checkpoint* checkpoint : oldest) gone[checkpoint->view] = checkpoint->id;
    for (const auto& [view, id] : gone) {
      const auto next = std::ranges::find_if(all, [&view, &id](const Checkpoint& later) {
        return later.view == view && later.id > id;
      });
      CHECK(next != all.end());
      RETURN_IF_ERROR(ForgetBefore(database_, view, next->id));
    }
    forgotten = oldest.size();
    return {};
  });
  if (!done) return std::unexpected(done.error());
  return forgotten;
}

}  // namespace cofferdam::projects
