// What becomes of an agent's changes: Workspace::Apply and Discard.
#pragma once

#include <optional>
#include <stop_token>
#include <string>

#include <cofferdam/projects.h>

#include "base/error.h"
#include "platform/platform_state.h"

namespace cofferdam::platform {

/// Errors as KnownView and ExclusiveView::Open; kConflict when the project was changed while it was
/// being applied.
Result<ApplyResult> Apply(const Workspace::State& workspace,
                          const std::optional<std::string>& project, const std::stop_token& stop);

Result<DiscardResult> Discard(const Workspace::State& workspace,
                              const std::optional<std::string>& project);

}  // namespace cofferdam::platform
