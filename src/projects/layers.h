// Immutable layers that workspaces share: <state>/layers/<id>/tree, and layer.json, which says to
// whom its files belong and how it was written. A layer is never changed once it is full, and goes
// when no workspace names it any more. Bytes on disk: docs/formats/layers.md.
#pragma once

#include <functional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "projects/changes.h"
#include "projects/merged_tree.h"
#include "projects/node.h"
#include "sys/fd.h"
#include "sys/file.h"

namespace cofferdam::projects {

struct Layer {
  std::string id;  // as NewId makes them
  /// The files' ids on the disk.
  sys::Owner owner = {};
  UpperFormat format = UpperFormat::kPlain;
};

/// <state>/layers. Thread-safe, also between processes.
class Layers {
 public:
  /// As long as one lives, no layer is collected: whoever makes a layer holds one from before that
  /// until a workspace names it, and who deletes a workspace while it does. One that was not told
  /// Done, since its process died or failed in between, is found by NeedsCollect.
  class Hold {
   public:
    /// Nothing was left that Collect would have to find.
    void Done();

   private:
    friend class Layers;
    Hold(sys::UniqueFd directory, std::string mark)
        : directory_(std::move(directory)), mark_(std::move(mark)) {}
    sys::UniqueFd directory_;  // has the lock
    std::string mark_;
  };

  /// `state` is the state directory; "layers" in it is made when it is missing (0700).
  static Result<Layers> Open(const std::string& state);

  Result<Hold> Take() const;

  /// A layer without files, whose tree has the mode `mode`. kAlreadyExists.
  Status MakeEmpty(const Layer& layer, mode_t mode) const;
  /// Whether TakeOver could have the directory: kUnsupported says why not.
  Status CheckTakeOver(int parent, const std::string& name) const;
  /// Exchanges the empty tree of a new layer with the directory `name` in `parent`: it gets the
  /// files, and they are there at every moment. kUnsupported, and nothing is done, where a rename
  /// cannot do it: another file system, a project quota.
  Status TakeOver(const std::string& id, int parent, const std::string& name) const;

  /// Makes a layer of a copy of the directory `name` in `parent` (tree_copy.h). There whole, and
  /// synced, or not at all.
  Result<std::vector<LeftOut>> Copy(const Layer& layer, int parent, const std::string& name,
                                    const std::stop_token& stop = {}) const;

  /// The same with what a directory and the layers below it show together; `layer.format` is
  /// kPlain.
  struct Part {
    LayerView view;
    sys::Owner owner;
  };
  Result<std::vector<LeftOut>> Flatten(const Layer& layer, const std::vector<Part>& parts,
                                       const std::stop_token& stop = {}) const;

  /// kNotFound; kCorrupt for a damaged layer.json; kInvalidArgument for an id that is none.
  Result<Layer> Read(const std::string& id) const;
  /// The tree, O_PATH.
  Result<sys::UniqueFd> OpenTree(const std::string& id) const;
  /// Its absolute path.
  std::string TreePath(const std::string& id) const;

  /// Whether somebody was stopped in the middle, or is in the middle now.
  Result<bool> NeedsCollect() const;
  /// Removes the layers that `is_used` does not know, and what was not finished. Does nothing while
  /// anybody has a Hold: the next one does it.
  Status Collect(const std::function<Result<bool>(const std::string& id)>& is_used) const;

 private:
  Layers(std::string path, sys::UniqueFd directory)
      : path_(std::move(path)), directory_(std::move(directory)) {}
  std::string path_;
  sys::UniqueFd directory_;
};

}  // namespace cofferdam::projects
