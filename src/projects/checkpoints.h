// What each turn changed, so that it can be taken back: a database of the paths in an upper at each
// checkpoint, and the store of their contents. Both in <workspace>/checkpoints, which no sandbox
// sees. Bytes on disk: docs/formats/checkpoints.md.
//
// A *view* is one place that can be /workspace: "work", or a project's key (view.h). Each has an
// upper of its own, and checkpoints of its own, which are numbered through.
#pragma once

#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "projects/changes.h"
#include "projects/node.h"
#include "projects/object_store.h"
#include "storage/sqlite.h"
#include "sys/file.h"

namespace cofferdam::projects {

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

/// One path of an upper, in a checkpoint.
struct UpperChange {
  std::string path;
  /// Nothing: it is not in the upper any more.
  std::optional<Node> node = {};
  /// Of a file.
  ObjectId object = {};
  /// What the checkpoint before had; nothing when it had nothing.
  std::optional<Node> node_before = {};
  ObjectId object_before = {};
};

struct Taken {
  /// Nothing when the upper is as the last checkpoint has it; then none was made.
  std::optional<Checkpoint> checkpoint = {};
  std::vector<UpperChange> changes = {};
  /// In the upper, and not kept.
  std::vector<LeftOut> left_out = {};
};

/// An upper directory, and how it is written.
struct Upper {
  int root = -1;  // a descriptor; borrowed
  UpperFormat format = UpperFormat::kPlain;
  /// To whom what is restored belongs.
  sys::Owner owner = {};
};

struct Restored {
  Checkpoint checkpoint = {};  // the new one, which says what was restored
  std::uint64_t paths = 0;
  /// What the wanted state had and nobody kept: left as it is now.
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
  Result<Taken> Take(const std::string& view, const Upper& upper, const CheckpointLabel& label,
                     const std::stop_token& stop = {});

  /// Oldest first. Of one view, or all.
  Result<std::vector<Checkpoint>> List(const std::optional<std::string>& view = {});

  /// Makes the upper what it was at a checkpoint, or empty for id 0, as a new checkpoint. The state
  /// until now must have been taken (Take with "before_rewind"), or it is lost. Killed in the
  /// middle, it is in Unfinished, and calling Restore again with the same arguments finishes it.
  Result<Restored> Restore(const std::string& view, std::int64_t id, const Upper& upper,
                           const CheckpointLabel& label);

  struct Intent {
    std::string view;
    std::int64_t id = 0;
    CheckpointLabel label;
  };
  /// The Restore that was begun and not finished, if any.
  Result<std::optional<Intent>> Unfinished();

  /// Marks the checkpoints of a session with a later turn than `turn` as abandoned.
  Status Abandon(const std::string& session, std::int64_t turn);

  /// After an apply: what came before cannot be gone back to. The upper counts as empty.
  Status BeginEpoch(const std::string& view, const CheckpointLabel& label);

  /// The first content that a path below had when the upper began to change it (apply needs it).
  /// Keeps what is there already.
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

 private:
  Checkpoints(storage::Database database, ObjectStore objects, const Clock& clock,
              std::uint64_t max_file_bytes)
      : database_(std::move(database)),
        objects_(std::move(objects)),
        clock_(&clock),
        max_file_bytes_(max_file_bytes) {}

  storage::Database database_;
  ObjectStore objects_;
  const Clock* clock_;
  std::uint64_t max_file_bytes_;
};

}  // namespace cofferdam::projects
