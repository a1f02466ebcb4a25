#include "platform/layer_use.h"

#include <fcntl.h>

#include <cerrno>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "projects/checkpoints.h"
#include "projects/view.h"
#include "sys/file.h"

namespace cofferdam::platform {
namespace {

constexpr char kDatabase[] = "checkpoints/checkpoints.db";

/// Adds what the views of one workspace name. One that is deleted meanwhile names nothing.
Status AddLayersOf(const StateDirectory& directory, const std::string& workspace,
                   const Clock& clock, std::set<std::string>& used) {
  const auto folder = directory.OpenWorkspace(workspace);
  if (!folder && folder.error().code == ErrorCode::kNotFound) return {};
  if (!folder) return std::unexpected(folder.error());
  if (::faccessat(folder->get(), kDatabase, F_OK, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return {};
    return ErrnoError(errno, "looking for checkpoints");
  }
  ASSIGN_OR_RETURN(
      projects::Checkpoints checkpoints,
      projects::Checkpoints::Open(directory.path() + "/workspaces/" + workspace, clock));
  ASSIGN_OR_RETURN(const std::vector<projects::ViewRecord> views,
                   projects::ListViews(checkpoints.database()));
  for (const projects::ViewRecord& view : views)
    used.insert(view.layers.begin(), view.layers.end());
  return {};
}

Result<std::set<std::string>> UsedLayers(const StateDirectory& directory, const Clock& clock) {
  ASSIGN_OR_RETURN(const std::vector<std::string> workspaces, directory.ListWorkspaces());
  std::set<std::string> used;
  for (const std::string& workspace : workspaces) {
    const Status added = AddLayersOf(directory, workspace, clock, used);
    if (!added) return std::unexpected(added.error().With("workspace '" + workspace + "'"));
  }
  return used;
}

}  // namespace

Status CollectLayers(const StateDirectory& directory, const projects::Layers& layers,
                     const Clock& clock) {
  // Asked under the lock, and once.
  std::optional<std::set<std::string>> used;
  return layers.Collect([&](const std::string& id) -> Result<bool> {
    if (!used) {
      ASSIGN_OR_RETURN(used, UsedLayers(directory, clock));
    }
    return used->contains(id);
  });
}

Status CollectLeftLayers(const StateDirectory& directory, const Clock& clock) {
  ASSIGN_OR_RETURN(const projects::Layers layers, projects::Layers::Open(directory.path()));
  ASSIGN_OR_RETURN(const bool needed, layers.NeedsCollect());
  return needed ? CollectLayers(directory, layers, clock) : Status();
}

Status DeleteWithLayers(const StateDirectory& directory, const std::string& workspace,
                        const Clock& clock) {
  ASSIGN_OR_RETURN(const projects::Layers layers, projects::Layers::Open(directory.path()));
  {
    ASSIGN_OR_RETURN(auto hold, layers.Take());
    const Status deleted = directory.DeleteWorkspace(workspace, clock);
    if (!deleted) {
      hold.Done();
      return deleted;
    }
  }
  // The workspace is gone, whatever becomes of these: the next one who opens the state tries again.
  static_cast<void>(CollectLayers(directory, layers, clock));
  return {};
}

}  // namespace cofferdam::platform
