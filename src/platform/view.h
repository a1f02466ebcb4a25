// The places that can be /workspace, while they are used (projects/view.h says what they are).
//
// Within a process everybody who uses a view has the same OpenView. Between processes a lock on
// <workspace>/views/<view>.lock says who uses it: shared for what several processes may write at
// once, since it is a plain directory ("work" without layers, a project in direct or read-only
// mode); exclusive for what is mounted as an overlay, and for an ExclusiveView.
#pragma once

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>

#include <cofferdam/workspace.h>

#include "base/error.h"
#include "platform/project_base.h"
#include "platform/view_lock.h"
#include "platform/view_parts.h"
#include "projects/base_index.h"
#include "projects/checkpoints.h"
#include "sandbox/launcher.h"
#include "sandbox/local_sandbox.h"
#include "sandbox/overlay.h"
#include "sandbox/spec.h"

namespace cofferdam::platform {

class Halt;

/// A view that sandboxes of this process use. Thread-safe. Outlived by none of its sandboxes.
class OpenView : public std::enable_shared_from_this<OpenView> {
 public:
  /// A sandbox that writes in the view, from its making to its end (or to when it is kept, frozen).
  class Member {
   public:
    Member(std::shared_ptr<OpenView> view, std::list<sandbox::LocalSandbox*>::iterator at)
        : view_(std::move(view)), at_(at) {}
    Member(Member&&) noexcept = default;
    Member& operator=(Member&&) = delete;
    ~Member();

   private:
    std::shared_ptr<OpenView> view_;
    std::list<sandbox::LocalSandbox*>::iterator at_;
  };

  struct Below {
    projects::Node node = {};
    /// Of a file that was not too large.
    projects::ObjectId object = {};
    projects::Stamp stamp = {};
  };
  /// What a checkpoint made of it.
  struct Outcome {
    projects::Taken taken;
    /// By path, what the layers below have of what is new in the upper.
    std::map<std::string, Below> below;
  };

  /// For Views. Takes the lock and opens; makes the view first when it is used for the first time,
  /// after finishing what a killed process has left (view_recovery.h). kBusy when another process
  /// has it, kUnsupported, kMountRefused.
  static Result<std::shared_ptr<OpenView>> Open(const Workspace::State& workspace,
                                                const ViewChoice& choice,
                                                const std::stop_token& stop);

  const ViewChoice& choice() const { return choice_; }
  /// Null for a project that is only mounted.
  const ViewParts* parts() const { return parts_ ? &*parts_ : nullptr; }

  /// The mount for /workspace. Mounts the overlay when nobody has yet; whoever has that keeps the
  /// view in use.
  Result<sandbox::Mount> MountFor(sandbox::Launcher& launcher);

  static Member Join(const std::shared_ptr<OpenView>& view, sandbox::LocalSandbox& sandbox);

  /// Calls `work` while no sandbox of the view can write; one checkpoint, or the like, at a time.
  /// `frozen` is false when that cannot be had: without a freezer, or when another process has
  /// sandboxes in the view. They go on in any case when it returns.
  Status WhileStill(const std::function<Status(bool frozen)>& work);

  /// Takes a checkpoint while all is still. `label.frozen` is put in here. Only of views with an
  /// upper.
  Result<Outcome> Take(projects::CheckpointLabel label, const std::stop_token& stop = {});
  /// Forgets the oldest checkpoints of the workspace until all take at most so much.
  Status KeepWithin(std::uint64_t max_bytes);

 private:
  OpenView(ViewChoice choice, std::string folder, ViewLock lock, projects::Checkpoints checkpoints,
           std::optional<ViewParts> parts)
      : choice_(std::move(choice)),
        folder_(std::move(folder)),
        lock_(std::move(lock)),
        parts_(std::move(parts)),
        checkpoints_(std::move(checkpoints)) {}
  Result<bool> IsStill(const Halt& halt) const;
  Status LookBelow(Outcome& outcome);
  Status KeepBases(const Outcome& outcome);

  const ViewChoice choice_;
  const std::string folder_;  // the workspace's
  const ViewLock lock_;
  const std::optional<ViewParts> parts_;

  std::mutex mutex_;
  // Guarded by mutex_.
  projects::Checkpoints checkpoints_;
  std::optional<projects::BaseIndex> base_;
  std::weak_ptr<const sandbox::SharedMount> mount_;
  std::list<sandbox::LocalSandbox*> sandboxes_;
};

/// The views of a workspace that this process uses. Thread-safe.
class Views {
 public:
  /// The same object for all, while somebody has it. kBusy also when it is used in another mode.
  Result<std::shared_ptr<OpenView>> Open(const Workspace::State& workspace,
                                         const ViewChoice& choice, const std::stop_token& stop);
  /// Null when nobody in this process uses it.
  std::shared_ptr<OpenView> Live(const std::string& view) const;

 private:
  mutable std::mutex mutex_;
  std::map<std::string, std::weak_ptr<OpenView>> open_;  // guarded by mutex_
};

/// A view that nobody else uses, in this or in another process: for rewind, apply, discard and
/// fork. What a killed process has left is finished. Belongs to one thread.
class ExclusiveView {
 public:
  /// Ends the kept sandboxes of the workspace first. kBusy when a run or a command uses it.
  static Result<ExclusiveView> Open(const Workspace::State& workspace, const ViewChoice& choice);

  const ViewParts& parts() const { return parts_; }
  projects::Checkpoints& checkpoints() { return checkpoints_; }

 private:
  ExclusiveView(ViewLock lock, projects::Checkpoints checkpoints, ViewParts parts)
      : lock_(std::move(lock)), checkpoints_(std::move(checkpoints)), parts_(std::move(parts)) {}

  ViewLock lock_;
  projects::Checkpoints checkpoints_;
  ViewParts parts_;
};

}  // namespace cofferdam::platform
