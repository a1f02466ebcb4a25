// A disk that is full from a certain file size on, without a file system of the test's own.
#pragma once

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <functional>

#include "base/check.h"

namespace cofferdam::storage {

/// Sets the soft limit of this process's file sizes: writes beyond it fail (EFBIG), as those on a
/// full disk do, after a part that still fits.
inline void SetFileSizeLimit(rlim_t bytes) {
  rlimit limit;
  CHECK(::getrlimit(RLIMIT_FSIZE, &limit) == 0);
  limit.rlim_cur = bytes;
  CHECK(::setrlimit(RLIMIT_FSIZE, &limit) == 0);
}

/// Runs `body` in a child process under SetFileSizeLimit(bytes) and returns what it returned. The
/// child has one thread, and what it does to memory is lost.
inline bool InChildWithFileSizeLimit(rlim_t bytes, const std::function<bool()>& body) {
  const pid_t child = ::fork();
  CHECK(child >= 0);
  if (child == 0) {
    CHECK(std::signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    SetFileSizeLimit(bytes);
    ::_exit(body() ? 0 : 1);
  }
  int status = 0;
  CHECK(::waitpid(child, &status, 0) == child);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace cofferdam::storage
