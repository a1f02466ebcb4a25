#include "platform/workspace_ids.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <thread>

#include "base/deadline.h"
#include "platform/id_space.h"
#include "platform/view_parts.h"
#include "projects/view.h"
#include "sys/file.h"

namespace cofferdam::platform {
namespace {

constexpr const char* kOwned[] = {"files/work", "files/home"};

constexpr std::chrono::seconds kPatience{1};
constexpr std::chrono::milliseconds kMaxPause{50};

// Only the superuser can run a process under another id.
bool HasRanges() { return ::geteuid() == 0; }

OwnIdentity IdentityOf(std::uint32_t first) { return sandbox::HostIdentity{first, first}; }

// The id that a folder's directories for tools belong to, as uid and gid; 0 when that is not one.
std::uint32_t OwnerOf(int directory, const std::string& prefix) {
  std::optional<std::uint32_t> owner;
  for (const char* name : kOwned) {
    struct stat info;
    if (::fstatat(directory, (prefix + name).c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) return 0;
    if (info.st_uid != info.st_gid || owner.value_or(info.st_uid) != info.st_uid) return 0;
    owner = info.st_uid;
  }
  return owner.value_or(0);
}

bool IsThere(int workspaces, const std::string& name) {
  return ::faccessat(workspaces, name.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT;
}

/// What else belongs to the tools: the directories of views.
Result<std::vector<std::string>> OwnedOfViews(int folder) {
  std::vector<std::string> views = {projects::kWorkView};
  const auto projects =
      sys::OpenBeneath(folder, "files/projects", O_RDONLY | O_DIRECTORY, sys::Links::kRefuse);
  if (!projects && projects.error().code != ErrorCode::kNotFound)
    return std::unexpected(projects.error());
  if (projects) {
    ASSIGN_OR_RETURN(const std::vector<std::string> keys, sys::ListDirectory(projects->get()));
    views.insert(views.end(), keys.begin(), keys.end());
  }
  std::vector<std::string> owned;
  for (const std::string& view : views) {
    const projects::ViewPaths paths = projects::PathsOf(view);
    for (const std::string& name : {paths.upper, paths.work, std::string(kCopyDirectory)})
      if (const std::string path = paths.parent + "/" + name; IsThere(folder, path))
        owned.push_back(path);
  }
  return owned;
}

}  // namespace

Result<WorkspaceIds> WorkspaceIds::Open(const std::string& state_directory,
                                        const std::string& platform_id, int workspaces) {
  ASSIGN_OR_RETURN(std::unique_ptr<PlatformDb> db, PlatformDb::Open(state_directory));
  WorkspaceIds ids(std::move(db), platform_id);
  RETURN_IF_ERROR(ids.LearnFromFiles(workspaces));
  return ids;
}

Status WorkspaceIds::LearnFromFiles(int workspaces) const {
  if (!HasRanges()) return {};
  ASSIGN_OR_RETURN(const bool known, db_->HasRanges());
  ASSIGN_OR_RETURN(const std::vector<std::string> folders, sys::ListDirectory(workspaces));
  if (known || folders.empty()) return {};
  ASSIGN_OR_RETURN(const IdSpace space, IdSpace::OfThisMachine());
  std::vector<IdRange> ranges;
  for (const std::string& folder : folders) {
    const std::uint32_t owner = OwnerOf(workspaces, folder + "/");
    if (owner == 0 || space.AtOrAbove(owner) != owner) continue;
    // Whose it was that was being made or removed is not known any more, nor needed.
    ranges.push_back({owner, folder.starts_with('.') ? "" : folder, folder});
  }
  return db_->AddRanges(ranges);
}

Result<OwnIdentity> WorkspaceIds::Take(const std::string& workspace,
                                       const std::string& folder) const {
  if (!HasRanges()) return std::nullopt;
  ASSIGN_OR_RETURN(const IdSpace space, IdSpace::OfThisMachine());
  if (space.size() == 0) return std::nullopt;
  ASSIGN_OR_RETURN(const std::uint32_t first,
                   db_->TakeRange(space, platform_id_, workspace, folder));
  return IdentityOf(first);
}

Status WorkspaceIds::Move(const std::string& from, const std::string& to) const {
  return db_->MoveRange(from, to);
}

Status WorkspaceIds::Release(const std::string& folder) const { return db_->ReleaseRange(folder); }

Result<OwnIdentity> WorkspaceIds::Settled(const std::string& workspace, int folder) const {
  ASSIGN_OR_RETURN(const auto first, db_->RangeOf(workspace));
  if (!first || OwnerOf(folder, "") != *first) return std::nullopt;
  return IdentityOf(*first);
}

Result<OwnIdentity> WorkspaceIds::Settle(int workspaces, const std::string& workspace,
                                         int folder) const {
  if (!HasRanges()) return std::nullopt;
  ASSIGN_OR_RETURN(const OwnIdentity settled, Settled(workspace, folder));
  if (settled) return settled;
  ASSIGN_OR_RETURN(const IdSpace space, IdSpace::OfThisMachine());
  if (space.size() == 0) return std::nullopt;
  ASSIGN_OR_RETURN(const Alone alone, WaitUntilAlone(workspace, folder));
  if (alone.settled) return alone.settled;
  ASSIGN_OR_RETURN(const std::uint32_t first, FindOrTake(workspaces, workspace, space));
  // Those that say whether it is done come last.
  ASSIGN_OR_RETURN(const std::vector<std::string> of_views, OwnedOfViews(folder));
  for (const std::string& name : of_views)
    RETURN_IF_ERROR(sys::GiveTree(folder, name, {first, first}));
  for (const char* name : kOwned) RETURN_IF_ERROR(sys::GiveTree(folder, name, {first, first}));
  return IdentityOf(first);
}

// Whoever makes it has it for a moment more; who else settles it leaves nothing to do.
Result<WorkspaceIds::Alone> WorkspaceIds::WaitUntilAlone(const std::string& workspace,
                                                         int folder) const {
  const Deadline deadline = Deadline::After(kPatience);
  for (auto pause = std::chrono::milliseconds(1);; pause = std::min(2 * pause, kMaxPause)) {
    auto lock = DirectoryLock::TryExclusive(folder);
    if (!lock && lock.error().code != ErrorCode::kBusy) return std::unexpected(lock.error());
    ASSIGN_OR_RETURN(const OwnIdentity settled, Settled(workspace, folder));
    if (settled) return Alone{settled, std::nullopt};
    if (lock) return Alone{std::nullopt, std::move(*lock)};
    if (deadline.Expired())
      return Err(ErrorCode::kBusy,
                 "the files of workspace '" + workspace +
                     "' are to get ids of their own, and somebody works with them",
                 "try again when its runs have ended");
    std::this_thread::sleep_for(pause);
  }
}

// Whoever made or began to remove it may have died before the name of its folder was right.
Result<std::uint32_t> WorkspaceIds::FindOrTake(int workspaces, const std::string& workspace,
                                               const IdSpace& space) const {
  ASSIGN_OR_RETURN(const auto known, db_->RangeOf(workspace));
  if (known) return *known;
  ASSIGN_OR_RETURN(const std::vector<IdRange> unsettled, db_->UnsettledRanges());
  for (const IdRange& range : unsettled) {
    if (range.workspace != workspace || IsThere(workspaces, range.folder)) continue;
    RETURN_IF_ERROR(db_->MoveRange(range.folder, workspace));
    return range.first;
  }
  return db_->TakeRange(space, platform_id_, workspace, workspace);
}

Status WorkspaceIds::ReleaseLost(int workspaces) const {
  ASSIGN_OR_RETURN(const std::vector<IdRange> unsettled, db_->UnsettledRanges());
  for (const IdRange& range : unsettled) {
    // Its folder may be the workspace itself: renamed before that was on record, or on record
    // before it is renamed. Whoever opens that workspace settles it.
    if (IsThere(workspaces, range.folder)) continue;
    ASSIGN_OR_RETURN(const auto settled, db_->RangeOf(range.workspace));
    if (IsThere(workspaces, range.workspace) &&
        (!settled || OwnerOf(workspaces, range.workspace + "/") == range.first))
      continue;
    // Once more: it may just have been renamed to this.
    if (!IsThere(workspaces, range.folder)) RETURN_IF_ERROR(db_->ReleaseRange(range.folder));
  }
  return {};
}

}  // namespace cofferdam::platform
