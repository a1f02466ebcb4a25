#include "platform/view_use.h"

#include <algorithm>
#include <filesystem>

#include "platform/platform_state.h"

namespace cofferdam::platform {
namespace {

constexpr char kWorkspaceTarget[] = "/workspace";
/// By how much a run may go over the limit between two looks: the limit divided by this.
constexpr std::uint64_t kLooks = 16;

}  // namespace

Result<ViewUse> ViewUse::Begin(Workspace::State& workspace, const ViewChoice& choice,
                               const std::stop_token& stop) {
  ASSIGN_OR_RETURN(auto view, workspace.views().Open(workspace, choice, stop));
  return ViewUse(std::move(view));
}

Status ViewUse::PutInto(sandbox::SandboxSpec& spec, const DiskPlan& disk,
                        sandbox::Launcher& launcher) {
  const bool in_image = disk.mechanism() == DiskMechanism::kImage;
  const ViewParts* parts = view_->parts();
  if (in_image && parts != nullptr && parts->is_overlay())
    return Err(ErrorCode::kUnsupported,
               "this workspace's files are in an image of a fixed size, which cannot take the "
               "changes of an overlay",
               "use another workspace, or project_mode direct or read-only");
  has_checkpoints_ = parts != nullptr && !in_image;
  limit_ = static_cast<std::uint64_t>(disk.ForRecord().bytes);
  // The plan has put the image's tree there.
  if (in_image && parts != nullptr) return {};
  ASSIGN_OR_RETURN(sandbox::Mount mount, view_->MountFor(launcher));
  const auto place =
      std::ranges::find(spec.mounts, kWorkspaceTarget, [](const auto& m) { return m.target; });
  *place = std::move(mount);
  return {};
}

bool ViewUse::HasCheckpointsOf(const std::string& path) const {
  if (!has_checkpoints_) return false;
  const std::string whole = (std::filesystem::path(kWorkspaceTarget) / path).lexically_normal();
  return whole.starts_with(std::string(kWorkspaceTarget) + "/");
}

record::NewEvent ViewUse::Opened() const {
  const ViewChoice& choice = view_->choice();
  return record::ViewOpened(choice.view, choice.project, projects::ProjectModeName(choice.mode),
                            has_checkpoints_);
}

Result<OpenView::Outcome> ViewUse::Take(projects::CheckpointLabel label) {
  if (!has_checkpoints_) return OpenView::Outcome();
  auto outcome = view_->Take(std::move(label));
  if (!outcome) return std::unexpected(outcome.error().With("taking a checkpoint"));
  if (outcome->taken.checkpoint) RETURN_IF_ERROR(KeepWithinLimit(outcome->taken));
  return outcome;
}

// Adding up what all take costs more than a small turn.
Status ViewUse::KeepWithinLimit(const projects::Taken& taken) {
  if (limit_ == 0) return {};
  std::uint64_t added = 0;
  for (const projects::UpperChange& change : taken.changes)
    if (!change.object.empty()) added += change.node->size;
  const bool first = !added_.has_value();
  added_ = added_.value_or(0) + added;
  if (!first && *added_ < limit_ / kLooks) return {};
  added_ = 0;
  return view_->KeepWithin(limit_);
}

}  // namespace cofferdam::platform
