// What each turn changed, so that it can be taken back: a database of the paths in an upper at each
// checkpoint, and the store of their contents. Both in <workspace>/checkpoints, which no sandbox
// sees. Bytes on disk: docs/formats/checkpoints.md.
//
// A *view* is one place that can be /workspace: "work", or a project's key (view.h). Each has an
// upper of its own, and checkpoints of its own, which are numbered through.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "projects/changes.h"
#include "projects/node.h"
#include "projects/object_store.h"
#include "projects/upper.h"
#include "storage/file_lock.h"
#include "storage/sqlite.h"
#include "sys/file.h"

namespace cofferdam::projects {

/// The reason of a mark in the place of checkpoints that KeepWithin forgot.
inline constexpr std::string_view kForgotten = "forgotten";

/// What a checkpoint is of.
struct CheckpointLabel {
  /// "turn", "start" (what a run found that no checkpoint had), "before_rewind", "rewind",
  /// "discard", "apply", "fork".
  std::string reason;
  std::string session = {};
  std::string run = {};
  /// Counted through a session from 1; 0 for those that belong to no turn.
  std::int64_t turn = 0;
  /// Whether nothing could write while it was taken.
  bool frozen = true;
};

struct Checkpoint {
  std::int64_t id = 0;  // grows through the workspace
  std::string view = {};
  CheckpointLabel label = {};
  std::int64_t unix_millis = 0;
  /// How many paths of the upper it changed.
  std::int64_t changed = 0;
  /// A rewind went back before it.
  bool abandoned = false;
  /// Counts what cannot be gone back behind: an apply begins a new one.
  std::int64_t epoch = 0;
};

struct Taken {
  /// Nothing when the upper is as the last checkpoint has it; then none was made.
  std::optional<Checkpoint> checkpoint = {};
  std::vector<UpperChange> changes = {};
  /// In the upper, and not kept.
  std::vector<LeftOut> left_out = {};
};

struct Restored {
  Checkpoint checkpoint = {};  // the new one, which says what was restored
  std::uint64_t paths = 0;
  /// What the wanted state had and nobody kept, or the store has lost: left as it is now.
  std::vector<LeftOut> left_out = {};
};

/// Belongs to one thread; several may be open, also in several processes: each call is a
/// transaction.
class Checkpoints {
 public:
  static constexpr std::uint64_t kDefaultMaxFileBytes = std::uint64_t{256} << 20;

  /// Opens <folder>/checkpoints (made when it is missing, 0700); `folder` is the workspace's path,
  /// trusted. A rewind that was killed in the middle is left to Restore's caller: Unfinished.
  /// kCorrupt for a damaged database, which stays as it is.
  static Result<Checkpoints> Open(const std::string& folder, const Clock& clock,
                                  std::uint64_t max_file_bytes = kDefaultMaxFileBytes);

  /// Stores what has changed in the upper since the view's last checkpoint: files are read whose
  /// stamp is another. Costs a look at each name in the upper, and the reading of what changed.
  /// Waits for what another process does here. kBusy while a Restore of the view is unfinished.
  /// After an error nothing was stored. Ownership, times of directories, hard links and extended
  /// attributes of the agent's are not kept, nor setuid, setgid and sticky bits.
  Result<Taken> Take(const std::string& view, const Upper& upper, const CheckpointLabel& label,
                     const std::stop_token& stop = {});

  /// Oldest first. Of one view, or all.
  Result<std::vector<Checkpoint>> List(const std::optional<std::string>& view = {});

  /// Makes the upper what it was at a checkpoint, or empty for id 0, as a new checkpoint. The state
  /// until now must have been taken (Take with "before_rewind"), or it is lost. Killed in the
  /// middle, or failed, it is in Unfinished, and calling Restore again finishes it. kNotFound for
  /// a checkpoint that is not the view's; kInvalidArgument for one from before an apply.
  Result<Restored> Restore(const std::string& view, std::int64_t id, const Upper& upper,
                           const CheckpointLabel& label);

  struct Intent {
    std::string view;
    std::int64_t id = 0;
    CheckpointLabel label;
  };
  /// The Restore of a view that was begun and not finished, if any.
  Result<std::optional<Intent>> Unfinished(const std::string& view);

  /// Marks the checkpoints of a session with a later turn than `turn` as abandoned.
  Status Abandon(const std::string& session, std::int64_t turn);

  /// After an apply: what came before cannot be gone back to. The upper counts as empty.
  Status BeginEpoch(const std::string& view, const CheckpointLabel& label);

  /// The first content that a path below had when the upper began to change it (apply needs it).
  /// Keeps what is there already. `object` is empty for what is no file; kNotFound when it was not
  /// added and synced, or was collected since: add it again. Many at once are much cheaper within
  /// one database().Transaction().
  Status KeepBase(const std::string& view, const std::string& path, const ObjectId& object,
                  const Node& node);
  struct Base {
    ObjectId object;
    Node node;
  };
  Result<std::optional<Base>> FindBase(const std::string& view, const std::string& path);
  Status ForgetBases(const std::string& view);

  ObjectStore& objects() { return objects_; }
  storage::Database& database() { return database_; }

  /// Removes contents that no checkpoint and no base has, and the checkpoints of epochs that have
  /// ended; gives the bytes that it freed.
  Result<std::uint64_t> Collect();

  /// Forgets the oldest checkpoints until the contents of all take at most `max_bytes`, and
  /// collects; the last one of each view stays, whatever it takes. Going back to what is forgotten
  /// is kInvalidArgument; in its place List has one with the reason "forgotten". Gives how many it
  /// forgot.
  Result<std::size_t> KeepWithin(std::uint64_t max_bytes);

 private:
  Checkpoints(sys::UniqueFd directory, storage::Database database, ObjectStore objects,
              const Clock& clock, std::uint64_t max_file_bytes)
      : directory_(std::move(directory)),
        database_(std::move(database)),
        objects_(std::move(objects)),
        clock_(&clock),
        max_file_bytes_(max_file_bytes) {}

  Result<storage::FileLock> Lock(const std::stop_token& stop) const;
  Result<std::int64_t> EpochOf(const std::string& view);
  Result<KeptTree> StateAt(const std::string& view, std::int64_t id);
  Result<std::size_t> ForgetOldest();
  Result<KeptTree*> Current(const std::string& view);
  Status Save(Checkpoint& checkpoint, const std::vector<UpperChange>& changes);
  Status SaveKept(const Checkpoint& checkpoint, const std::string& path, const KeptTree& before,
                  Kept* after);

  sys::UniqueFd directory_;
  storage::Database database_;
  ObjectStore objects_;
  const Clock* clock_;
  std::uint64_t max_file_bytes_;
  /// What `current` holds, as long as no other connection writes.
  std::map<std::string, KeptTree> current_;
  std::int64_t data_version_ = 0;
};

}  // namespace cofferdam::projects
