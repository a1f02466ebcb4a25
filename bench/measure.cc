#include "measure.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>

#include "base/check.h"
#include "base/split.h"
#include "sys/file.h"

namespace cofferdam::bench {
namespace {

constexpr char kPayloadInside[] = "/mnt/payload";

double Micros(const timespec& time) {
  return static_cast<double>(time.tv_sec) * 1e6 + static_cast<double>(time.tv_nsec) / 1e3;
}

std::vector<char*> Pointers(const std::vector<std::string>& argv) {
  std::vector<char*> pointers;
  for (const std::string& argument : argv)
    pointers.push_back(const_cast<char*>(argument.c_str()));  // NOLINT: exec's signature
  pointers.push_back(nullptr);
  return pointers;
}

Result<pid_t> Spawn(const std::vector<std::string>& argv, int output, bool quiet) {
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
  if (quiet) ::posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  pid_t pid = -1;
  const auto pointers = Pointers(argv);
  const int failed = ::posix_spawnp(&pid, pointers[0], &actions, nullptr, pointers.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) return ErrnoError(failed, "starting " + argv[0]);
  return pid;
}

pid_t ForkAndExec(const std::vector<std::string>& argv, int output) {
  const auto pointers = Pointers(argv);
  const pid_t pid = ::fork();
  CHECK(pid >= 0);
  if (pid == 0) {
    ::dup2(output, STDOUT_FILENO);
    ::execvp(pointers[0], pointers.data());
    ::_exit(127);
  }
  return pid;
}

}  // namespace

double Now() {
  timespec now;
  CHECK(::clock_gettime(CLOCK_MONOTONIC, &now) == 0);
  return Micros(now);
}

void OrExit(const Status& status) {
  if (status) return;
  std::fprintf(stderr, "%s\n", status.error().ToString().c_str());
  std::exit(1);
}

const std::string& PayloadDirectory() {
  static const std::string directory = BENCH_PAYLOAD_DIR;
  return directory;
}

sandbox::Mount PayloadMount() { return {PayloadDirectory(), kPayloadInside, false}; }

std::string PayloadInside(const std::string& name) {
  return std::string(kPayloadInside) + "/bench_" + name;
}

std::string PayloadOutside(const std::string& name) {
  return PayloadDirectory() + "/bench_" + name;
}

std::optional<double> ParseStamp(std::string_view bytes) {
  timespec stamp;
  if (bytes.size() != sizeof(stamp)) return std::nullopt;
  std::memcpy(&stamp, bytes.data(), sizeof(stamp));
  return Micros(stamp);
}

void ExecPayload(sandbox::Sandbox& sandbox, const std::string& program,
                 const sandbox::OutputSink& sink) {
  const sandbox::ExecResult result =
      OrExit(sandbox.Exec({.argv = {program}, .working_directory = "/"}, sink, {}));
  if (result.exit_code == 0) return;
  std::fprintf(stderr, "%s ended with %d\n", program.c_str(), result.exit_code);
  std::exit(1);
}

Result<Running> StartProgram(const std::vector<std::string>& argv, StartBy how, bool quiet) {
  ASSIGN_OR_RETURN(sys::Pipe pipe, sys::NewPipe());
  Running running{-1, std::move(pipe.read_end)};
  if (how == StartBy::kFork) {
    running.pid = ForkAndExec(argv, pipe.write_end.get());
  } else {
    ASSIGN_OR_RETURN(running.pid, Spawn(argv, pipe.write_end.get(), quiet));
  }
  return running;
}

int WaitFor(pid_t pid) {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0) CHECK(errno == EINTR);
  return status;
}

// ---- ScratchDirectory

ScratchDirectory::ScratchDirectory() {
  std::string pattern = "/tmp/cofferdam-bench-XXXXXX";
  CHECK(::mkdtemp(pattern.data()) != nullptr);
  path_ = pattern;
  // Whoever is to have a place in it passes through.
  CHECK(::chmod(path_.c_str(), 0755) == 0);
  sys::Pipe pipe = OrExit(sys::NewPipe());
  keeper_ = ::fork();
  CHECK(keeper_ >= 0);
  if (keeper_ == 0) {
    // Not in the terminal's reach: what ends the bench must not end its keeper.
    ::setsid();
    pipe.write_end.Reset();
    char byte;
    while (::read(pipe.read_end.get(), &byte, 1) < 0 && errno == EINTR) {
    }
    const auto parent = sys::Open("/tmp", O_PATH | O_DIRECTORY);
    const bool removed =
        parent && sys::RemoveTree(parent->get(), path_.substr(sizeof("/tmp/") - 1)).has_value();
    ::_exit(removed ? 0 : 1);
  }
  alive_ = std::move(pipe.write_end);
}

ScratchDirectory::~ScratchDirectory() {
  alive_.Reset();
  if (WaitFor(keeper_) != 0) std::fprintf(stderr, "%s could not be removed\n", path_.c_str());
}

std::uint64_t FieldOf(const std::string& path, std::string_view field) {
  const std::string text = sys::ReadFile(path, 4 << 20).value_or("");
  for (const std::string_view line : Split(text, '\n')) {
    if (!line.starts_with(field) || line.size() <= field.size() || line[field.size()] != ':')
      continue;
    std::size_t at = field.size() + 1;
    while (at < line.size() && (line[at] == ' ' || line[at] == '\t')) ++at;
    std::uint64_t number = 0;
    std::from_chars(line.data() + at, line.data() + line.size(), number);
    return number;
  }
  return 0;
}

}  // namespace cofferdam::bench
