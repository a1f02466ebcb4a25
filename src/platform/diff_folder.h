// A folder for what git is to look at, and the sandbox in which it does.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "base/error.h"
#include "platform/directory_lock.h"
#include "platform/platform_state.h"
#include "sandbox/local_sandbox.h"
#include "sys/fd.h"

namespace cofferdam::platform {

/// <workspace>/diffs/<uuid>, empty at first, removed with everything in it when this goes. Those
/// that killed processes have left are removed by the next one. Belongs to one thread.
class DiffFolder {
 public:
  /// `workspace` must outlive it.
  static Result<DiffFolder> Make(const Workspace::State& workspace);
  DiffFolder(DiffFolder&&) noexcept = default;
  DiffFolder& operator=(DiffFolder&&) = delete;
  ~DiffFolder();

  int root() const { return root_.get(); }
  const std::string& path() const { return path_; }

  /// A sandbox that has the folder as /workspace and can only read it.
  Result<std::unique_ptr<sandbox::LocalSandbox>> MakeSandbox() const;

 private:
  DiffFolder(const Workspace::State& workspace, sys::UniqueFd parent, std::string name,
             std::string path, sys::UniqueFd root, DirectoryLock lock)
      : workspace_(&workspace),
        parent_(std::move(parent)),
        name_(std::move(name)),
        path_(std::move(path)),
        root_(std::move(root)),
        lock_(std::move(lock)) {}

  const Workspace::State* workspace_;
  sys::UniqueFd parent_;  // empty after a move
  std::string name_;
  std::string path_;
  sys::UniqueFd root_;
  DirectoryLock lock_;  // says that it is in use
};

}  // namespace cofferdam::platform
