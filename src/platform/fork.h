// Platform::ForkWorkspace: a second workspace with the files of a first one, which cost nothing
// until one of the two changes them.
//
// The upper of the first becomes a layer (projects/layers.h) below both. First the layer is there,
// without files, and the record of the first workspace's view names it; then it is exchanged with
// the upper: at each moment the view shows the same files, so that nothing has to be finished or
// taken back when this process is killed. The second workspace gets its name last. Where that
// cannot be, or somebody works with the files, the layer is a copy, and the first workspace stays
// as it is.
#pragma once

#include <string>

#include <cofferdam/platform.h>

#include "base/error.h"
#include "platform/platform_state.h"

namespace cofferdam::platform {

Result<ForkResult> ForkWorkspace(Platform::State& platform, const std::string& from,
                                 const std::string& to);

}  // namespace cofferdam::platform
