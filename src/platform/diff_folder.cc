#include "platform/diff_folder.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>

#include "base/id.h"
#include "platform/effective.h"
#include "platform/view_choice.h"
#include "sys/file.h"

namespace cofferdam::platform {
namespace {

constexpr const char* kFolders = "diffs";

Result<sys::UniqueFd> MakeAndOpen(int directory, const std::string& name, mode_t mode) {
  if (::mkdirat(directory, name.c_str(), 0700) != 0 && errno != EEXIST)
    return ErrnoError(errno, "making " + name);
  ASSIGN_OR_RETURN(sys::UniqueFd made,
                   sys::OpenBeneath(directory, name, O_RDONLY | O_DIRECTORY, sys::Links::kRefuse));
  if (::fchmod(made.get(), mode) != 0) return ErrnoError(errno, "making " + name);
  return made;
}

/// The caller holds the lock of `folders`. What somebody still uses, or cannot be removed, stays.
Status RemoveLeftovers(int folders) {
  ASSIGN_OR_RETURN(const std::vector<std::string> names, sys::ListDirectory(folders));
  for (const std::string& name : names) {
    const auto folder =
        sys::OpenBeneath(folders, name, O_RDONLY | O_DIRECTORY, sys::Links::kRefuse);
    if (folder && DirectoryLock::TryExclusive(folder->get()))
      static_cast<void>(sys::RemoveTree(folders, name));
  }
  return {};
}

}  // namespace

Result<DiffFolder> DiffFolder::Make(const Workspace::State& workspace) {
  ASSIGN_OR_RETURN(sys::UniqueFd folders, MakeAndOpen(workspace.folder(), kFolders, 0700));
  ASSIGN_OR_RETURN(const DirectoryLock making, DirectoryLock::Exclusive(folders.get()));
  RETURN_IF_ERROR(RemoveLeftovers(folders.get()));
  std::string name = NewId(workspace.platform().clock());
  // Nobody but its owner gets as far as this: the workspace's folder is 0700.
  ASSIGN_OR_RETURN(sys::UniqueFd root, MakeAndOpen(folders.get(), name, 0755));
  ASSIGN_OR_RETURN(DirectoryLock lock, DirectoryLock::TryExclusive(root.get()));
  std::string path = workspace.path() + "/" + kFolders + "/" + name;
  return DiffFolder(workspace, std::move(folders), std::move(name), std::move(path),
                    std::move(root), std::move(lock));
}

DiffFolder::~DiffFolder() {
  // What stays is removed by the next one.
  if (parent_.valid()) static_cast<void>(sys::RemoveTree(parent_.get(), name_));
}

Result<std::unique_ptr<sandbox::LocalSandbox>> DiffFolder::MakeSandbox() const {
  Settings settings;
  settings.allow_missing = SettingsOf(*workspace_).allow_missing;
  ASSIGN_OR_RETURN(
      sandbox::SandboxSpec spec,
      SandboxSpecFor(settings, workspace_->path(), workspace_->platform().directory().path()));
  spec.id = NewId(workspace_->platform().clock());
  spec.identity = workspace_->identity();
  spec.mounts = {{path_, "/workspace", false}};
  ASSIGN_OR_RETURN(sandbox::Launcher * launcher, workspace_->platform().Launcher());
  return sandbox::LocalSandbox::Create(*launcher, spec, Deadline::Never());
}

}  // namespace cofferdam::platform
