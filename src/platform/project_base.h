// What a project is like when an agent begins to change it: an index of it, and in the mode copy a
// copy of it.
#pragma once

#include <stop_token>
#include <string>

#include "base/error.h"
#include "platform/view_parts.h"
#include "projects/base_index.h"
#include "projects/checkpoints.h"

namespace cofferdam::platform {

/// <workspace>/checkpoints/base-<view>: what the project was like when the agent began. kNotFound
/// when there is none; kCorrupt. `workspace` is the workspace's folder, trusted.
Result<projects::BaseIndex> ReadBase(const std::string& workspace, const std::string& view);

/// What it was like is of no use any more. The next PrepareBase looks at the project anew.
Status ForgetBase(const std::string& workspace, const std::string& view,
                  projects::Checkpoints& checkpoints);

/// While nothing is in the upper: looks at the project anew, and copies it again if it is another
/// and is to be copied; then checkpoints from before cannot be gone back to. Otherwise all stays.
/// Killed in between, it is done again the next time. The
/// view is nobody else's meanwhile.
Status PrepareBase(const std::string& workspace, const ViewParts& parts,
                   projects::Checkpoints& checkpoints, const std::stop_token& stop);

}  // namespace cofferdam::platform
