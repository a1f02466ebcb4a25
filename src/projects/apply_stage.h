// Filling the stage of an apply: every new file and link and directory, with its owner and mode,
// and the steps that bring them to their places. The project itself is not touched.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "projects/apply.h"
#include "projects/apply_steps.h"

namespace cofferdam::projects {

/// Writes what the plan brings into `ground.stage`, durably. The steps in their order: directories
/// are opened first where their owner may not write in them, then everything goes that is to go
/// (a directory with all that is in it), then comes what is to come, then the permissions.
/// kConflict when the project, or kBusy when the agent's files, have changed since the plan was
/// made.
Result<std::vector<Step>> FillStage(const ApplyPlan& plan, const LayerView& upper,
                                    const Ground& ground);

}  // namespace cofferdam::projects
