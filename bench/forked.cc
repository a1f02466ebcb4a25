#include "forked.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <iostream>

#include "base/check.h"
#include "sys/message.h"

namespace cofferdam::bench {

ForkedProcess::ForkedProcess(const std::function<void(int socket)>& serve) {
  auto pair = sys::NewSocketPair(SOCK_SEQPACKET);
  CHECK(pair.has_value());
  const pid_t parent = ::getpid();
  std::fflush(nullptr);
  pid_ = ::fork();
  CHECK(pid_ >= 0);
  if (pid_ == 0) {
    CHECK(::prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
    if (::getppid() != parent) ::_exit(1);
    ::setsid();
    pair->first.Reset();
    serve(pair->second.get());
    std::fflush(nullptr);
    ::_exit(0);
  }
  socket_ = std::move(pair->first);
}

ForkedProcess::~ForkedProcess() {
  if (pid_ <= 0) return;
  ::shutdown(socket_.get(), SHUT_RDWR);
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

bool SendBytes(int socket, std::span<const char> bytes) {
  for (;;) {
    const ssize_t size = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (size >= 0) return true;
    if (errno != EINTR) return false;
  }
}

bool ReceiveBytes(int socket, std::span<char> bytes) {
  const ssize_t size = ::recv(socket, bytes.data(), bytes.size(), 0);
  return size == static_cast<ssize_t>(bytes.size());
}

}  // namespace cofferdam::bench
