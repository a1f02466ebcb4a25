#include "platform/apply_recovery.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "platform/project_base.h"
#include "projects/apply.h"
#include "sys/file.h"

namespace cofferdam::platform {
namespace {

std::string JournalPath(const std::string& view) { return "checkpoints/apply-" + view; }

Status EmptyUpper(int upper) {
  ASSIGN_OR_RETURN(const std::vector<std::string> names, sys::ListDirectory(upper));
  for (const std::string& name : names) RETURN_IF_ERROR(sys::RemoveTree(upper, name));
  // Before the journal goes, which would be the only one to know.
  if (::syncfs(upper) != 0) return ErrnoError(errno, "syncing the emptied changes");
  return {};
}

}  // namespace

Result<sys::UniqueFd> OpenApplyJournal(const Workspace::State& workspace, const std::string& view) {
  const std::string path = JournalPath(view);
  if (::mkdirat(workspace.folder(), path.c_str(), 0700) != 0 && errno != EEXIST)
    return ErrnoError(errno, "making " + path);
  return sys::OpenBeneath(workspace.folder(), path, O_RDONLY | O_DIRECTORY, sys::Links::kRefuse);
}

Status FinishApplied(const Workspace::State& workspace, const ViewChoice& choice,
                     projects::Checkpoints& checkpoints) {
  const auto journal = sys::OpenBeneath(workspace.folder(), JournalPath(choice.view),
                                        O_RDONLY | O_DIRECTORY, sys::Links::kRefuse);
  if (!journal && journal.error().code == ErrorCode::kNotFound) return {};
  if (!journal) return std::unexpected(journal.error());
  ASSIGN_OR_RETURN(const sys::UniqueFd project,
                   sys::Open(choice.project, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  ASSIGN_OR_RETURN(const std::optional<bool> done,
                   projects::RecoverApply(project.get(), journal->get()));
  if (!done.value_or(false)) return {};
  ASSIGN_OR_RETURN(const ViewParts parts, ViewParts::Open(workspace, choice, checkpoints));
  RETURN_IF_ERROR(EmptyUpper(parts.upper().root));
  RETURN_IF_ERROR(checkpoints.BeginEpoch(choice.view, {.reason = "apply"}));
  RETURN_IF_ERROR(ForgetBase(workspace.path(), choice.view, checkpoints));
  return projects::FinishApply(journal->get());
}

}  // namespace cofferdam::platform
