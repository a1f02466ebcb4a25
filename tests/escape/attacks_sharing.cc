// What two sandboxes could share, and so speak or wait for one another by.

#include <fcntl.h>
#include <mqueue.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <string>

#include "attacks.h"

namespace cofferdam::attacks {
namespace {

constexpr std::size_t kSegmentBytes = 4096;

// Each is made by one and found, and removed, by another.
Outcome ShareMemory(Arguments arguments) {
  return Of(::shmget(std::atoi(arguments[0]), kSegmentBytes, IPC_CREAT | IPC_EXCL | 0600));
}
Outcome AttachSharedMemory(Arguments arguments) {
  const int segment = ::shmget(std::atoi(arguments[0]), kSegmentBytes, 0);
  if (segment < 0) return {errno};
  return Of(::shmctl(segment, IPC_RMID, nullptr));
}

Outcome ShareSemaphore(Arguments arguments) {
  return Of(::semget(std::atoi(arguments[0]), 1, IPC_CREAT | IPC_EXCL | 0600));
}
Outcome FindSemaphore(Arguments arguments) {
  const int set = ::semget(std::atoi(arguments[0]), 1, 0);
  if (set < 0) return {errno};
  return Of(::semctl(set, 0, IPC_RMID));
}

Outcome ShareQueue(Arguments arguments) {
  return Of(::msgget(std::atoi(arguments[0]), IPC_CREAT | IPC_EXCL | 0600));
}
Outcome FindQueue(Arguments arguments) {
  const int queue = ::msgget(std::atoi(arguments[0]), 0);
  if (queue < 0) return {errno};
  return Of(::msgctl(queue, IPC_RMID, nullptr));
}

std::string WithSlash(const char* name) { return std::string("/cofferdam-attack-") + name; }

Outcome SharePosixQueue(Arguments arguments) {
  return Of(::mq_open(WithSlash(arguments[0]).c_str(), O_RDWR | O_CREAT | O_EXCL, 0600, nullptr));
}
Outcome FindPosixQueue(Arguments arguments) {
  const std::string name = WithSlash(arguments[0]);
  if (::mq_open(name.c_str(), O_RDWR) < 0) return {errno};
  return Of(::mq_unlink(name.c_str()));
}

Outcome SharePosixMemory(Arguments arguments) {
  return Of(::shm_open(WithSlash(arguments[0]).c_str(), O_RDWR | O_CREAT | O_EXCL, 0600));
}
Outcome FindPosixMemory(Arguments arguments) {
  const std::string name = WithSlash(arguments[0]);
  if (::shm_open(name.c_str(), O_RDWR, 0) < 0) return {errno};
  return Of(::shm_unlink(name.c_str()));
}

[[noreturn]] void WaitForever() {
  for (;;) ::pause();
}

Outcome ListenAbstract(Arguments arguments) {
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::size_t length = std::strlen(arguments[0]);
  std::memcpy(address.sun_path + 1, arguments[0], length);
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&address),
             static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + length)) != 0 ||
      ::listen(fd, 4) != 0)
    return {errno};
  Print({});
  WaitForever();
}

// By number: with the project's folders in front, <sys/file.h> is another file.
Outcome Lock(int fd) {
  constexpr int kExclusive = 2;
  constexpr int kNonBlocking = 4;
  return Of(::syscall(SYS_flock, fd, kExclusive | kNonBlocking));
}

// A lock for as long as the process lives, and a look whether somebody has one.
Outcome HoldLock(Arguments arguments) {
  const int fd = ::open(arguments[0], O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {errno};
  if (const Outcome outcome = Lock(fd); outcome.error_number != 0) return outcome;
  Print({});
  WaitForever();
}
Outcome TryLock(Arguments arguments) {
  const int fd = ::open(arguments[0], O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {errno};
  return Lock(fd);
}

// The lock that belongs to processes wants a descriptor that can write.
Outcome LockRegion(Arguments arguments) {
  const int fd = ::open(arguments[0], O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {errno};
  struct flock region{};
  region.l_type = F_WRLCK;
  return Of(::fcntl(fd, F_SETLK, &region));
}

// A lease makes whoever opens the file wait for its holder.
Outcome TakeLease(Arguments arguments) {
  const int fd = ::open(arguments[0], O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {errno};
  return Of(::fcntl(fd, F_SETLEASE, F_RDLCK));
}

// Says "succeeded" once it watches two files, and again when somebody has opened the first one
// before the second.
Outcome WatchFile(Arguments arguments) {
  const int fd = ::inotify_init1(IN_CLOEXEC);
  if (fd < 0) return {errno};
  const int first = ::inotify_add_watch(fd, arguments[0], IN_OPEN);
  if (first < 0 || ::inotify_add_watch(fd, arguments[1], IN_OPEN) < 0) return {errno};
  Print({});
  alignas(inotify_event) char bytes[4096];
  if (::read(fd, bytes, sizeof(bytes)) < 0) return {errno};
  inotify_event event;
  std::memcpy(&event, bytes, sizeof(event));
  return {event.wd == first ? 0 : ENODATA};
}

constexpr Attack kAttacks[] = {
    {"share_memory", ShareMemory, 1},
    {"attach_shared_memory", AttachSharedMemory, 1},
    {"share_semaphore", ShareSemaphore, 1},
    {"find_semaphore", FindSemaphore, 1},
    {"share_queue", ShareQueue, 1},
    {"find_queue", FindQueue, 1},
    {"share_posix_queue", SharePosixQueue, 1},
    {"find_posix_queue", FindPosixQueue, 1},
    {"share_posix_memory", SharePosixMemory, 1},
    {"find_posix_memory", FindPosixMemory, 1},
    {"listen_abstract", ListenAbstract, 1},
    {"hold_lock", HoldLock, 1},
    {"try_lock", TryLock, 1},
    {"lock_region", LockRegion, 1},
    {"take_lease", TakeLease, 1},
    {"watch_file", WatchFile, 2},
};

}  // namespace

std::span<const Attack> SharingAttacks() { return kAttacks; }

}  // namespace cofferdam::attacks
