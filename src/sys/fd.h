// Owned file descriptors and the plain calls on them, with EINTR handled and errors as values.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.h"

namespace cofferdam::sys {

/// Owns one descriptor and closes it. Move-only; not convertible to bool or int by accident.
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) Reset(std::exchange(other.fd_, -1));
    return *this;
  }
  ~UniqueFd() { Reset(); }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  /// Gives the descriptor up to the caller.
  [[nodiscard]] int Release() { return std::exchange(fd_, -1); }
  void Reset(int fd = -1);

 private:
  int fd_ = -1;
};

/// Reads once. 0 bytes means end of file. `bytes` is not empty.
Result<std::size_t> Read(int fd, std::span<char> bytes);

/// Writes everything. A broken pipe is an error, never a signal on sockets; for pipes the caller
/// ignores SIGPIPE.
Status WriteAll(int fd, std::string_view bytes);

/// Reads to the end, at most `max_bytes`; more is ErrorCode::kTooLarge.
Result<std::string> ReadAll(int fd, std::size_t max_bytes);

/// A close-on-exec, non-blocking eventfd.
Result<UniqueFd> NewEventFd();

struct Pipe {
  UniqueFd read_end;
  UniqueFd write_end;
};
/// A close-on-exec pipe. `flags` may add O_NONBLOCK.
Result<Pipe> NewPipe(int flags = 0);

Status SetNonBlocking(int fd, bool non_blocking);

}  // namespace cofferdam::sys
