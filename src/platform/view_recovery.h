// What a process that was killed has left of a view: a rewind, an apply or a fork half-way.
#pragma once

#include "base/error.h"
#include "platform/view.h"

namespace cofferdam::platform {

/// Finishes it, or takes it back. Called with the lock of the view, before anybody uses it; may
/// change the upper, and the record of the view.
Status RecoverView(const Workspace::State& workspace, const ViewChoice& choice,
                   projects::Checkpoints& checkpoints);

}  // namespace cofferdam::platform
