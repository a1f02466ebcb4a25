// What the benches share: the clock, programs outside of any sandbox, files for a while.
#pragma once

#include <sys/types.h>

#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "sandbox/launcher.h"
#include "sandbox/local_sandbox.h"
#include "sys/fd.h"

namespace cofferdam::bench {

/// The monotonic clock, in microseconds.
double Now();

/// What `Result` holds; an error ends the bench, with what it says on standard error.
template <typename T>
T OrExit(Result<T> result) {
  if (result) return *std::move(result);
  std::fprintf(stderr, "%s\n", result.error().ToString().c_str());
  std::exit(1);
}
void OrExit(const Status& status);

// ---- Payloads: see *.c

/// The directory of all payloads, on the host and in a sandbox that mounts it with PayloadMount.
const std::string& PayloadDirectory();
sandbox::Mount PayloadMount();
/// A payload's path in such a sandbox.
std::string PayloadInside(const std::string& name);
/// And on the host.
std::string PayloadOutside(const std::string& name);

/// The time that a stamp payload wrote, as Now() tells it.
std::optional<double> ParseStamp(std::string_view bytes);

/// Runs the stamp payload, or another, with standard output to `sink`. An operation that fails ends
/// the bench.
void ExecPayload(sandbox::Sandbox& sandbox, const std::string& program,
                 const sandbox::OutputSink& sink);

// ---- Programs outside

enum class StartBy { kSpawn, kFork };

/// A program that runs, with its standard output at the other end of `output`.
struct Running {
  pid_t pid = -1;
  sys::UniqueFd output;
};
/// Looks the program up in PATH. `quiet` sends what it complains about to /dev/null. An error when
/// there is no such program.
Result<Running> StartProgram(const std::vector<std::string>& argv, StartBy how, bool quiet = false);
/// Its wait status.
int WaitFor(pid_t pid);

// ---- Files

/// A directory that is there as long as this object or this process, however it ends: a process of
/// its own removes it. To be made while there is one thread.
class ScratchDirectory {
 public:
  ScratchDirectory();
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;
  /// Returns when it is removed.
  ~ScratchDirectory();

  const std::string& path() const { return path_; }

 private:
  std::string path_;
  pid_t keeper_ = -1;
  sys::UniqueFd alive_;
};

/// The number behind `field` in a file of lines like "MemAvailable:  123 kB"; 0 when there is none.
std::uint64_t FieldOf(const std::string& path, std::string_view field);

}  // namespace cofferdam::bench
