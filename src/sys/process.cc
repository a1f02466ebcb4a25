#include "sys/process.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>

#include "base/check.h"
#include "sys/file.h"

namespace cofferdam::sys {

namespace {

Result<Child> Clone(clone_args arguments) {
  int raw_pidfd = -1;
  const std::uint64_t flags = arguments.flags;
  arguments.flags |= CLONE_PIDFD;
  arguments.pidfd = reinterpret_cast<std::uintptr_t>(&raw_pidfd);
  // A sibling has its exit signal from the parent.
  arguments.exit_signal = (flags & CLONE_PARENT) != 0 ? 0 : SIGCHLD;
  const long pid = ::syscall(SYS_clone3, &arguments, sizeof(arguments));
  if (pid < 0) return ErrnoError(errno, "cloning a process");
  if (pid == 0) return Child{0, UniqueFd()};
  return Child{static_cast<pid_t>(pid), UniqueFd(raw_pidfd)};
}

}  // namespace

Result<Child> CloneProcess(std::uint64_t flags) {
  clone_args arguments{};
  arguments.flags = flags;
  return Clone(arguments);
}

Result<Child> CloneProcessInto(int cgroup_directory, std::uint64_t flags) {
  clone_args arguments{};
  arguments.flags = flags | CLONE_INTO_CGROUP;
  arguments.cgroup = static_cast<std::uint64_t>(cgroup_directory);
  return Clone(arguments);
}

Status SendSignal(int pidfd, int signal) {
  if (::syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, 0) != 0 && errno != ESRCH)
    return ErrnoError(errno, "sending a signal");
  return {};
}

Status WaitForEnd(int pidfd, Deadline deadline) {
  for (;;) {
    pollfd waiting{pidfd, POLLIN, 0};
    const int ready = ::poll(&waiting, 1, deadline.PollTimeoutMillis());
    if (ready > 0) return {};
    if (ready == 0) return Err(ErrorCode::kTimeout, "a process did not end in time");
    if (errno != EINTR) return ErrnoError(errno, "waiting for a process");
  }
}

Result<pid_t> PidOf(int pidfd) {
  ASSIGN_OR_RETURN(const std::string info, ReadFile("/proc/self/fdinfo/" + std::to_string(pidfd)));
  const std::size_t at = info.find("\nPid:\t");
  pid_t pid = -1;
  if (at != std::string::npos) pid = std::atoi(info.c_str() + at + 6);
  if (pid <= 0) return Err(ErrorCode::kNotFound, "the process has ended");
  return pid;
}

void CloseAllExcept(std::span<const int> keep) {
  std::vector<int> sorted(keep.begin(), keep.end());
  std::ranges::sort(sorted);
  unsigned first = 0;
  for (const int fd : sorted) {
    const auto kept = static_cast<unsigned>(fd);
    if (kept > first) CHECK(::close_range(first, kept - 1, 0) == 0);
    first = kept + 1;
  }
  CHECK(::close_range(first, ~0U, 0) == 0);
}

Result<std::vector<pid_t>> Children(int proc) {
  ASSIGN_OR_RETURN(const std::string text, ReadFileAt(proc, "thread-self/children"));
  std::vector<pid_t> pids;
  const char* at = text.data();
  const char* const end = text.data() + text.size();
  while (at < end) {
    pid_t pid = 0;
    const auto [next, error] = std::from_chars(at, end, pid);
    if (error == std::errc()) pids.push_back(pid);
    at = next + 1;
  }
  return pids;
}

namespace {

Result<UniqueFd> SealedImage(std::span<const char> image, const char* name) {
  UniqueFd fd(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd.valid()) return ErrnoError(errno, "making a memory file");
  RETURN_IF_ERROR(WriteAll(fd.get(), std::string_view(image.data(), image.size())));
  if (::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) != 0)
    return ErrnoError(errno, "sealing a memory file");
  return fd;
}

constexpr int kSocketFd = 3;

// Runs in the child, on the parent's memory (vfork): nothing but system calls.
[[noreturn, gnu::noinline]] void ExecImage(int image, int dev_null, int socket, const char* name) {
  // Out of the way of the fixed numbers first.
  const int high_socket = ::fcntl(socket, F_DUPFD, 10);
  const int high_image = ::fcntl(image, F_DUPFD, 11);
  ::dup2(dev_null, STDIN_FILENO);
  ::dup2(dev_null, STDOUT_FILENO);
  ::dup2(high_socket, kSocketFd);
  // The image itself closes on exec.
  ::dup3(high_image, kSocketFd + 1, O_CLOEXEC);
  ::syscall(SYS_close_range, kSocketFd + 2, ~0U, 0);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::setsid();
  char* const arguments[] = {const_cast<char*>(name), nullptr};  // NOLINT: execveat's signature
  char* const environment[] = {nullptr};
  ::syscall(SYS_execveat, kSocketFd + 1, "", arguments, environment, AT_EMPTY_PATH);
  ::_exit(127);
}

}  // namespace

Result<Child> SpawnImage(std::span<const char> image, const char* name, int socket) {
  ASSIGN_OR_RETURN(const UniqueFd file, SealedImage(image, name));
  ASSIGN_OR_RETURN(const UniqueFd dev_null, Open("/dev/null", O_RDWR));
  // No handler of ours may run in the child, which shares our memory until it execs.
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  // posix_spawn cannot execute a descriptor; ExecImage makes system calls only.
  const pid_t pid = ::vfork();                                        // NOLINT
  if (pid == 0) ExecImage(file.get(), dev_null.get(), socket, name);  // NOLINT
  const int error_number = errno;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0) return ErrnoError(error_number, "starting a process");
  UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  CHECK(pidfd.valid());
  return Child{pid, std::move(pidfd)};
}

Result<int> Reap(pid_t pid) {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0)
    if (errno != EINTR) return ErrnoError(errno, "waiting for a child");
  return status;
}

}  // namespace cofferdam::sys
