// The tool server: executes what the host asks for and answers, on one channel. Single-threaded; a
// loop over descriptors. In a sandbox it is PID 1.
#pragma once

namespace cofferdam::worker {

/// Serves the control protocol on `channel` (a stream socket) until the host is gone or the sandbox
/// has to end. Takes over SIGCHLD and the reaping of every child of the process.
void ServeTools(int channel);

}  // namespace cofferdam::worker
