#include "platform/project_apply.h"

#include <fcntl.h>

#include <functional>
#include <memory>
#include <utility>

#include "platform/apply_recovery.h"
#include "platform/diff_folder.h"
#include "platform/project_base.h"
#include "platform/project_diff.h"
#include "platform/view.h"
#include "platform/view_choice.h"
#include "projects/apply.h"
#include "projects/merge.h"
#include "sys/file.h"

namespace cofferdam::platform {
namespace {

using projects::Checkpoints;

Result<ExclusiveView> OpenKnownView(const Workspace::State& workspace,
                                    const std::optional<std::string>& project) {
  ASSIGN_OR_RETURN(Checkpoints checkpoints,
                   Checkpoints::Open(workspace.path(), workspace.platform().clock()));
  ASSIGN_OR_RETURN(const ViewChoice choice, KnownView(workspace, project, checkpoints));
  return ExclusiveView::Open(workspace, choice);
}

/// Merges texts in a sandbox, which is made for the first one.
class LazyMerge {
 public:
  LazyMerge(const Workspace::State& workspace, std::stop_token stop)
      : workspace_(workspace), stop_(std::move(stop)) {}

  Result<std::optional<std::string>> operator()(const std::string& base, const std::string& project,
                                                const std::string& agent) {
    if (sandbox_ == nullptr) {
      ASSIGN_OR_RETURN(DiffFolder folder, DiffFolder::Make(workspace_));
      folder_.emplace(std::move(folder));
      ASSIGN_OR_RETURN(sandbox_, folder_->MakeSandbox());
    }
    return projects::MergeIn(*sandbox_, stop_)(base, project, agent);
  }

 private:
  const Workspace::State& workspace_;
  const std::stop_token stop_;
  std::optional<DiffFolder> folder_;
  std::unique_ptr<sandbox::LocalSandbox> sandbox_;
};

ApplyResult ResultOf(const projects::ApplyPlan& plan, const std::string& project) {
  ApplyResult result{.project = project, .left_out = PublicLeftOut(plan.list.left_out)};
  for (const projects::Conflict& conflict : plan.conflicts)
    result.conflicts.push_back({conflict.path, conflict.why});
  if (!result.conflicts.empty()) return result;
  result.changes = PublicChanges(plan.list.changes);
  for (const auto& [path, bytes] : plan.merged) result.merged.push_back(path);
  return result;
}

}  // namespace

Result<ApplyResult> Apply(const Workspace::State& workspace,
                          const std::optional<std::string>& project, const std::stop_token& stop) {
  ASSIGN_OR_RETURN(ExclusiveView view, OpenKnownView(workspace, project));
  const ViewParts& parts = view.parts();
  const std::string& directory = parts.choice().project;
  if (directory.empty())
    return Err(ErrorCode::kUnsupported, "the workspace's own files belong to no project",
               "name the project's directory");
  ASSIGN_OR_RETURN(const bool empty, parts.upper_is_empty());
  if (empty) return ApplyResult{.project = directory};
  ASSIGN_OR_RETURN(const projects::BaseIndex base, ReadBase(workspace.path(), parts.view()));
  ASSIGN_OR_RETURN(const sys::UniqueFd root,
                   sys::Open(directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  LazyMerge merge(workspace, stop);
  ASSIGN_OR_RETURN(const projects::ApplyPlan plan,
                   projects::PlanApply(parts.upper_layer(), root.get(), base, parts.view(),
                                       view.checkpoints(), std::ref(merge), stop));
  ApplyResult result = ResultOf(plan, directory);
  if (!result.conflicts.empty()) return result;
  ASSIGN_OR_RETURN(const sys::UniqueFd journal, OpenApplyJournal(workspace, parts.view()));
  RETURN_IF_ERROR(projects::Apply(plan, parts.upper_layer(), root.get(), journal.get()));
  // What follows is what follows after a crash, too.
  RETURN_IF_ERROR(FinishApplied(workspace, parts.choice(), view.checkpoints()));
  return result;
}

Result<DiscardResult> Discard(const Workspace::State& workspace,
                              const std::optional<std::string>& project) {
  ASSIGN_OR_RETURN(ExclusiveView view, OpenKnownView(workspace, project));
  const ViewParts& parts = view.parts();
  DiscardResult result{.project = parts.choice().project};
  ASSIGN_OR_RETURN(const bool empty, parts.upper_is_empty());
  if (empty) return result;
  ASSIGN_OR_RETURN(
      const projects::Taken taken,
      view.checkpoints().Take(parts.view(), parts.upper(), {.reason = "before_discard"}));
  result.left_out = PublicLeftOut(taken.left_out);
  ASSIGN_OR_RETURN(const auto all, view.checkpoints().List(parts.view()));
  if (!all.empty()) result.checkpoint = all.back().id;
  RETURN_IF_ERROR(
      view.checkpoints().Restore(parts.view(), 0, parts.upper(), {.reason = "discard"}));
  return result;
}

}  // namespace cofferdam::platform
