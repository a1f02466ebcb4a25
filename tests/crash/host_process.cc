#include "host_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/check.h"
#include "sys/file.h"
#include "sys/process.h"

namespace cofferdam::crash {
namespace {

constexpr std::string_view kLauncherName = "cofferdam-worker";

std::uint64_t PidNamespaceOf(const std::string& pid) {
  struct stat info;
  return ::stat(("/proc/" + pid + "/ns/pid").c_str(), &info) == 0 ? info.st_ino : 0;
}

/// Is it in our pid namespace? A process that has ended is.
bool IsInOurs(pid_t pid) {
  const std::uint64_t its = PidNamespaceOf(std::to_string(pid));
  return its == 0 || its == PidNamespaceOf("self");
}

timespec Remaining(SteadyClock::time_point until) {
  const auto left =
      std::max<std::chrono::nanoseconds>(until - SteadyClock::now(), std::chrono::nanoseconds(0));
  return {.tv_sec = left.count() / 1'000'000'000, .tv_nsec = left.count() % 1'000'000'000};
}

}  // namespace

HostProcess::HostProcess(const Ground& ground, const std::vector<std::string>& arguments) {
  auto in = sys::NewPipe();
  auto out = sys::NewPipe();
  CHECK(in.has_value() && out.has_value());
  std::vector<char*> argv;
  for (const std::string& argument : arguments)
    argv.push_back(const_cast<char*>(argument.c_str()));  // NOLINT: execve's signature
  argv.push_back(nullptr);
  pid_ = ::fork();
  CHECK(pid_ >= 0);
  if (pid_ == 0) {
    ground.Enter();
    ::dup2(in->read_end.get(), STDIN_FILENO);
    ::dup2(out->write_end.get(), STDOUT_FILENO);
    char* const environment[] = {nullptr};
    ::execve(argv[0], argv.data(), environment);
    ::_exit(127);
  }
  input_ = std::move(in->write_end);
  output_ = std::move(out->read_end);
}

HostProcess::~HostProcess() {
  if (reaped_) return;
  ::kill(pid_, SIGKILL);
  Reap();
}

std::optional<pid_t> HostProcess::Launcher() const {
  for (const pid_t child : Children(pid_))
    // A fork that has not become the launcher yet has the host's name.
    if (CommandLine(child).starts_with(kLauncherName)) return child;
  return std::nullopt;
}

std::optional<pid_t> HostProcess::Worker() const {
  const auto launcher = Launcher();
  if (!launcher) return std::nullopt;
  for (const pid_t child : Children(*launcher))
    if (!IsInOurs(child)) return child;
  return std::nullopt;
}

std::set<pid_t> HostProcess::WithoutSandboxes() const {
  std::set<pid_t> own = {pid_};
  const auto launcher = Launcher();
  if (!launcher) return own;
  own.insert(*launcher);
  for (const pid_t child : Children(*launcher))
    if (IsInOurs(child)) own.insert(child);
  return own;
}

std::size_t HostProcess::Descriptors() const {
  const auto directory = sys::Open("/proc/" + std::to_string(pid_) + "/fd", O_RDONLY | O_DIRECTORY);
  CHECK(directory.has_value());
  return sys::ListDirectory(directory->get())->size();
}

void HostProcess::Send(const std::string& line) {
  said_.clear();
  CHECK(sys::WriteAll(input_.get(), line + "\n").has_value());
}

bool HostProcess::ReadUntil(const std::function<bool()>& enough, SteadyClock::time_point until) {
  while (!enough()) {
    if (has_ended_) return false;
    pollfd waiting{output_.get(), POLLIN, 0};
    const timespec patience = Remaining(until);
    const int ready = ::ppoll(&waiting, 1, &patience, nullptr);
    if (ready == 0) return false;
    CHECK(ready > 0 || errno == EINTR);
    if (ready > 0) has_ended_ = !ReadSome();
  }
  return true;
}

bool HostProcess::ReadSome() {
  std::array<char, 65536> buffer;
  const auto count = sys::Read(output_.get(), buffer);
  CHECK(count.has_value());
  partial_.append(buffer.data(), *count);
  std::size_t begin = 0;
  for (std::size_t end; (end = partial_.find('\n', begin)) != std::string::npos; begin = end + 1) {
    auto event = json::Parse(std::string_view(partial_).substr(begin, end - begin));
    CHECK(event.has_value());
    said_.push_back(std::move(*event));
  }
  partial_.erase(0, begin);
  return *count > 0;
}

int HostProcess::Reap() {
  int status = 0;
  CHECK(::waitpid(pid_, &status, 0) == pid_);
  reaped_ = true;
  return status;
}

}  // namespace cofferdam::crash
