// What an overlay shows, read from its layers without mounting it: the rules are those of the
// kernel's overlayfs (Documentation/filesystems/overlayfs.rst), with redirect_dir on and metacopy
// off.
#pragma once

#include <sys/stat.h>

#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "projects/node.h"
#include "projects/tree_walk.h"
#include "sys/fd.h"

namespace cofferdam::projects {

/// One layer: a directory's descriptor (O_PATH is enough; borrowed) and how it is to be read.
struct LayerView {
  int root = -1;
  UpperFormat format = UpperFormat::kPlain;
};

/// One of the directories that a merged directory is made of.
struct DirectoryPart {
  std::size_t layer = 0;
  sys::UniqueFd directory;  // can be listed
  dev_t device = 0;
  ino_t inode = 0;
};

/// A directory of a merged tree, open: its parts, the uppermost first. None of a mount point.
struct MergedDirectory {
  std::vector<DirectoryPart> parts;
};

/// Where something in a merged tree lies.
struct Found {
  /// Never a whiteout.
  Node node;
  struct stat info;
  /// Index of the layer that it comes from; of a directory the uppermost one.
  std::size_t layer = 0;
  /// The directory of that layer that holds it, and its name there.
  sys::UniqueFd parent;
  std::string name;
  /// Of a directory.
  MergedDirectory directory = {};
};

/// Layers, the uppermost first. Copies nothing, keeps no state. The descriptors must outlive it.
/// Belongs to one thread. kPermissionDenied for a directory that this process may not read;
/// kCorrupt for marks that no overlay would have written.
class MergedTree {
 public:
  explicit MergedTree(std::vector<LayerView> layers) : layers_(std::move(layers)) {}

  /// Nothing when there is nothing of that path.
  Result<std::optional<Found>> Lookup(const std::string& path) const;

  /// Everything below `path` (empty: all), a directory before what is in it, by the bytes of the
  /// names. `descend` decides for directories. Holds a bounded number of descriptors. A directory
  /// that may not be read is not visited; `unreadable` hears its path, or the walk ends.
  Status Walk(const std::string& path,
              const std::function<Result<Descend>(const std::string& path, const Found&)>& visit,
              const std::stop_token& stop = {},
              const std::function<void(const std::string& path)>& unreadable = {}) const;

  /// For who goes through a tree by himself: the root, one name in an open directory, and the names
  /// of all its parts, sorted (a name may be a whiteout's, so that it is not found).
  Result<MergedDirectory> Root() const;
  Result<std::optional<Found>> LookupIn(const MergedDirectory& directory,
                                        const std::string& name) const;
  static Result<std::vector<std::string>> Names(const MergedDirectory& directory);

 private:
  struct Search;
  Result<std::optional<Found>> SearchLayer(const DirectoryPart& part, Search& search) const;
  Result<std::optional<Found>> SearchName(int directory, std::size_t layer, Search& search,
                                          std::size_t begin, std::size_t end) const;
  Result<std::optional<Found>> SearchDirectory(Found found, Search& search, std::size_t begin,
                                               std::size_t end) const;

  std::vector<LayerView> layers_;
};

}  // namespace cofferdam::projects
