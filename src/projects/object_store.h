// Contents of files by their SHA-256, in a directory that no sandbox sees. Immutable, deduplicated,
// synced before their name is there. Never a hard link to a file that somebody else can write: a
// copy, or a reflink where the file system has them; holes stay holes.
#pragma once

#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "sys/fd.h"

namespace cofferdam::projects {

/// 64 lower-case hex digits.
using ObjectId = std::string;

/// Several processes may use one directory. Thread-safe.
class ObjectStore {
 public:
  /// `directory` is made by the caller, 0700.
  explicit ObjectStore(sys::UniqueFd directory) : directory_(std::move(directory)) {}

  /// Takes in what `file` holds from its beginning on. The object is on disk, but its name may not
  /// be synced yet: Sync. kTooLarge when there is more than `max_bytes`.
  Result<ObjectId> Add(int file, std::uint64_t max_bytes);
  Result<ObjectId> AddBytes(std::string_view bytes);
  /// Makes the names of all that was added durable.
  Status Sync();

  /// kNotFound; kInvalidArgument for an id that is none.
  Result<sys::UniqueFd> Open(const ObjectId& id) const;
  /// Writes an object into a new file `target`, which is empty. kCorrupt when it is not what its
  /// name says.
  Status CopyTo(const ObjectId& id, int target) const;

  /// Removes every object that `is_used` does not know, and what a killed writer left; gives how
  /// many bytes that were. Nobody may add at the same time.
  Result<std::uint64_t> Collect(const std::function<bool(const ObjectId&)>& is_used);

 private:
  sys::UniqueFd directory_;
};

/// Copies from one file to another, empty one: a reflink where it can be had, else the bytes, with
/// holes left holes. Both from their beginning.
Status CopyContent(int from, int to);

}  // namespace cofferdam::projects
