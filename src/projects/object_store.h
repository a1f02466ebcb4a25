// Contents of files by their SHA-256, in a directory that no sandbox sees. Immutable, deduplicated,
// synced before their name is there. Never a hard link to a file that somebody else can write: a
// copy, or a reflink where the file system has them; holes stay holes.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"
#include "sys/fd.h"

namespace cofferdam::crypto {
class Sha256Stream;
}

namespace cofferdam::projects {

/// 64 lower-case hex digits.
using ObjectId = std::string;

/// Several processes may use one directory. Thread-safe.
///
///   ASSIGN_OR_RETURN(const ObjectId id, store.Add(file.get(), max_bytes));
///   RETURN_IF_ERROR(store.Sync());  // now it is there, for good
class ObjectStore {
 public:
  /// `directory` is made by the caller, 0700.
  explicit ObjectStore(sys::UniqueFd directory);
  ObjectStore(ObjectStore&&) noexcept;
  ObjectStore& operator=(ObjectStore&&) noexcept;
  /// Drops what was added and not synced.
  ~ObjectStore();

  /// Takes in what `file` holds from its beginning on. There for others, and for Open, only after
  /// Sync, which is much cheaper for many than for each. A file that changes meanwhile gives
  /// something in between, whose id is right all the same. kTooLarge when there is more than
  /// `max_bytes`.
  Result<ObjectId> Add(int file, std::uint64_t max_bytes);
  Result<ObjectId> AddBytes(std::string_view bytes);
  /// Makes all that was added durable, contents before names. After an error none of it counts as
  /// added.
  Status Sync();
  /// Forgets what was added and not synced.
  void Discard();

  /// How long a content is that is there, or was added. kNotFound.
  Result<std::uint64_t> SizeOf(const ObjectId& id) const;

  /// kNotFound; kInvalidArgument for an id that is none.
  Result<sys::UniqueFd> Open(const ObjectId& id) const;
  /// Writes an object into a new file `target`, which is empty. kCorrupt when it is not what its
  /// name says.
  Status CopyTo(const ObjectId& id, int target) const;

  /// Removes what writers that were killed have left without a name; does nothing while somebody
  /// adds.
  Status RemoveLeftovers();

  /// Removes every object that `is_used` does not know, and what a killed writer left; gives how
  /// many bytes that were. kBusy while somebody has added and not synced yet.
  Result<std::uint64_t> Collect(const std::function<bool(const ObjectId&)>& is_used);

 private:
  struct Added;
  using Fill = std::function<Status(int copy, crypto::Sha256Stream& hash)>;
  Result<ObjectId> AddFilled(const Fill& fill);

  sys::UniqueFd directory_;
  std::unique_ptr<Added> added_;
};

/// Whether it is 64 lower-case hex digits.
bool IsObjectId(std::string_view text);

/// Copies from one file to another, empty one: a reflink where it can be had, else the bytes, with
/// holes left holes. Both from their beginning.
Status CopyContent(int from, int to);

}  // namespace cofferdam::projects
