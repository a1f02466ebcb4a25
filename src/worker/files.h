// File operations, each in a fork of the worker: a read of a pipe or a slow file system blocks that
// child, which can be killed, and not the worker. They see what the sandbox sees and may do what
// its user may; bounds are on how much they answer.
#pragma once

#include "protocol/control.pb.h"
#include "worker/command.h"

namespace cofferdam::worker {

/// Streams the content of a file to `pipes.output`.
protocol::v1::OpExit ReadFileOp(const protocol::v1::FsReadRequest& request,
                                const ChildPipes& pipes);

/// Stores what comes on `pipes.input`; a byte on `pipes.control` after its end commits, the end of
/// `control` alone leaves the old file as it was.
protocol::v1::OpExit WriteFileOp(const protocol::v1::FsWriteBegin& request,
                                 const ChildPipes& pipes);

/// Everything that is answered in one piece: list, stat, mkdir, move, remove.
protocol::v1::ControlResponse AnswerFileRequest(const protocol::v1::ControlRequest& request);

}  // namespace cofferdam::worker
