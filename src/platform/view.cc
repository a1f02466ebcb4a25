#include "platform/view.h"

#include <fcntl.h>

#include <utility>

#include "base/check.h"
#include "base/deadline.h"
#include "platform/platform_state.h"
#include "platform/view_recovery.h"
#include "projects/tree_walk.h"
#include "storage/file_lock.h"
#include "sys/file.h"

namespace cofferdam::platform {
namespace {

/// For a frozen process in a system call that cannot be interrupted.
constexpr std::chrono::milliseconds kHaltPatience{500};
/// For another process that opens the same view, which may have a rewind to finish.
constexpr std::chrono::seconds kOpenPatience{30};

std::string Named(const ViewChoice& choice) {
  return choice.project.empty() ? "the workspace's files" : "the project " + choice.project;
}

std::unexpected<Error> Busy(const ViewChoice& choice) {
  return Err(ErrorCode::kBusy, Named(choice) + ": another run or command of the workspace uses it",
             "wait for it, cancel it, or end the process that keeps its sandbox");
}

/// One process after the other opens a view, so that the first one after a crash finishes what was
/// left.
Result<storage::FileLock> ComeFirst(int workspace, const std::string& view,
                                    const std::stop_token& stop) {
  ASSIGN_OR_RETURN(const sys::UniqueFd directory, OpenViews(workspace));
  return storage::FileLock::Acquire(directory.get(), view + ".open", Deadline::After(kOpenPatience),
                                    stop);
}

}  // namespace

/// Sandboxes that stand still until the end of its life.
class Halt {
 public:
  explicit Halt(const std::list<sandbox::LocalSandbox*>& sandboxes) {
    for (sandbox::LocalSandbox* sandbox : sandboxes) {
      const Status frozen = sandbox->Freeze();
      // One that has ended writes no more.
      if (!frozen && frozen.error().code == ErrorCode::kSandboxLost) continue;
      if (frozen)
        held_.push_back(sandbox);
      else
        complete_ = false;
    }
    const Deadline deadline = Deadline::After(kHaltPatience);
    for (sandbox::LocalSandbox* sandbox : held_) {
      const Status halted = sandbox->AwaitHalt(deadline);
      if (!halted && halted.error().code != ErrorCode::kSandboxLost) complete_ = false;
    }
  }
  // One that was ended meanwhile cannot be thawed and needs it no more.
  ~Halt() {
    for (sandbox::LocalSandbox* sandbox : held_) static_cast<void>(sandbox->Thaw());
  }
  Halt(const Halt&) = delete;
  Halt& operator=(const Halt&) = delete;

  bool complete() const { return complete_; }

