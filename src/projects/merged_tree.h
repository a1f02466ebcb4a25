// What an overlay shows, read from its layers without mounting it: the rules are those of the
// kernel's overlayfs (Documentation/filesystems/overlayfs.rst), with redirect_dir on and metacopy
// off.
#pragma once

#include <functional>
#include <optional>
#include <stop_token>
#include <string>
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

/// Where something in a merged tree lies.
struct Found {
  /// Never a whiteout.
  Node node;
  struct stat info;
  /// Index of the layer that it comes from; of a directory the uppermost one.
  std::size_t layer = 0;
  /// The directory of that layer that holds it, O_PATH, and its name there.
  sys::UniqueFd parent;
  std::string name;
};

/// Layers, the uppermost first. Copies nothing, keeps no state. The descriptors must outlive it.
/// Belongs to one thread.
class MergedTree {
 public:
  explicit MergedTree(std::vector<LayerView> layers) : layers_(std::move(layers)) {}

  /// Nothing when there is nothing of that path.
  Result<std::optional<Found>> Lookup(const std::string& path) const;

  /// Everything below `path` (empty: all), a directory before what is in it, by the bytes of the
  /// names. `descend` decides for directories.
  Status Walk(const std::string& path,
              const std::function<Result<Descend>(const std::string& path, const Found&)>& visit,
              const std::stop_token& stop = {}) const;

 private:
  std::vector<LayerView> layers_;
};

}  // namespace cofferdam::projects
