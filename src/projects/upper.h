// What is in an upper directory, compared with what was in it before. A walk over its names; a file
// is read only when its stamp is another.
#pragma once

#include <limits.h>

#include <cstdint>
#include <map>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "projects/changes.h"
#include "projects/node.h"
#include "projects/object_store.h"
#include "sys/file.h"

namespace cofferdam::projects {

/// An upper directory, and how it is written.
struct Upper {
  int root = -1;  // a descriptor; borrowed
  UpperFormat format = UpperFormat::kPlain;
  /// To whom what is restored belongs.
  sys::Owner owner = {};
};

/// One path of an upper, in a checkpoint.
struct UpperChange {
  std::string path;
  /// Nothing: it is not in the upper any more.
  std::optional<Node> node = {};
  /// Of a file whose content was kept.
  ObjectId object = {};
  /// What the checkpoint before had; nothing when it had nothing.
  std::optional<Node> node_before = {};
  ObjectId object_before = {};
};

/// What is remembered of a path.
struct Kept {
  /// A directory's time says nothing and is 0. A directory that cannot be looked into is kOther.
  Node node = {};
  ObjectId object = {};
  /// Which is sure to be it as long as it has this stamp.
  Stamp stamp = {};
  /// The checkpoint that had it first.
  std::int64_t checkpoint = 0;
};

/// Whether it is the same thing with the same content.
bool IsSame(const Kept& a, const Kept& b);

/// False for what can only be named: special files, files that were too large or unreadable.
bool IsKept(const Kept& kept);

/// Whether a path can be one of an upper: relative, without empty names, "." and "..", and not
/// longer than kMaxUpperPathBytes.
bool IsUpperPath(std::string_view path);

/// What lies deeper than a path can be long counts as too large.
inline constexpr std::size_t kMaxUpperPathBytes = PATH_MAX - 1;

/// A directory before what is in it, then by the bytes of the names: as WalkTree goes.
struct TreeOrder {
  bool operator()(std::string_view a, std::string_view b) const;
};
using KeptTree = std::map<std::string, Kept, TreeOrder>;

/// What is there now and was not so before, by path, in the order of a tree: nothing for what has
/// gone.
using TreeUpdates = std::vector<std::pair<std::string, std::optional<Kept>>>;

struct UpperScan {
  TreeUpdates updates;
  /// Of the updates that are more than a new stamp.
  std::vector<UpperChange> changes;
  std::vector<LeftOut> left_out;
};

/// Compares the upper with `known` and adds the contents that are new to `objects`, which the
/// caller syncs. A file that changes meanwhile gets a stamp that fits nothing.
Result<UpperScan> ScanUpper(const Upper& upper, const KeptTree& known, ObjectStore& objects,
                            std::uint64_t max_file_bytes, const std::stop_token& stop);

void UpdateTree(const TreeUpdates& updates, KeptTree& tree);

/// What turns the one tree into the other; not the stamps.
std::vector<UpperChange> Differences(const KeptTree& before, const KeptTree& after);

}  // namespace cofferdam::projects
