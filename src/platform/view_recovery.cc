#include "platform/view_recovery.h"

#include "base/error.h"
#include "platform/apply_recovery.h"

namespace cofferdam::platform {
namespace {

Status FinishRestore(const Workspace::State& workspace, const ViewChoice& choice,
                     projects::Checkpoints& checkpoints) {
  ASSIGN_OR_RETURN(const auto intent, checkpoints.Unfinished(choice.view));
  if (!intent) return {};
  ASSIGN_OR_RETURN(const ViewParts parts, ViewParts::Open(workspace, choice, checkpoints));
  const auto restored = checkpoints.Restore(intent->view, intent->id, parts.upper(), intent->label);
  if (!restored) return std::unexpected(restored.error().With("finishing a rewind"));
  return {};
}

}  // namespace

Status RecoverView(const Workspace::State& workspace, const ViewChoice& choice,
                   projects::Checkpoints& checkpoints) {
  if (!choice.has_upper()) return {};
  RETURN_IF_ERROR(FinishRestore(workspace, choice, checkpoints));
  return choice.project.empty() ? Status() : FinishApplied(workspace, choice, checkpoints);
}

}  // namespace cofferdam::platform
