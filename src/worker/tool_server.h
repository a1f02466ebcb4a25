// The tool server: executes what the host asks for and answers, on one channel. Single-threaded; a
// loop over descriptors. In a sandbox it is PID 1.
#pragma once

namespace cofferdam::worker {

/// Serves the control protocol on `channel` (a stream socket) until the host is gone or the sandbox
/// has to end. Takes over SIGCHLD and the reaping of every child of the process. `oom_score` is the
/// process's own /proc file oom_score_adj, open for reading and writing, through which children are
/// made the first to die of memory; -1 leaves that.
void ServeTools(int channel, int oom_score);

}  // namespace cofferdam::worker
