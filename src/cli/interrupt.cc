#include "cli/interrupt.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <memory>

#include "base/check.h"
#include "base/error.h"

namespace cofferdam::cli {
namespace {

sigset_t EndSignals() {
  sigset_t signals;
  ::sigemptyset(&signals);
  ::sigaddset(&signals, SIGINT);
  ::sigaddset(&signals, SIGTERM);
  return signals;
}

}  // namespace

Result<std::unique_ptr<Interrupt>> Interrupt::Start() {
  const sigset_t signals = EndSignals();
  CHECK(::pthread_sigmask(SIG_BLOCK, &signals, nullptr) == 0);
  sys::UniqueFd fd(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd.valid()) return ErrnoError(errno, "watching for signals");
  ASSIGN_OR_RETURN(sys::UniqueFd end, sys::NewEventFd());
  std::unique_ptr<Interrupt> interrupt(new Interrupt(std::move(fd), std::move(end)));
  interrupt->thread_ = std::jthread([watcher = interrupt.get()] { watcher->Watch(); });
  return interrupt;
}

Interrupt::~Interrupt() {
  CHECK(::eventfd_write(end_.get(), 1) == 0);
  thread_.join();
}

void Interrupt::Watch() {
  std::array<pollfd, 2> fds = {pollfd{signals_.get(), POLLIN, 0}, pollfd{end_.get(), POLLIN, 0}};
  while (::poll(fds.data(), fds.size(), -1) < 0) CHECK(errno == EINTR);
  if (fds[1].revents != 0) return;
  // Taken, or it would be delivered as soon as it is unblocked.
  signalfd_siginfo info{};
  CHECK(::read(signals_.get(), &info, sizeof(info)) == sizeof(info));
  stop_.request_stop();
  // From here on a signal finds this thread, and does what it does by default.
  const sigset_t signals = EndSignals();
  CHECK(::pthread_sigmask(SIG_UNBLOCK, &signals, nullptr) == 0);
  pollfd end{end_.get(), POLLIN, 0};
  while (::poll(&end, 1, -1) < 0) CHECK(errno == EINTR);
}

}  // namespace cofferdam::cli
