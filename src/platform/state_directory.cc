#include "platform/state_directory.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include <cofferdam/platform.h>

#include "base/error.h"
#include "base/id.h"
#include "json/fields.h"
#include "json/json.h"
#include "platform/directory_lock.h"
#include "platform/paths.h"
#include "platform/settings.h"
#include "sandbox/spec.h"
#include "storage/atomic_file.h"
#include "sys/file.h"

namespace cofferdam::platform {
namespace {

constexpr std::int64_t kFormat = 1;
constexpr const char* kPlatformFile = "platform.json";
constexpr const char* kWorkspaceFile = "workspace.json";
/// What is being made or removed; no id begins with a dot.
constexpr std::string_view kNewPrefix = ".new-";
constexpr std::string_view kDeletedPrefix = ".deleted-";

Error Corrupt(const Error& error, const std::string& what) {
  return {ErrorCode::kCorrupt, what + " is damaged: " + error.message,
          "it was left as it is; restore it from a backup", error.sys_errno};
}

/// A file of ours: an object of a format that this program knows.
Result<json::Json> ReadDocument(int directory, const std::string& name) {
  ASSIGN_OR_RETURN(const sys::UniqueFd fd,
                   sys::OpenBeneath(directory, name, O_RDONLY, sys::Links::kRefuse));
  ASSIGN_OR_RETURN(const std::string text, sys::ReadAll(fd.get(), 1 << 20));
  auto document = json::Parse(text);
  if (!document) return std::unexpected(Corrupt(document.error(), name));
  const auto format = json::GetInt(*document, "format");
  if (!format) return std::unexpected(Corrupt(format.error(), name));
  if (*format != kFormat)
    return Err(ErrorCode::kUnsupported,
               name + " has format " + std::to_string(*format) + "; this program knows " +
                   std::to_string(kFormat),
               "use a newer version");
  return document;
}

Status WriteDocument(int directory, const std::string& name, const json::Json& document) {
  return storage::WriteFileAtomically(directory, name, document.dump(2) + "\n", 0600);
}

Status MakeDirectoryAt(int directory, const std::string& name) {
  if (::mkdirat(directory, name.c_str(), 0700) == 0 || errno == EEXIST) return {};
  return ErrnoError(errno, "making " + name);
}

/// Whether there is nothing in the directory but what an interrupted first Open may have left.
Result<bool> IsUnused(int directory) {
  ASSIGN_OR_RETURN(const std::vector<std::string> names, sys::ListDirectory(directory));
  return std::ranges::all_of(names, [](const std::string& name) {
    return name.starts_with(".tmp-") || name == "workspaces";
  });
}

/// The platform's id, made now when the directory is new.
Result<std::string> Identify(int directory, const std::string& path, const Clock& clock) {
  // Two programs that start at the same time agree on one id.
  ASSIGN_OR_RETURN(const DirectoryLock lock, DirectoryLock::Exclusive(directory));
  auto document = ReadDocument(directory, kPlatformFile);
  if (!document && document.error().code == ErrorCode::kNotFound) {
    ASSIGN_OR_RETURN(const bool unused, IsUnused(directory));
    if (!unused)
      return Err(ErrorCode::kInvalidArgument,
                 path + " holds other things and cannot be the state directory",
                 "take an empty directory, or one that does not exist yet");
    document = json::Json{
        {"format", kFormat}, {"id", NewId(clock)}, {"created", FormatUtc(clock.UnixMillis())}};
    RETURN_IF_ERROR(WriteDocument(directory, kPlatformFile, *document));
  }
  if (!document) return std::unexpected(document.error().With(path));
  auto id = json::GetString(*document, "id");
  if (!id || !IsId(*id)) return Err(ErrorCode::kCorrupt, path + "/platform.json has no valid id");
  return *id;
}

Status CheckOwner(int directory, const std::string& path) {
  ASSIGN_OR_RETURN(const struct stat info, sys::Stat(directory));
  if (info.st_uid == ::geteuid()) return {};
  return Err(ErrorCode::kPermissionDenied, path + " belongs to another user",
             "take a state directory of your own");
}

Status CloseToOthers(int directory, const std::string& path) {
  if (::fchmod(directory, 0700) == 0) return {};
  return ErrnoError(errno, "closing " + path + " to others");
}

Status RenameNew(int directory, const std::string& from, const std::string& to) {
  if (::renameat2(directory, from.c_str(), directory, to.c_str(), RENAME_NOREPLACE) == 0)
    return storage::SyncDirectory(directory);
  return ErrnoError(errno, "renaming " + from + " to " + to);
}

std::unexpected<Error> NoWorkspace(const std::string& id) {
  return Err(ErrorCode::kNotFound, "workspace '" + id + "' does not exist",
             "create it with: cofferdam workspace create " + id);
}

Status FillWorkspace(int folder, const std::string& id, const Settings& settings,
                     sandbox::HostIdentity tools, const Clock& clock) {
  // `files` is the host's and closed, so that the tools of others stand before it.
  for (const char* name : {"sessions", "runs", "files", "files/work", "files/home"})
    RETURN_IF_ERROR(MakeDirectoryAt(folder, name));
  for (const char* name : {"files/work", "files/home"})
    if (::fchownat(folder, name, tools.uid, tools.gid, AT_SYMLINK_NOFOLLOW) != 0)
      return ErrnoError(errno, "giving " + std::string(name) + " to the user of the tools");
  RETURN_IF_ERROR(WriteDocument(folder, kWorkspaceFile,
                                {{"format", kFormat},
                                 {"id", id},
                                 {"created", FormatUtc(clock.UnixMillis())},
                                 {"settings", ToJson(settings)}}));
  return storage::SyncDirectory(folder);
}

}  // namespace

Result<StateDirectory> StateDirectory::Open(const std::string& path, const Clock& clock) {
  ASSIGN_OR_RETURN(std::string resolved, ResolvePath(path));
  RETURN_IF_ERROR(CheckStateDirectory(resolved));
  RETURN_IF_ERROR(sys::MakeDirectories(resolved, 0700));
  ASSIGN_OR_RETURN(const sys::UniqueFd directory,
                   sys::Open(resolved, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  // What is not ours, or is something else, is not touched.
  RETURN_IF_ERROR(CheckOwner(directory.get(), resolved));
  ASSIGN_OR_RETURN(std::string id, Identify(directory.get(), resolved, clock));
  RETURN_IF_ERROR(CloseToOthers(directory.get(), resolved));
  RETURN_IF_ERROR(MakeDirectoryAt(directory.get(), "workspaces"));
  ASSIGN_OR_RETURN(
      sys::UniqueFd workspaces,
      sys::OpenBeneath(directory.get(), "workspaces", O_RDONLY | O_DIRECTORY, sys::Links::kRefuse));
  ASSIGN_OR_RETURN(WorkspaceIds ids, WorkspaceIds::Open(resolved, id, workspaces.get()));
  StateDirectory state(std::move(resolved), std::move(id), std::move(workspaces), std::move(ids));
  RETURN_IF_ERROR(state.RemoveLeftovers());
  return state;
}

Status StateDirectory::RemoveLeftovers() const {
  ASSIGN_OR_RETURN(const std::vector<std::string> names, sys::ListDirectory(workspaces_.get()));
  for (const std::string& name : names) {
    if (!name.starts_with(kNewPrefix) && !name.starts_with(kDeletedPrefix)) continue;
    const auto folder = sys::OpenAt(workspaces_.get(), name, O_PATH | O_DIRECTORY | O_NOFOLLOW);
    // Whoever still works on it holds the lock. What cannot be removed now is tried again at the
    // next start; it is no workspace any more.
    if (folder && DirectoryLock::TryExclusive(folder->get()))
      static_cast<void>(sys::RemoveTree(workspaces_.get(), name));
  }
  return ids_.ReleaseLost(workspaces_.get());
}

Status StateDirectory::CreateWorkspace(const std::string& id, const Settings& settings,
                                       const Clock& clock, const Fill& fill) const {
  RETURN_IF_ERROR(CheckName("workspace", id));
  const std::string temporary = std::string(kNewPrefix) + NewId(clock);
  RETURN_IF_ERROR(MakeDirectoryAt(workspaces_.get(), temporary));
  ASSIGN_OR_RETURN(const sys::UniqueFd folder,
                   sys::OpenAt(workspaces_.get(), temporary, O_RDONLY | O_DIRECTORY));
  // To the very end: until then it is this name's ids that a crash leaves.
  ASSIGN_OR_RETURN(const DirectoryLock lock, DirectoryLock::TryExclusive(folder.get()));
  const Status made = MakeWorkspace(id, temporary, folder.get(), settings, clock, fill);
  if (made) {
    // What is not on record now is when the workspace is opened.
    static_cast<void>(ids_.Move(temporary, id));
    return {};
  }
  // What cannot be removed now is when the state is opened the next time.
  if (sys::RemoveTree(workspaces_.get(), temporary)) static_cast<void>(ids_.Release(temporary));
  if (made.error().code == ErrorCode::kAlreadyExists)
    return Err(ErrorCode::kAlreadyExists, "workspace '" + id + "' already exists");
  return made;
}

Status StateDirectory::MakeWorkspace(const std::string& id, const std::string& temporary,
                                     int folder, const Settings& settings, const Clock& clock,
                                     const Fill& fill) const {
  ASSIGN_OR_RETURN(const OwnIdentity own, ids_.Take(id, temporary));
  const sandbox::HostIdentity tools = own ? *own : sandbox::ToolIdentity();
  RETURN_IF_ERROR(FillWorkspace(folder, id, settings, tools, clock));
  if (fill) RETURN_IF_ERROR(fill(path_ + "/workspaces/" + temporary));
  return RenameNew(workspaces_.get(), temporary, id);
}

Result<sys::UniqueFd> StateDirectory::OpenWorkspace(const std::string& id) const {
  RETURN_IF_ERROR(CheckName("workspace", id));
  auto folder = sys::OpenBeneath(workspaces_.get(), id, O_PATH | O_DIRECTORY, sys::Links::kRefuse);
  if (!folder && folder.error().code == ErrorCode::kNotFound) return NoWorkspace(id);
  return folder;
}

Result<OwnIdentity> StateDirectory::IdentityOf(const std::string& id, int folder) const {
  return ids_.Settle(workspaces_.get(), id, folder);
}

Result<std::vector<std::string>> StateDirectory::ListWorkspaces() const {
  // A fresh description: the position of a directory is shared by its descriptors.
  ASSIGN_OR_RETURN(const sys::UniqueFd directory,
                   sys::OpenAt(workspaces_.get(), ".", O_RDONLY | O_DIRECTORY));
  ASSIGN_OR_RETURN(std::vector<std::string> names, sys::ListDirectory(directory.get()));
  std::erase_if(names, [&directory](const std::string& name) {
    return !IsName(name) || ::faccessat(directory.get(), (name + "/" + kWorkspaceFile).c_str(),
                                        F_OK, AT_SYMLINK_NOFOLLOW) != 0;
  });
  std::ranges::sort(names);
  return names;
}

Status StateDirectory::DeleteWorkspace(const std::string& id, const Clock& clock) const {
  ASSIGN_OR_RETURN(const sys::UniqueFd folder, OpenWorkspace(id));
  const auto lock = DirectoryLock::TryExclusive(folder.get());
  if (!lock && lock.error().code == ErrorCode::kBusy)
    return Err(ErrorCode::kBusy, "workspace '" + id + "' has runs that still go on",
               "cancel them, or wait for them");
  if (!lock) return std::unexpected(lock.error());
  const std::string doomed = std::string(kDeletedPrefix) + NewId(clock);
  RETURN_IF_ERROR(ids_.Move(id, doomed));
  RETURN_IF_ERROR(RenameNew(workspaces_.get(), id, doomed));
  RETURN_IF_ERROR(sys::RemoveTree(workspaces_.get(), doomed));
  return ids_.Release(doomed);
}

Result<Settings> ReadWorkspaceSettings(int folder) {
  ASSIGN_OR_RETURN(const json::Json document, ReadDocument(folder, kWorkspaceFile));
  const auto object = json::GetObject(document, "settings");
  if (!object) return std::unexpected(Corrupt(object.error(), kWorkspaceFile));
  auto settings = SettingsFromJson(**object);
  if (!settings) return std::unexpected(Corrupt(settings.error(), kWorkspaceFile));
  return settings;
}

Status WriteWorkspaceSettings(int folder, const Settings& settings) {
  ASSIGN_OR_RETURN(json::Json document, ReadDocument(folder, kWorkspaceFile));
  document["settings"] = ToJson(settings);
  return WriteDocument(folder, kWorkspaceFile, document);
}

}  // namespace cofferdam::platform
