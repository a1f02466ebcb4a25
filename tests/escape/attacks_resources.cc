// Attacks by using up what the machine has. Each stops at a bound of its own, so that it comes to
// an end where nothing stops it.

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "attacks.h"

namespace cofferdam::attacks {
namespace {

constexpr std::size_t kMiB = 1 << 20;

// Starts so many processes at once.
Outcome ManyProcesses(Arguments arguments) {
  std::vector<pid_t> children;
  Outcome outcome;
  for (int i = std::atoi(arguments[0]); i > 0 && outcome.error_number == 0; --i) {
    const pid_t pid = ::fork();
    if (pid == 0)
      for (;;) ::pause();
    outcome = Of(pid);
    if (pid > 0) children.push_back(pid);
  }
  for (const pid_t pid : children) ::kill(pid, SIGKILL);
  while (::wait(nullptr) > 0) {
  }
  return outcome;
}

// Every process starts others without end. Says so once it was refused one.
Outcome ForkBomb(Arguments) {
  int failed[2];
  if (::pipe2(failed, O_CLOEXEC) != 0) return {errno};
  if (::fork() == 0) {
    for (bool told = false;;) {
      const pid_t pid = ::fork();
      if (pid < 0 && !told) told = ::write(failed[1], &errno, sizeof(errno)) > 0;
      if (pid < 0) ::sched_yield();
    }
  }
  int error_number = 0;
  if (::read(failed[0], &error_number, sizeof(error_number)) < 0) return {errno};
  Print({error_number});
  for (;;) ::pause();
}

Outcome UseMemory(Arguments arguments) {
  const std::size_t bytes = static_cast<std::size_t>(std::atoi(arguments[0])) * kMiB;
  void* const memory =
      ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return {errno};
  std::memset(memory, 1, bytes);
  return {};
}

// Pretends to be as worthy as the worker when memory runs out, and small: what is used up lies in
// files of a tmpfs, which belong to no process.
Outcome UseMemoryOfNobody(Arguments arguments) {
  const int score = ::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (score < 0 || ::write(score, "0", 1) < 0) return {errno};
  const int fd = ::open(arguments[0], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return {errno};
  static char bytes[kMiB];
  for (int i = std::atoi(arguments[1]); i > 0; --i)
    if (::write(fd, bytes, sizeof(bytes)) < 0) return {errno};
  return {};
}

Outcome WriteMuch(Arguments arguments) {
  const int fd = ::open(arguments[0], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return {errno};
  const std::string bytes(kMiB, 'x');
  Outcome outcome;
  for (int i = std::atoi(arguments[1]); i > 0 && outcome.error_number == 0; --i)
    outcome = Of(::write(fd, bytes.data(), bytes.size()));
  ::close(fd);
  return outcome;
}
Outcome FillFile(Arguments arguments) {
  const Outcome outcome = WriteMuch(arguments);
  ::unlink(arguments[0]);
  return outcome;
}

Outcome ManyFiles(Arguments arguments) {
  Outcome outcome;
  for (int i = std::atoi(arguments[1]); i > 0 && outcome.error_number == 0; --i) {
    const std::string path = std::string(arguments[0]) + "/many-" + std::to_string(i);
    const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    outcome = Of(fd);
    if (fd >= 0) ::close(fd);
  }
  return outcome;
}

// Claims a size and fills none of it.
Outcome ClaimingFile(Arguments arguments) {
  const int fd = ::open(arguments[0], O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return {errno};
  return Of(::ftruncate(fd, static_cast<off_t>(std::atoi(arguments[1])) * off_t{kMiB}));
}

// Takes a file's name away and goes on writing to it. Says so when there is much in it, and writes
// on, up to twice as much.
Outcome GrowDeletedFile(Arguments arguments) {
  const int fd = ::open(arguments[0], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0 || ::unlink(arguments[0]) != 0) return {errno};
  const std::string bytes(kMiB, 'x');
  const int much = std::atoi(arguments[1]);
  for (int i = 0; i < 2 * much; ++i) {
    if (i == much) Print({});
    if (::write(fd, bytes.data(), bytes.size()) < 0) return {errno};
  }
  for (;;) ::pause();
}

// The same, held by a mapping and no descriptor.
Outcome MapDeletedFile(Arguments arguments) {
  const int fd = ::open(arguments[0], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0 || ::unlink(arguments[0]) != 0) return {errno};
  const std::string bytes(kMiB, 'x');
  for (int i = std::atoi(arguments[1]); i > 0; --i)
    if (::write(fd, bytes.data(), bytes.size()) < 0) return {errno};
  if (::mmap(nullptr, kMiB, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED) return {errno};
  ::close(fd);
  Print({});
  for (;;) ::pause();
}

// Directories that their owner may not look into, each with a file below.
Outcome ClosedDirectories(Arguments arguments) {
  const std::string bytes(kMiB, 'x');
  for (int i = std::atoi(arguments[1]); i > 0; --i) {
    const std::string path = std::string(arguments[0]) + "/closed-" + std::to_string(i);
    if (::mkdir(path.c_str(), 0700) != 0) return {errno};
    const int fd = ::open((path + "/file").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ::write(fd, bytes.data(), bytes.size()) < 0 || ::chmod(path.c_str(), 0) != 0)
      return {errno};
    ::close(fd);
  }
  return {};
}

Outcome ManyDescriptors(Arguments arguments) {
  for (int i = std::atoi(arguments[0]); i > 0; --i)
    if (::open("/dev/null", O_RDONLY | O_CLOEXEC) < 0) return {errno};
  return {};
}

// Descriptors that are on their way to nobody.
Outcome DescriptorsInFlight(Arguments arguments) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0)
    return {errno};
  constexpr int kAtOnce = 100;
  for (int left = std::atoi(arguments[0]); left > 0; left -= kAtOnce)
    if (const Outcome sent = SendCopies(ends[1], ends[0], kAtOnce); sent.error_number != 0)
      return sent;
  return {};
}

// Output without an end that anybody could keep, in MiB; both streams.
Outcome FloodOutput(Arguments arguments) {
  const std::string bytes(kMiB, 'x');
  for (int left = std::atoi(arguments[0]); left > 0; --left) {
    const int stream = left % 2 == 0 ? STDERR_FILENO : STDOUT_FILENO;
    for (std::size_t at = 0; at < bytes.size();) {
      const ssize_t size = ::write(stream, bytes.data() + at, bytes.size() - at);
      if (size < 0) return {errno};
      at += static_cast<std::size_t>(size);
    }
  }
  return {};
}

// Dies with as much of a core dump as its hard limit allows.
Outcome Crash(Arguments) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_CORE, &limit) != 0) return {errno};
  limit.rlim_cur = limit.rlim_max;
  if (::setrlimit(RLIMIT_CORE, &limit) != 0) return {errno};
  std::abort();
}
Outcome UnlimitCore(Arguments) {
  const rlimit limit{RLIM_INFINITY, RLIM_INFINITY};
  return Of(::setrlimit(RLIMIT_CORE, &limit));
}

constexpr Attack kAttacks[] = {
    {"many_processes", ManyProcesses, 1},
    {"fork_bomb", ForkBomb},
    {"use_memory", UseMemory, 1},
    {"use_memory_of_nobody", UseMemoryOfNobody, 2},
    {"fill_file", FillFile, 2},
    {"leave_file", WriteMuch, 2},
    {"many_files", ManyFiles, 2},
    {"claiming_file", ClaimingFile, 2},
    {"grow_deleted_file", GrowDeletedFile, 2},
    {"map_deleted_file", MapDeletedFile, 2},
    {"closed_directories", ClosedDirectories, 2},
    {"many_descriptors", ManyDescriptors, 1},
    {"descriptors_in_flight", DescriptorsInFlight, 1},
    {"flood_output", FloodOutput, 1},
    {"crash", Crash},
    {"unlimit_core", UnlimitCore},
};

}  // namespace

std::span<const Attack> ResourceAttacks() { return kAttacks; }

Outcome SendCopies(int socket, int descriptor, std::size_t count) {
  constexpr std::size_t kMost = 250;
  alignas(cmsghdr) char control[CMSG_SPACE(kMost * sizeof(int))] = {};
  char byte = 0;
  iovec data{&byte, 1};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = CMSG_SPACE(count * sizeof(int));
  cmsghdr* const header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(count * sizeof(int));
  for (std::size_t i = 0; i < count; ++i)
    std::memcpy(CMSG_DATA(header) + i * sizeof(int), &descriptor, sizeof(int));
  return Of(::sendmsg(socket, &message, 0));
}

}  // namespace cofferdam::attacks
