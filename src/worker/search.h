// grep and find: walks that never follow symlinks, and matching in linear time. In a fork of the
// worker, like files.h.
#pragma once

#include <string>

#include "protocol/control.pb.h"
#include "worker/command.h"

namespace cofferdam::worker {

/// Each writes length-prefixed SearchRecords to `pipes.output`.
protocol::v1::OpExit GrepOp(const protocol::v1::GrepRequest& request, const ChildPipes& pipes);
protocol::v1::OpExit FindOp(const protocol::v1::FindRequest& request, const ChildPipes& pipes);

/// A shell glob as a regular expression for a whole text: * and ? do not cross '/', ** does, [..]
/// and {a,b} as in a shell.
std::string GlobToRegex(const std::string& glob);

}  // namespace cofferdam::worker
