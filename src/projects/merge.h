// Merging three texts, by `git merge-file` in a sandbox: hostile bytes are nobody else's to parse.
#pragma once

#include <stop_token>

#include "projects/apply.h"
#include "sandbox/sandbox.h"

namespace cofferdam::projects {

/// A Merge that writes the texts below /tmp of the sandbox, asks git there, and removes them. The
/// sandbox must outlive it, and nothing else should run in it: whoever writes those files decides
/// what is merged. kUnsupported when the host has no git.
Merge MergeIn(sandbox::Sandbox& sandbox, const std::stop_token& stop);

}  // namespace cofferdam::projects
