// How long until a sandbox is ready, and until the first instruction of a program in it, beside
// bubblewrap with a filter of the same size running the same program. The clock starts at the
// public call; `ready` is the first ping answered after verification.

#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/check.h"
#include "report.h"
#include "sandbox/layers/seccomp/filters.h"
#include "sandbox/local_sandbox.h"

namespace cofferdam::bench {
namespace {

double Now() {
  timespec now;
  CHECK(::clock_gettime(CLOCK_MONOTONIC, &now) == 0);
  return static_cast<double>(now.tv_sec) * 1e6 + static_cast<double>(now.tv_nsec) / 1e3;
}

double StampIn(const std::string& bytes) {
  timespec stamp;
  CHECK(bytes.size() == sizeof(stamp));
  std::memcpy(&stamp, bytes.data(), sizeof(stamp));
  return static_cast<double>(stamp.tv_sec) * 1e6 + static_cast<double>(stamp.tv_nsec) / 1e3;
}

struct OwnSample {
  double ready, first_instruction, exec_first_instruction, ended;
  sandbox::StartTimes phases;
};

OwnSample MeasureOwn(sandbox::Launcher& launcher, int number) {
  sandbox::SandboxSpec spec;
  spec.id = "bench-" + std::to_string(number);
  spec.mounts = {{BENCH_PAYLOAD_DIR, "/mnt/payload", false}};
  const double start = Now();
  auto sandbox = sandbox::LocalSandbox::Create(launcher, spec, Deadline::Never());
  const double ready = Now();
  if (!sandbox) {
    std::fprintf(stderr, "%s\n", sandbox.error().ToString().c_str());
    std::exit(1);
  }
  std::string output;
  const auto result =
      (*sandbox)->Exec({.argv = {"/mnt/payload/bench_stamp"}, .working_directory = "/"},
                       [&](sandbox::OutputStream, std::string_view bytes) { output += bytes; }, {});
  CHECK(result.has_value());
  const double stamp = StampIn(output);
  const double before_end = Now();
  (*sandbox)->Kill();
  return {ready - start, stamp - start, stamp - ready, Now() - before_end,
          (*sandbox)->start_times()};
}

// The filter that ships, as a file that bubblewrap reads from a descriptor.
int FilterFile() {
  const auto filter = sandbox::seccomp::NativeToolFilter();
  const int fd = ::memfd_create("filter", 0);
  const auto size = static_cast<ssize_t>(filter.size_bytes());
  CHECK(::write(fd, filter.data(), filter.size_bytes()) == size);
  return fd;
}

double MeasurePeer(int filter, bool& present) {
  int ends[2];
  CHECK(::pipe2(ends, O_CLOEXEC) == 0);
  CHECK(::lseek(filter, 0, SEEK_SET) == 0);
  std::string filter_text = std::to_string(filter);
  const char* arguments[] = {"bwrap",
                             "--unshare-all",
                             "--die-with-parent",
                             "--ro-bind",
                             "/usr",
                             "/usr",
                             "--symlink",
                             "usr/bin",
                             "/bin",
                             "--symlink",
                             "usr/lib",
                             "/lib",
                             "--symlink",
                             "usr/lib64",
                             "/lib64",
                             "--proc",
                             "/proc",
                             "--dev",
                             "/dev",
                             "--tmpfs",
                             "/tmp",
                             "--ro-bind",
                             BENCH_PAYLOAD_DIR,
                             "/m",
                             "--seccomp",
                             filter_text.c_str(),
                             "/m/bench_stamp",
                             nullptr};
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  pid_t pid;
  const double start = Now();
  const int failed =
      ::posix_spawnp(&pid, "bwrap", &actions, nullptr, const_cast<char**>(arguments), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  std::string output(16, '\0');
  const ssize_t size = failed != 0 ? -1 : ::read(ends[0], output.data(), output.size());
  ::close(ends[0]);
  if (failed == 0) CHECK(::waitpid(pid, nullptr, 0) == pid);
  present = size == 16;
  return present ? StampIn(output) - start : 0;
}

int Main(int argc, char** argv) {
  const Options options = ParseOptions(argc, argv);
  auto launcher = sandbox::Launcher::Start();
  if (!launcher) {
    std::fprintf(stderr, "%s\n", launcher.error().ToString().c_str());
    return 1;
  }
  const int filter = FilterFile();
  Row ready{"ready", "us", {}}, first{"first_instruction", "us", {}},
      exec{"exec_first_instruction", "us", {}}, end{"ended", "us", {}},
      peer{"bwrap_first_instruction", "us", {}};
  Row phases[] = {{"phase_prepare", "us", {}},
                  {"phase_launch", "us", {}},
                  {"phase_confine", "us", {}},
                  {"phase_verify", "us", {}},
                  {"phase_ping", "us", {}}};
  bool has_peer = true;
  // Taken in turn, so that both see the same machine.
  for (int i = -5; i < options.count; ++i) {
    const OwnSample own = MeasureOwn(**launcher, i + 5);
    const double other = has_peer ? MeasurePeer(filter, has_peer) : 0;
    if (i < 0) continue;  // warming up
    ready.samples.push_back(own.ready);
    first.samples.push_back(own.first_instruction);
    exec.samples.push_back(own.exec_first_instruction);
    end.samples.push_back(own.ended);
    const std::int64_t times[] = {own.phases.prepare, own.phases.launch, own.phases.confine,
                                  own.phases.verify, own.phases.ping};
    for (std::size_t phase = 0; phase < std::size(phases); ++phase)
      phases[phase].samples.push_back(static_cast<double>(times[phase]));
    if (has_peer) peer.samples.push_back(other);
  }
  Report report("sandbox_start");
  report.Add(ready);
  report.Add(first);
  report.Add(exec);
  report.Add(end);
  for (Row& phase : phases) report.Add(phase);
  if (has_peer) {
    report.Add(peer);
    report.AddRatio("ready_vs_bwrap",
                    report.MedianOf("ready") / report.MedianOf("bwrap_first_instruction"));
    report.AddRatio("cold_vs_bwrap", report.MedianOf("first_instruction") /
                                         report.MedianOf("bwrap_first_instruction"));
  } else {
    std::fprintf(stderr, "bubblewrap does not run here: no ratios\n");
  }
  report.Print(options.json);
  return 0;
}

}  // namespace
}  // namespace cofferdam::bench

int main(int argc, char** argv) { return cofferdam::bench::Main(argc, argv); }
