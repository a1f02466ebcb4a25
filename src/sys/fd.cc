#include "sys/fd.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/check.h"

namespace cofferdam::sys {

void UniqueFd::Reset(int fd) {
  if (fd_ >= 0) {
    // Linux releases the descriptor whatever close returns; a retry could close another thread's.
    CHECK(::close(fd_) == 0 || errno != EBADF);
  }
  fd_ = fd;
}

Result<std::size_t> Read(int fd, std::span<char> bytes) {
  for (;;) {
    const ssize_t n = ::read(fd, bytes.data(), bytes.size());
    if (n >= 0) return static_cast<std::size_t>(n);
    if (errno != EINTR) return ErrnoError(errno, "reading");
  }
}

Status WriteAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      return ErrnoError(errno, "writing");
    }
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

Result<std::string> ReadAll(int fd, std::size_t max_bytes) {
  // Small at first: most files of the kernel's fit, and room that is not used costs time.
  constexpr std::size_t kFirst = 4 * 1024;
  constexpr std::size_t kMost = 1 << 20;
  std::string bytes;
  for (;;) {
    const std::size_t used = bytes.size();
    const std::size_t room = std::min(max_bytes + 1 - used, std::clamp(used, kFirst, kMost));
    bytes.resize(used + room);
    auto n = Read(fd, std::span(bytes).subspan(used));
    bytes.resize(used + n.value_or(0));
    RETURN_IF_ERROR(n);
    if (*n == 0) return bytes;
    if (bytes.size() > max_bytes)
      return Err(ErrorCode::kTooLarge,
                 "more than the allowed " + std::to_string(max_bytes) + " bytes");
  }
}

Result<UniqueFd> NewEventFd() {
  UniqueFd fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!fd.valid()) return ErrnoError(errno, "making an eventfd");
  return fd;
}

Result<Pipe> NewPipe(int flags) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC | flags) != 0) return ErrnoError(errno, "making a pipe");
  return Pipe{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

Status SetNonBlocking(int fd, bool non_blocking) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0) return ErrnoError(errno, "reading descriptor flags");
  const int wanted = non_blocking ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
  if (wanted != flags && ::fcntl(fd, F_SETFL, wanted) != 0)
    return ErrnoError(errno, "setting descriptor flags");
  return {};
}

}  // namespace cofferdam::sys
