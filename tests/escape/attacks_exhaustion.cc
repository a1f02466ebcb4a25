// Attacks on another tenant: using up what the kernel counts for a whole user, and for the machine.

#include <fcntl.h>
#include <mqueue.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>
#include <string_view>

#include "attacks.h"

namespace cofferdam::attacks {
namespace {

// Each takes a little more of something, and keeps it until the program ends.

Outcome TakeInotify() { return Of(::inotify_init1(IN_CLOEXEC)); }

Outcome TakeSignal() {
  sigset_t blocked;
  ::sigemptyset(&blocked);
  ::sigaddset(&blocked, SIGRTMIN);
  ::sigprocmask(SIG_BLOCK, &blocked, nullptr);
  return Of(::sigqueue(::getpid(), SIGRTMIN, {}));
}

Outcome TakeTimer() {
  sigevent event{};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGRTMIN;
  timer_t timer;
  return Of(::timer_create(CLOCK_MONOTONIC, &event, &timer));
}

Outcome TakeProcess() {
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid == 0)
    while (::getppid() == parent) ::pause();
  if (pid == 0) ::_exit(0);
  return Of(pid);
}

// Without a name it is gone with the program.
Outcome TakeMessageQueue() {
  static int count = 0;
  const std::string name = "/attack-" + std::to_string(::getpid()) + "-" + std::to_string(++count);
  const mqd_t queue = ::mq_open(name.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600, nullptr);
  if (queue < 0) return {errno};
  return Of(::mq_unlink(name.c_str()));
}

Outcome TakeTerminal() { return Of(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC)); }

Outcome TakePipe() {
  constexpr int kBytes = 1 << 20;
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return {errno};
  return Of(::fcntl(ends[1], F_SETPIPE_SZ, kBytes));
}

// Descriptors that were sent and that nobody has received.
Outcome TakeFlight() {
  constexpr std::size_t kDescriptors = 250;
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return {errno};
  return SendCopies(ends[1], 0, kDescriptors);
}

struct Resource {
  std::string_view name;
  Outcome (*take)();
};
constexpr Resource kResources[] = {
    {"inotify", TakeInotify},   {"signals", TakeSignal},       {"timers", TakeTimer},
    {"processes", TakeProcess}, {"mqueues", TakeMessageQueue}, {"terminals", TakeTerminal},
    {"pipes", TakePipe},        {"flight", TakeFlight},
};

Outcome Take(std::string_view name) {
  for (const Resource& resource : kResources)
    if (resource.name == name) return resource.take();
  return {ENOENT};
}

Outcome TakeOne(Arguments arguments) { return Take(arguments[0]); }

// Says how it was stopped, and keeps all.
Outcome UseUp(Arguments arguments) {
  Outcome outcome;
  for (int i = std::atoi(arguments[1]); i > 0 && outcome.error_number == 0; --i)
    outcome = Take(arguments[0]);
  Print(outcome);
  for (;;) ::pause();
}

constexpr Attack kAttacks[] = {
    {"take_one", TakeOne, 1},
    {"use_up", UseUp, 2},
};

}  // namespace

std::span<const Attack> ExhaustionAttacks() { return kAttacks; }

}  // namespace cofferdam::attacks
