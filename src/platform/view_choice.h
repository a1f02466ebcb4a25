// Which view a command means that comes after the agent: diff, apply, discard, rewind.
#pragma once

#include <optional>
#include <string>

#include "base/error.h"
#include "platform/platform_state.h"
#include "platform/view_parts.h"
#include "projects/checkpoints.h"

namespace cofferdam::platform {

/// The settings of the platform and of the workspace.
Settings SettingsOf(const Workspace::State& workspace);

/// The view of a project, by its path; of an empty path the workspace's own files; without one that
/// of the settings. kNotFound for a project on which no agent of the workspace has worked,
/// kUnsupported for one that agents change directly or cannot change; else as ChooseView.
Result<ViewChoice> KnownView(const Workspace::State& workspace,
                             const std::optional<std::string>& project,
                             projects::Checkpoints& checkpoints);

/// The choice that made the view of that name. kNotFound when nothing is known of it.
Result<ViewChoice> ChoiceOf(const std::string& view, projects::Checkpoints& checkpoints);

}  // namespace cofferdam::platform
