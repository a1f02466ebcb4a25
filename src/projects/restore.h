// Writing an upper: makes a directory what a checkpoint says that it was. Nothing else may write
// there meanwhile, but what is there was written by an agent: everything is done by descriptor, and
// no symlink is ever followed.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "projects/object_store.h"
#include "projects/upper.h"

namespace cofferdam::projects {

struct Rewritten {
  /// How many paths were written or removed.
  std::uint64_t paths = 0;
  /// Of what was wanted: what nobody kept, and contents that the store has lost. Left as they are.
  std::vector<LeftOut> left_out = {};
  /// What was written, with its stamps; no directories.
  KeptTree written = {};
  /// The directories in which a name was written or removed, or that were made or changed.
  std::set<std::string> directories = {};
};

/// `known` says by its stamps what is right already; the rest is written, each name whole or not at
/// all, and what is not wanted is removed. Killed in between, it can be called again. Times of
/// directories are not restored. What was written survives a crash after SyncRewritten.
Result<Rewritten> RewriteUpper(const Upper& upper, KeptTree wanted, const KeptTree& known,
                               const ObjectStore& objects);

Status SyncRewritten(const Upper& upper, const Rewritten& rewritten);

}  // namespace cofferdam::projects
