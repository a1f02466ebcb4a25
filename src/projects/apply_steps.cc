#include "projects/apply_steps.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <cerrno>
#include <optional>

#include "base/check.h"
#include "projects/beneath.h"
#include "projects/tree_walk.h"
#include "sys/file.h"

namespace cofferdam::projects {
namespace {

constexpr std::uint32_t kModeBits = 07777;

std::int64_t ModifiedNanos(const struct stat& info) {
  return std::int64_t{info.st_mtim.tv_sec} * 1'000'000'000 + info.st_mtim.tv_nsec;
}

std::optional<struct stat> LookAt(int directory, const std::string& name) {
  struct stat info;
  if (::fstatat(directory, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) return std::nullopt;
  return info;
}

std::unexpected<Error> Conflict(const std::string& path) {
  return Err(ErrorCode::kConflict,
             "'" + PathForPerson(path) + "' has changed while the changes were applied",
             "nothing was applied; look at what changed, and apply again");
}

/// What a refused call on a path of the project means.
std::unexpected<Error> Failure(int error_number, const std::string& path) {
  switch (error_number) {
    case ENOENT:
    case ENOTDIR:
    case ELOOP:
    case EEXIST:
      return Conflict(path);
    case EXDEV:
    case EBUSY:
      return Err(
          ErrorCode::kUnsupported,
          "another file system is mounted in the project at or above '" + PathForPerson(path) + "'",
          "unmount it, and apply again");
    case EINVAL:
      return Err(ErrorCode::kUnsupported,
                 "the project's file system cannot exchange files (renameat2)");
    default:
      return ErrnoError(error_number, "applying '" + PathForPerson(path) + "'");
  }
}

Result<Place> PlaceOf(int project, const std::string& path) {
  auto place = OpenPlace(project, path);
  if (!place) return FailureAt(path, place.error());
  return place;
}

bool IsEmptyDirectory(int directory, const std::string& name) {
  const auto opened = sys::OpenAt(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (!opened) return false;
  const auto names = sys::ListDirectory(opened->get());
  return names && names->empty();
}

/// A mount in a directory would go with it.
bool IsMountPoint(int directory, const std::string& name) {
  struct statx info;
  return ::statx(directory, name.c_str(), AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_TYPE,
                 &info) == 0 &&
         (info.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
}

/// All that is in a directory which came into the stage was seen, and is what it was.
Status CheckContents(int stage, const std::string& name, const std::string& path,
                     const Seen& seen) {
  const auto directory = sys::OpenAt(stage, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (!directory) return FailureAt(path, directory.error());
  return WalkTree(directory->get(), [&](const TreeEntry& entry) -> Result<Descend> {
    const std::string from = path + "/" + entry.path;
    if (IsMountPoint(entry.parent, entry.name)) return Failure(EXDEV, from);
    const auto expected = seen.find(from);
    if (expected == seen.end() || !IsSame(expected->second, entry.info)) return Conflict(from);
    return Descend::kYes;
  });
}

/// What has come into the stage is what was expected, and nobody loses anything with it.
Status CheckTaken(int stage, const std::string& name, const std::string& path, const Seen& seen) {
  const auto taken = LookAt(stage, name);
  if (!taken) return Conflict(path);
  struct stat expected = seen.at(path);
  expected.st_ctim = taken->st_ctim;  // the rename has changed it
  if (!IsSame(expected, *taken)) return Conflict(path);
  return S_ISDIR(taken->st_mode) ? CheckContents(stage, name, path, seen) : Status();
}

// ---- There

Status Add(int stage, const std::string& name, const Place& place, const std::string& path) {
  if (::renameat2(stage, name.c_str(), place.parent.get(), place.name.c_str(), RENAME_NOREPLACE) ==
      0)
    return {};
  return Failure(errno, path);
}

Status TakeAway(int stage, const std::string& name, const Place& place, unsigned int flags,
                const std::string& path, const Seen& seen) {
  const auto now = LookAt(place.parent.get(), place.name);
  if (!now || !IsSame(seen.at(path), *now)) return Conflict(path);
  if (::renameat2(place.parent.get(), place.name.c_str(), stage, name.c_str(), flags) != 0)
    return Failure(errno, path);
  return CheckTaken(stage, name, path, seen);
}

/// Gives what lies there the mode, if it is that inode with the mode it is thought to have.
Result<bool> ChangeMode(const Place& place, std::uint64_t inode, std::uint32_t from,
                        std::uint32_t to) {
  const auto file = sys::OpenAt(place.parent.get(), place.name, O_PATH | O_NOFOLLOW);
  if (!file) return false;
  ASSIGN_OR_RETURN(const struct stat info, sys::Stat(file->get()));
  if (info.st_ino != inode || (info.st_mode & kModeBits) != from || S_ISLNK(info.st_mode))
    return false;
  // fchmod refuses an O_PATH descriptor; this leads to what it holds, whatever the name is by now.
  const std::string path = "/proc/self/fd/" + std::to_string(file->get());
  if (::chmod(path.c_str(), to) != 0) return ErrnoError(errno, "changing permissions");
  return true;
}

// ---- Back

bool IsOurs(const struct stat& info, const Step& step) {
  return info.st_ino == step.inode &&
         (S_ISDIR(info.st_mode) || ModifiedNanos(info) == step.modified_nanos);
}

Status UndoAdd(const Ground& ground, const Step& step, const std::string& name,
               const Place& place) {
  const auto now = LookAt(place.parent.get(), place.name);
  if (!now || !IsOurs(*now, step)) return {};
  // What its owner has put into it since must not go with it.
  if (S_ISDIR(now->st_mode) && !IsEmptyDirectory(place.parent.get(), place.name)) return {};
  if (::renameat2(place.parent.get(), place.name.c_str(), ground.stage, name.c_str(),
                  RENAME_NOREPLACE) != 0)
    return ErrnoError(errno, "taking back '" + PathForPerson(step.path) + "'");
  return {};
}

Status UndoReplace(const Ground& ground, const Step& step, const std::string& name,
                   const Place& place) {
  const auto now = LookAt(place.parent.get(), place.name);
  if (!now || !IsOurs(*now, step)) return {};
  if (S_ISDIR(now->st_mode) && !IsEmptyDirectory(place.parent.get(), place.name)) return {};
  if (::renameat2(ground.stage, name.c_str(), place.parent.get(), place.name.c_str(),
                  RENAME_EXCHANGE) != 0 &&
      errno != ENOENT)
    return ErrnoError(errno, "taking back '" + PathForPerson(step.path) + "'");
  return {};
}

Status UndoRemove(const Ground& ground, const Step& step, const std::string& name,
                  const Place& place) {
  if (::renameat2(ground.stage, name.c_str(), place.parent.get(), place.name.c_str(),
                  RENAME_NOREPLACE) == 0 ||
      errno == ENOENT || errno == EEXIST)
    return {};
  return ErrnoError(errno, "bringing back '" + PathForPerson(step.path) + "'");
}

Status UndoStep(const Ground& ground, const Step& step, std::size_t number) {
  const auto place = OpenPlace(ground.project, step.path);
  // Whoever has taken the directory away since has taken what was in it.
  if (!place) return {};
  const std::string name = std::to_string(number);
  switch (step.kind) {
    case StepKind::kAdd:
      return UndoAdd(ground, step, name, *place);
    case StepKind::kReplace:
      return UndoReplace(ground, step, name, *place);
    case StepKind::kRemove:
      return UndoRemove(ground, step, name, *place);
    case StepKind::kMode:
      break;
  }
  RETURN_IF_ERROR(ChangeMode(*place, step.inode, step.new_mode, step.old_mode));
  return {};
}

}  // namespace

bool IsSame(const struct stat& a, const struct stat& b) {
  if (a.st_ino != b.st_ino || (a.st_mode & S_IFMT) != (b.st_mode & S_IFMT)) return false;
  if (S_ISDIR(a.st_mode)) return true;
  if (a.st_size != b.st_size || a.st_mode != b.st_mode || ModifiedNanos(a) != ModifiedNanos(b))
    return false;
  // A step on another name of the same file changes its ctime.
  return a.st_nlink > 1 ||
         (a.st_ctim.tv_sec == b.st_ctim.tv_sec && a.st_ctim.tv_nsec == b.st_ctim.tv_nsec);
}

std::unexpected<Error> FailureAt(const std::string& path, const Error& error) {
  // Without a number it is a symlink, which nobody follows here.
  return error.sys_errno == 0 ? Conflict(path) : Failure(error.sys_errno, path);
}

Status DoStep(const Ground& ground, const Step& step, std::size_t number, const Seen& seen) {
  ASSIGN_OR_RETURN(const Place place, PlaceOf(ground.project, step.path));
  const std::string name = std::to_string(number);
  switch (step.kind) {
    case StepKind::kAdd:
      return Add(ground.stage, name, place, step.path);
    case StepKind::kReplace:
      CHECK(seen.contains(step.path));
      return TakeAway(ground.stage, name, place, RENAME_EXCHANGE, step.path, seen);
    case StepKind::kRemove:
      CHECK(seen.contains(step.path));
      return TakeAway(ground.stage, name, place, RENAME_NOREPLACE, step.path, seen);
    case StepKind::kMode:
      break;
  }
  ASSIGN_OR_RETURN(const bool is_done, ChangeMode(place, step.inode, step.old_mode, step.new_mode));
  if (!is_done) return Conflict(step.path);
  return {};
}

Status UndoSteps(const Ground& ground, std::span<const Step> steps) {
  for (std::size_t number = steps.size(); number > 0; --number)
    RETURN_IF_ERROR(UndoStep(ground, steps[number - 1], number - 1));
  return {};
}

}  // namespace cofferdam::projects
