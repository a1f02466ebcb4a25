// Running one command: a supervisor process that is the subreaper of everything the command starts,
// so that nothing of it outlives the operation.
#pragma once

#include "protocol/control.pb.h"

namespace cofferdam::worker {

/// The child's ends of an operation's pipes. -1 where there is none.
struct ChildPipes {
  int input = -1;    // read: what the host sends
  int output = -1;   // write: standard output, or content
  int errors = -1;   // write: standard error
  int status = -1;   // write: the serialised result, last
  int control = -1;  // read: a byte or the end means stop, see each user
};

/// The supervisor, in a fork of the worker. Runs the command, waits for it or for a word on
/// `control`, kills whatever is left, writes an OpExit to `status` and ends the process.
[[noreturn]] void SuperviseCommand(const protocol::v1::ExecRequest& request,
                                   const ChildPipes& pipes);

}  // namespace cofferdam::worker
