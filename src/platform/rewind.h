// Workspace::Rewind and Checkpoints.
//
// A rewind is first written down whole, in <workspace>/rewind.json, and then done: files, then the
// conversation, then the marks at the checkpoints that it went back behind. Each step sees whether
// it was done before. So a rewind that was killed is either not begun or finished by whoever next
// wants to work in the workspace: FinishRewind. Bytes on disk: docs/formats/rewind.md.
#pragma once

#include <stop_token>
#include <string>
#include <vector>

#include <cofferdam/projects.h>

#include "base/deadline.h"
#include "base/error.h"
#include "platform/platform_state.h"

namespace cofferdam::platform {

Result<RewindResult> Rewind(const Workspace::State& workspace, const RewindOptions& options,
                            const std::stop_token& stop);

/// Waits for a rewind that goes on, and finishes one that was killed. Costs a look for one file
/// when there is none. Called before anything that reads a transcript to go on with it, or files.
/// kTimeout and kCancelled while waiting.
Status FinishRewind(const Workspace::State& workspace, Deadline deadline,
                    const std::stop_token& stop);

/// Oldest first; of all sessions when `session` is empty.
Result<std::vector<CheckpointInfo>> ListCheckpoints(const Workspace::State& workspace,
                                                    const std::string& session);

}  // namespace cofferdam::platform
