// What an agent has changed, and what the owner of its project has: Workspace::Diff.
#pragma once

#include <stop_token>
#include <vector>

#include <cofferdam/projects.h>

#include "base/error.h"
#include "platform/platform_state.h"
#include "projects/changes.h"

namespace cofferdam::platform {

/// Looks at what is there without a lock: while a run goes on, that is what it has just written.
/// Errors as KnownView, of reading, and of the sandbox.
Result<ProjectDiff> Diff(const Workspace::State& workspace, const DiffOptions& options,
                         const std::stop_token& stop);

/// For results.
std::vector<ProjectChange> PublicChanges(const std::vector<projects::Change>& changes);
std::vector<LeftOutPath> PublicLeftOut(const std::vector<projects::LeftOut>& left_out);

}  // namespace cofferdam::platform
