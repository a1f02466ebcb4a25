// What follows an apply, whether the process that applied lives on or another one finds its
// journal.
#pragma once

#include "base/error.h"
#include "platform/platform_state.h"
#include "platform/view_parts.h"
#include "projects/checkpoints.h"
#include "sys/fd.h"

namespace cofferdam::platform {

/// <workspace>/checkpoints/apply-<view>, made when it is missing: where applies to a project keep
/// their journal.
Result<sys::UniqueFd> OpenApplyJournal(const Workspace::State& workspace, const std::string& view);

/// When changes of the view were applied: empties the upper, begins a new epoch and forgets the
/// base. When an apply was killed before that was decided: the project is put back. Nothing when
/// there was none. Killed, it can be called again. The view is nobody else's meanwhile.
Status FinishApplied(const Workspace::State& workspace, const ViewChoice& choice,
                     projects::Checkpoints& checkpoints);

}  // namespace cofferdam::platform