 private:
  std::list<sandbox::LocalSandbox*> held_;
  bool complete_ = true;
};

namespace {

/// The lock of a view is let go when its overlay is gone.
struct Held {
  std::shared_ptr<OpenView> view;
  std::shared_ptr<const sandbox::SharedMount> overlay;
};

}  // namespace

// ---- OpenView

Result<std::shared_ptr<OpenView>> OpenView::Open(const Workspace::State& workspace,
                                                 const ViewChoice& choice,
                                                 const std::stop_token& stop) {
  ASSIGN_OR_RETURN(const storage::FileLock first, ComeFirst(workspace.folder(), choice.view, stop));
  auto lock = ViewLock::Take(workspace.folder(), choice.view, ViewLock::Kind::kShared);
  if (!lock && lock.error().code == ErrorCode::kBusy) return Busy(choice);
  if (!lock) return std::unexpected(lock.error());
  ASSIGN_OR_RETURN(auto checkpoints,
                   projects::Checkpoints::Open(workspace.path(), workspace.platform().clock()));
  ASSIGN_OR_RETURN(const bool alone, lock->MakeExclusive());
  if (alone) {
    RETURN_IF_ERROR(RecoverView(workspace, choice, checkpoints));
    RETURN_IF_ERROR(checkpoints.objects().RemoveLeftovers());
  }
  std::optional<ViewParts> parts;
  if (choice.has_upper()) {
    ASSIGN_OR_RETURN(parts, ViewParts::Open(workspace, choice, checkpoints));
  }
  const bool is_overlay = parts && parts->is_overlay();
  if (is_overlay && !alone) return Busy(choice);
  if (is_overlay) RETURN_IF_ERROR(PrepareBase(workspace.path(), *parts, checkpoints, stop));
  if (!is_overlay) RETURN_IF_ERROR(lock->MakeShared());
  return std::shared_ptr<OpenView>(new OpenView(choice, workspace.path(), std::move(*lock),
                                                std::move(checkpoints), std::move(parts)));
}

Result<sandbox::Mount> OpenView::MountFor(sandbox::Launcher& launcher) {
  sandbox::Mount mount{.target = "/workspace", .writable = true};
  if (!parts_) {
    mount.source = choice_.project;
    mount.writable = choice_.mode == projects::ProjectMode::kDirect;
    ASSIGN_OR_RETURN(mount.owner, OwnerOfProject(choice_.project));
    return mount;
  }
  if (!parts_->is_overlay()) {
    mount.source = folder_ + "/" + parts_->paths().parent + "/" + parts_->paths().upper;
    return mount;
  }
  const std::lock_guard lock(mutex_);
  mount.shared = mount_.lock();
  if (mount.shared != nullptr) return mount;
  ASSIGN_OR_RETURN(auto overlay, sandbox::MountOverlay(launcher, parts_->overlay_spec()));
  const auto held = std::make_shared<Held>(Held{shared_from_this(), std::move(overlay)});
  mount.shared = std::shared_ptr<const sandbox::SharedMount>(held, held->overlay.get());
  mount_ = mount.shared;
  return mount;
}

OpenView::Member OpenView::Join(const std::shared_ptr<OpenView>& view,
                                sandbox::LocalSandbox& sandbox) {
  const std::lock_guard lock(view->mutex_);
  return {view, view->sandboxes_.insert(view->sandboxes_.end(), &sandbox)};
}

OpenView::Member::~Member() {
  if (view_ == nullptr) return;
  const std::lock_guard lock(view_->mutex_);
  view_->sandboxes_.erase(at_);
}

// The caller holds the lock.
Result<bool> OpenView::IsStill(const Halt& halt) const {
  ASSIGN_OR_RETURN(const bool others, lock_.OthersHaveIt());
  return halt.complete() && !others;
}

Status OpenView::WhileStill(const std::function<Status(bool frozen)>& work) {
  const std::lock_guard lock(mutex_);
  const Halt halt(sandboxes_);
  ASSIGN_OR_RETURN(const bool frozen, IsStill(halt));
  return work(frozen);
}

Result<OpenView::Outcome> OpenView::Take(projects::CheckpointLabel label,
                                         const std::stop_token& stop) {
  CHECK(parts_.has_value());
  const std::lock_guard lock(mutex_);
  Outcome outcome;
  {
    const Halt halt(sandboxes_);
    ASSIGN_OR_RETURN(label.frozen, IsStill(halt));
    ASSIGN_OR_RETURN(outcome.taken, checkpoints_.Take(choice_.view, parts_->upper(), label, stop));
  }
  RETURN_IF_ERROR(LookBelow(outcome));
  RETURN_IF_ERROR(KeepBases(outcome));
  return outcome;
}

Status OpenView::KeepWithin(std::uint64_t max_bytes) {
  const std::lock_guard lock(mutex_);
  if (auto kept = checkpoints_.KeepWithin(max_bytes); !kept) return std::unexpected(kept.error());
  return {};
}

// The caller holds the lock. No sandbox can write there, so that all may go on meanwhile.
Status OpenView::LookBelow(Outcome& outcome) {
  if (!parts_->is_overlay()) return {};
  const projects::MergedTree below(parts_->lower_layers());
  for (const projects::UpperChange& change : outcome.taken.changes) {
    if (change.node_before || !change.node) continue;
    ASSIGN_OR_RETURN(const auto found, below.Lookup(change.path));
    if (!found) continue;
    Below& what = outcome.below[change.path];
    what.node = found->node;
    what.stamp = projects::StampOf(found->info, projects::RealTimeNanos());
    if (found->node.kind != projects::NodeKind::kFile) continue;
    const auto file = projects::OpenFile(found->parent.get(), found->name, found->info);
    // The project's owner may have changed it just now.
    if (!file && file.error().code == ErrorCode::kNotFound) continue;
    if (!file) return std::unexpected(file.error());
    auto object =
        checkpoints_.objects().Add(file->get(), projects::Checkpoints::kDefaultMaxFileBytes);
    if (!object && object.error().code == ErrorCode::kTooLarge) continue;
    if (!object) return std::unexpected(object.error());
    what.object = std::move(*object);
  }
  return checkpoints_.objects().Sync();
}

// The caller holds the lock.
Status OpenView::KeepBases(const Outcome& outcome) {
  if (choice_.project.empty() || outcome.below.empty()) return {};
  if (!base_) {
    ASSIGN_OR_RETURN(base_, ReadBase(folder_, choice_.view));
  }
  return checkpoints_.database().Transaction([&]() -> Status {
    for (const auto& [path, below] : outcome.below) {
      const auto entry = base_->entries().find(path);
      if (below.object.empty() || entry == base_->entries().end()) continue;
      // A copy is as old as the base; in the project itself its owner may have been.
      const bool is_first = choice_.mode == projects::ProjectMode::kCopy ||
                            projects::StampsFit(entry->second.stamp, below.stamp);
      if (is_first)
        RETURN_IF_ERROR(checkpoints_.KeepBase(choice_.view, path, below.object, below.node));
    }
    return {};
  });
}

// ---- Views

Result<std::shared_ptr<OpenView>> Views::Open(const Workspace::State& workspace,
                                              const ViewChoice& choice,
                                              const std::stop_token& stop) {
  const std::lock_guard lock(mutex_);
  auto& slot = open_[choice.view];
  if (auto live = slot.lock()) {
    if (live->choice() == choice) return live;
    return Err(ErrorCode::kBusy,
               Named(choice) + " is used in the mode " +
                   std::string(projects::ProjectModeName(live->choice().mode)),
               "wait for that run or command to end");
  }
  ASSIGN_OR_RETURN(auto opened, OpenView::Open(workspace, choice, stop));
  slot = opened;
  return opened;
}

std::shared_ptr<OpenView> Views::Live(const std::string& view) const {
  const std::lock_guard lock(mutex_);
  const auto found = open_.find(view);
  return found == open_.end() ? nullptr : found->second.lock();
}

// ---- ExclusiveView

Result<ExclusiveView> ExclusiveView::Open(const Workspace::State& workspace,
                                          const ViewChoice& choice) {
  CHECK(choice.has_upper());
  workspace.platform().kept().End(workspace.id());
  auto lock = ViewLock::Take(workspace.folder(), choice.view, ViewLock::Kind::kExclusive);
  if (!lock && lock.error().code == ErrorCode::kBusy) return Busy(choice);
  if (!lock) return std::unexpected(lock.error());
  ASSIGN_OR_RETURN(auto checkpoints,
                   projects::Checkpoints::Open(workspace.path(), workspace.platform().clock()));
  RETURN_IF_ERROR(RecoverView(workspace, choice, checkpoints));
  ASSIGN_OR_RETURN(auto parts, ViewParts::Open(workspace, choice, checkpoints));
  return ExclusiveView(std::move(*lock), std::move(checkpoints), std::move(parts));
}

}  // namespace cofferdam::platform
