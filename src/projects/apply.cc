#include "projects/apply.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/check.h"
#include "base/clock.h"
#include "base/id.h"
#include "projects/apply_journal.h"
#include "projects/apply_stage.h"
#include "projects/apply_steps.h"
#include "projects/tree_walk.h"
#include "storage/atomic_file.h"
#include "sys/file.h"
#include "sys/flock.h"

namespace cofferdam::projects {
namespace {

/// One apply, or one way back, at a time; the lock goes with the descriptor.
Result<sys::UniqueFd> LockProject(int project) {
  ASSIGN_OR_RETURN(sys::UniqueFd lock, sys::OpenAt(project, ".", O_RDONLY | O_DIRECTORY));
  const Status locked = sys::Flock(lock.get(), LOCK_EX | LOCK_NB);
  if (!locked && locked.error().code == ErrorCode::kBusy)
    return Err(ErrorCode::kBusy, "changes are being applied to this project", "try again");
  if (!locked) return std::unexpected(locked.error());
  return lock;
}

/// A stage in the project belongs to an apply that was killed, and that only its own journal can
/// take back.
Status RefuseStages(int project) {
  ASSIGN_OR_RETURN(const std::vector<std::string> names, sys::ListDirectory(project));
  for (const std::string& name : names)
    if (name.starts_with(kStagePrefix))
      return Err(ErrorCode::kBusy,
                 "an apply to this project was interrupted: '" + PathForPerson(name) + "' is there",
                 "use the workspace that it was made from, which takes it back; if that is gone, "
                 "look into the directory and remove it");
  return {};
}

Result<sys::UniqueFd> MakeStage(int project, const std::string& name) {
  if (::mkdirat(project, name.c_str(), S_IRWXU) != 0)
    return ErrnoError(errno, "making a directory in the project");
  return sys::OpenAt(project, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
}

Status RemoveStage(int project, const std::string& name) {
  RETURN_IF_ERROR(sys::RemoveTree(project, name));
  return storage::SyncDirectory(project);
}

Status Forget(int project, const std::string& stage, int journal_directory) {
  RETURN_IF_ERROR(RemoveStage(project, stage));
  return ApplyJournal::Remove(journal_directory);
}

Status SyncFileSystem(const Ground& ground) {
  if (::syncfs(ground.stage) != 0) return ErrnoError(errno, "syncing the project");
  return {};
}

Status DoSteps(const Ground& ground, const std::vector<Step>& steps, const Seen& seen) {
  for (std::size_t number = 0; number < steps.size(); ++number)
    RETURN_IF_ERROR(DoStep(ground, steps[number], number, seen));
  return SyncFileSystem(ground);
}

Status TakeBack(const Ground& ground, const std::vector<Step>& steps, ApplyJournal& journal) {
  RETURN_IF_ERROR(UndoSteps(ground, steps));
  RETURN_IF_ERROR(SyncFileSystem(ground));
  return journal.WriteState(ApplyState::kUndone);
}

/// Everything up to the first change of the project.
Status Prepare(const ApplyPlan& plan, const LayerView& upper, const Ground& ground,
               ApplyJournal& journal, std::vector<Step>& steps) {
  ASSIGN_OR_RETURN(steps, FillStage(plan, upper, ground));
  RETURN_IF_ERROR(journal.WriteSteps(steps));
  return journal.WriteState(ApplyState::kReady);
}

}  // namespace

Status Apply(const ApplyPlan& plan, const LayerView& upper, int project, int journal_directory) {
  CHECK(plan.conflicts.empty());
  ASSIGN_OR_RETURN(const sys::UniqueFd lock, LockProject(project));
  RETURN_IF_ERROR(RefuseStages(project));
  const std::string name = std::string(kStagePrefix) + NewId(SystemClock());
  ASSIGN_OR_RETURN(ApplyJournal journal, ApplyJournal::Begin(journal_directory, name));
  const auto stage = MakeStage(project, name);
  std::vector<Step> steps;
  const Ground ground{project, stage ? stage->get() : -1};
  Status done =
      stage ? Prepare(plan, upper, ground, journal, steps) : Status(std::unexpected(stage.error()));
  if (done) {
    done = DoSteps(ground, steps, plan.seen);
    if (done) done = journal.WriteState(ApplyState::kApplied);
    if (done) return RemoveStage(project, name);
    // What cannot be taken back now is left to RecoverApply, with the journal.
    if (!TakeBack(ground, steps, journal)) return done;
  }
  static_cast<void>(Forget(project, name, journal_directory));
  return done;
}

Result<std::optional<bool>> RecoverApply(int project, int journal_directory) {
  ASSIGN_OR_RETURN(const bool is_there, HasJournal(journal_directory));
  if (!is_there) return std::nullopt;
  // Whoever writes the journal has the lock, and may have finished when we have it.
  ASSIGN_OR_RETURN(const sys::UniqueFd lock, LockProject(project));
  ASSIGN_OR_RETURN(const auto content, ReadJournalIn(journal_directory));
  if (!content) {
    // It was begun, and nothing else was.
    RETURN_IF_ERROR(ApplyJournal::Remove(journal_directory));
    return std::nullopt;
  }
  if (content->state == ApplyState::kApplied) {
    RETURN_IF_ERROR(RemoveStage(project, content->stage));
    return true;
  }
  const auto stage = sys::OpenAt(project, content->stage, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (!stage && stage.error().code != ErrorCode::kNotFound) return std::unexpected(stage.error());
  if (stage && content->state == ApplyState::kReady) {
    ASSIGN_OR_RETURN(ApplyJournal journal, ApplyJournal::Continue(journal_directory));
    RETURN_IF_ERROR(TakeBack({project, stage->get()}, content->steps, journal));
  }
  RETURN_IF_ERROR(Forget(project, content->stage, journal_directory));
  return false;
}

Status FinishApply(int journal_directory) { return ApplyJournal::Remove(journal_directory); }

}  // namespace cofferdam::projects
