// A run's or a command's use of a view: from before its sandbox is made until after its end.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include "base/error.h"
#include "platform/disk_plan.h"
#include "platform/view.h"
#include "record/events.h"
#include "sandbox/launcher.h"
#include "sandbox/local_sandbox.h"
#include "sandbox/spec.h"

namespace cofferdam::platform {

/// Belongs to one thread.
///
///   ASSIGN_OR_RETURN(ViewUse use, ViewUse::Begin(workspace, choice, stop));
///   ASSIGN_OR_RETURN(const DiskPlan disk, DiskPlan::Prepare(workspace, settings, spec));
///   RETURN_IF_ERROR(use.PutInto(spec, disk, launcher));
///   ASSIGN_OR_RETURN(auto sandbox, LocalSandbox::Create(launcher, spec, deadline));
///   const OpenView::Member member = use.Join(*sandbox);
///   …
///   ASSIGN_OR_RETURN(const OpenView::Outcome outcome, use.Take({.reason = "exec"}));
class ViewUse {
 public:
  /// Opens the view, which makes the directories that a DiskPlan looks at.
  static Result<ViewUse> Begin(Workspace::State& workspace, const ViewChoice& choice,
                               const std::stop_token& stop);

  /// Makes /workspace of `spec` the view. kUnsupported for changes of a project that would have to
  /// come into an image of a fixed size.
  Status PutInto(sandbox::SandboxSpec& spec, const DiskPlan& disk, sandbox::Launcher& launcher);

  /// The sandbox stands still for checkpoints as long as this lives, which must be less long.
  OpenView::Member Join(sandbox::LocalSandbox& sandbox) const {
    return OpenView::Join(view_, sandbox);
  }

  /// Whether there are checkpoints, after PutInto: the host can see what is changed, and an upper
  /// takes it.
  bool has_checkpoints() const { return has_checkpoints_; }
  /// Whether a path, as a tool is given it, is one whose changes a checkpoint finds.
  bool HasCheckpointsOf(const std::string& path) const;
  record::NewEvent Opened() const;
  /// An outcome without a checkpoint when there are none. What the checkpoints of a workspace take
  /// is kept within its disk limit, so that what a tenant writes has an end.
  Result<OpenView::Outcome> Take(projects::CheckpointLabel label);

  /// What keeps the view in use, for a sandbox that is kept longer.
  const std::shared_ptr<OpenView>& view() const { return view_; }

 private:
  explicit ViewUse(std::shared_ptr<OpenView> view) : view_(std::move(view)) {}
  Status KeepWithinLimit(const projects::Taken& taken);

  std::shared_ptr<OpenView> view_;
  bool has_checkpoints_ = false;
  std::uint64_t limit_ = 0;
  // What was kept since the limit was last looked at; nothing before the first time.
  std::optional<std::uint64_t> added_;
};

}  // namespace cofferdam::platform
