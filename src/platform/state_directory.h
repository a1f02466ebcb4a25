// The state directory as it lies on disk: platform.json, platform.db and workspaces/.
// docs/formats/state.md has the layout.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <cofferdam/settings.h>

#include "base/clock.h"
#include "base/error.h"
#include "platform/workspace_ids.h"
#include "sys/fd.h"

namespace cofferdam::platform {

/// An open state directory. Holds descriptors and a database, no lock; several processes may have
/// it open. The const methods are safe to use from several threads.
class StateDirectory {
 public:
  /// Opens it, and makes it first when it is missing or empty. Errors as Platform::Open.
  static Result<StateDirectory> Open(const std::string& path, const Clock& clock);

  /// Absolute, without symbolic links.
  const std::string& path() const { return path_; }
  const std::string& id() const { return id_; }

  /// Makes a workspace: all of it, or nothing. Its files belong to the ids under which its tools
  /// run. `fill` puts more into its folder, whose path it gets, before it has its name.
  /// kAlreadyExists.
  using Fill = std::function<Status(const std::string& folder)>;
  Status CreateWorkspace(const std::string& id, const Settings& settings, const Clock& clock,
                         const Fill& fill = {}) const;
  /// The folder of a workspace, O_PATH. kNotFound.
  Result<sys::UniqueFd> OpenWorkspace(const std::string& id) const;
  /// The ids under which the tools of a workspace run, to whom its files belong, or belong now.
  /// `folder` is what OpenWorkspace gave. Errors as WorkspaceIds::Settle.
  Result<OwnIdentity> IdentityOf(const std::string& id, int folder) const;
  /// Sorted; only folders that hold a workspace.json.
  Result<std::vector<std::string>> ListWorkspaces() const;
  /// Removes a workspace that nobody uses. kBusy while somebody holds a shared DirectoryLock on its
  /// folder, kNotFound. After a crash in between it is gone already, and Open removes the rest.
  Status DeleteWorkspace(const std::string& id, const Clock& clock) const;

 private:
  StateDirectory(std::string path, std::string id, sys::UniqueFd workspaces, WorkspaceIds ids)
      : path_(std::move(path)),
        id_(std::move(id)),
        workspaces_(std::move(workspaces)),
        ids_(std::move(ids)) {}
  Status RemoveLeftovers() const;
  Status MakeWorkspace(const std::string& id, const std::string& temporary, int folder,
                       const Settings& settings, const Clock& clock, const Fill& fill) const;

  std::string path_;
  std::string id_;
  sys::UniqueFd workspaces_;
  WorkspaceIds ids_;
};

/// Reads and replaces the settings in the workspace.json of an open workspace folder. kCorrupt for
/// a damaged file, which is left as it is.
Result<Settings> ReadWorkspaceSettings(int folder);
Status WriteWorkspaceSettings(int folder, const Settings& settings);

}  // namespace cofferdam::platform
