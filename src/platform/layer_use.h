// Which layers are in use, and the end of those that are not. A layer is used by the workspaces
// whose views name it.
#pragma once

#include <string>

#include "base/clock.h"
#include "base/error.h"
#include "platform/state_directory.h"
#include "projects/layers.h"

namespace cofferdam::platform {

/// Removes the layers that no workspace uses, unless somebody is just making one. An error when a
/// workspace cannot be asked; then none is removed.
Status CollectLayers(const StateDirectory& directory, const projects::Layers& layers,
                     const Clock& clock);

/// The same when somebody was stopped in the middle of making one.
Status CollectLeftLayers(const StateDirectory& directory, const Clock& clock);

/// StateDirectory::DeleteWorkspace, and the end of layers that only this workspace used.
Status DeleteWithLayers(const StateDirectory& directory, const std::string& workspace,
                        const Clock& clock);

}  // namespace cofferdam::platform
