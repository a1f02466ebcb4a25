// Immutable layers that workspaces share: <state>/layers/<id>/tree, and layer.json, which says to
// whom its files belong and how it was written. A layer is never changed once it is there, and goes
// when no workspace names it any more. Bytes on disk: docs/formats/layers.md.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/error.h"
#include "projects/node.h"
#include "sys/fd.h"
#include "sys/file.h"

namespace cofferdam::projects {

struct Layer {
  std::string id;
  /// The files' ids on the disk.
  sys::Owner owner = {};
  UpperFormat format = UpperFormat::kPlain;
};

/// <state>/layers. Thread-safe, and between processes: a lock in the directory is held for each
/// change.
class Layers {
 public:
  /// `directory` is <state>/layers, made when it is missing (0700).
  static Result<Layers> Open(const std::string& state);

  /// Makes a layer of the directory `name` in `parent` by renaming it there; kUnsupported, and
  /// nothing is done, where a rename cannot do it (another file system, another quota project).
  Status TakeOver(const Layer& layer, int parent, const std::string& name);
  /// Makes a layer of a copy of it.
  Status Copy(const Layer& layer, int parent, const std::string& name);

  Result<Layer> Read(const std::string& id) const;
  /// The tree, O_PATH.
  Result<sys::UniqueFd> OpenTree(const std::string& id) const;
  /// Its absolute path.
  std::string TreePath(const std::string& id) const;

  /// Removes the layers that `is_used` does not know and that are older than a minute, so that one
  /// whose workspace is just being made stays.
  Status Collect(const std::function<bool(const std::string& id)>& is_used);

 private:
  Layers(std::string path, sys::UniqueFd directory)
      : path_(std::move(path)), directory_(std::move(directory)) {}
  std::string path_;
  sys::UniqueFd directory_;
};

}  // namespace cofferdam::projects
