// What a place that can be /workspace consists of (projects/view.h says what they are): which one
// settings mean, and its directories, opened.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <cofferdam/settings.h>
#include <cofferdam/workspace.h>

#include "base/error.h"
#include "projects/checkpoints.h"
#include "projects/merged_tree.h"
#include "projects/node.h"
#include "projects/view.h"
#include "sandbox/overlay.h"
#include "sandbox/spec.h"
#include "sys/fd.h"

namespace cofferdam::platform {

/// Beside the upper of a project in the mode copy: what lies below it.
inline constexpr char kCopyDirectory[] = "copy";

/// What settings say that /workspace is.
struct ViewChoice {
  std::string view = projects::kWorkView;
  /// The project's directory; empty: the workspace's own files.
  std::string project = {};
  projects::ProjectMode mode = projects::ProjectMode::kOverlay;  // of a project

  /// Whether an upper of this workspace takes what an agent writes, so that there are checkpoints.
  bool has_upper() const {
    return project.empty() || mode == projects::ProjectMode::kOverlay ||
           mode == projects::ProjectMode::kCopy;
  }
  bool operator==(const ViewChoice&) const = default;
};

/// Looks at the project's directory: kMountRefused for what no sandbox may be shown, for what holds
/// the state directory, and for what is no directory.
Result<ViewChoice> ChooseView(const Settings& settings, const std::string& state_directory);

/// To whom the files of a project belong; nothing when the host cannot let them appear as
/// another's.
Result<std::optional<sandbox::HostIdentity>> OwnerOfProject(const std::string& directory);

/// One layer below an upper.
struct ViewLower {
  std::string path;  // absolute
  /// To whom its files belong on the disk.
  sandbox::HostIdentity owner = {};
  projects::UpperFormat format = projects::UpperFormat::kPlain;
  sys::UniqueFd root;  // O_PATH
};

/// The directories of a view that has an upper, opened; those that were missing are made.
/// Immutable. Whoever has it is sure of nothing: it takes no lock.
class ViewParts {
 public:
  /// kUnsupported for a view whose upper a superuser has written when the caller is none, or the
  /// other way round.
  static Result<ViewParts> Open(const Workspace::State& workspace, const ViewChoice& choice,
                                projects::Checkpoints& checkpoints);

  const std::string& view() const { return choice_.view; }
  const ViewChoice& choice() const { return choice_; }
  /// Nothing for "work" without layers, which is a plain directory.
  const std::optional<projects::ViewRecord>& record() const { return record_; }
  bool is_overlay() const { return !lowers_.empty(); }

  /// <workspace>/<paths().parent>, O_PATH: what a fork renames the upper in.
  int parent() const { return parent_.get(); }
  const projects::ViewPaths& paths() const { return paths_; }
  /// Of who writes in the upper.
  const sandbox::HostIdentity& identity() const { return identity_; }
  projects::UpperFormat format() const;
  /// For Checkpoints; borrows.
  projects::Upper upper() const;
  /// For MergedTree and FindChanges; borrow.
  projects::LayerView upper_layer() const { return {upper_.get(), format()}; }
  std::vector<projects::LayerView> lower_layers() const;
  /// The uppermost first.
  const std::vector<ViewLower>& lowers() const { return lowers_; }
  /// What the launcher makes the overlay from.
  sandbox::OverlaySpec overlay_spec() const;
  /// Nothing at all is in the upper.
  Result<bool> upper_is_empty() const;

 private:
  ViewParts() = default;

  ViewChoice choice_;
  projects::ViewPaths paths_;
  std::string parent_path_;
  sandbox::HostIdentity identity_ = {};
  std::optional<projects::ViewRecord> record_;
  sys::UniqueFd parent_;
  sys::UniqueFd upper_;
  std::vector<ViewLower> lowers_;
};

}  // namespace cofferdam::platform
