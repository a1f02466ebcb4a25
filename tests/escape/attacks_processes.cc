// Attacks on other processes: the worker (PID 1 of the sandbox), the supervisor (the attack's
// parent), the host's, and those that outlive the operation they belong to.

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "attacks.h"

namespace cofferdam::attacks {
namespace {

constexpr pid_t kWorker = 1;

Outcome Trace(pid_t pid) {
  const Outcome outcome = Of(::ptrace(PTRACE_SEIZE, pid, nullptr, nullptr));
  if (outcome.error_number == 0) {
    ::ptrace(PTRACE_INTERRUPT, pid, nullptr, nullptr);
    ::waitpid(pid, nullptr, __WALL);
    ::ptrace(PTRACE_DETACH, pid, nullptr, nullptr);
  }
  return outcome;
}
Outcome TraceWorker(Arguments) { return Trace(kWorker); }
Outcome TraceSupervisor(Arguments) { return Trace(::getppid()); }

// Lowers what the worker may have open; it needs no right to trace for that.
Outcome LimitWorker(Arguments) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return {errno};
  limit.rlim_cur = limit.rlim_max / 2;
  return Of(::prlimit(kWorker, RLIMIT_NOFILE, &limit, nullptr));
}
Outcome SlowWorker(Arguments) { return Of(::setpriority(PRIO_PROCESS, kWorker, 19)); }
Outcome SlowAllOfUser(Arguments) { return Of(::setpriority(PRIO_USER, 0, 19)); }
Outcome PinWorker(Arguments) {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(kWorker, sizeof(set), &set) != 0) return {errno};
  return Of(::sched_setaffinity(kWorker, sizeof(set), &set));
}
Outcome IdleWorker(Arguments) {
  const sched_param parameters{.sched_priority = 0};
  return Of(::sched_setscheduler(kWorker, SCHED_IDLE, &parameters));
}
// As in linux/ioprio.h, which is no C++.
constexpr int kDiskOfProcess = 1;
constexpr int kDiskOfUser = 3;
constexpr int kIdleDisk = 3 << 13;
Outcome IdleWorkersDisk(Arguments) {
  return Of(::syscall(SYS_ioprio_set, kDiskOfProcess, kWorker, kIdleDisk));
}
Outcome IdleDiskOfUser(Arguments) {
  return Of(::syscall(SYS_ioprio_set, kDiskOfUser, ::getuid(), kIdleDisk));
}

Outcome WorkerMemory(Arguments) { return Of(::open("/proc/1/mem", O_RDWR | O_CLOEXEC)); }
Outcome WorkerEnvironment(Arguments) { return Of(::open("/proc/1/environ", O_RDONLY | O_CLOEXEC)); }
Outcome WorkerProgram(Arguments) { return Of(::open("/proc/1/exe", O_RDONLY | O_CLOEXEC)); }
Outcome WorkerDescriptors(Arguments) {
  DIR* const directory = ::opendir("/proc/1/fd");
  if (directory == nullptr) return {errno};
  ::closedir(directory);
  return {};
}
Outcome SupervisorMemory(Arguments) {
  const std::string path = "/proc/" + std::to_string(::getppid()) + "/mem";
  return Of(::open(path.c_str(), O_RDWR | O_CLOEXEC));
}
// Makes the worker the first to die when memory runs out.
Outcome WorkerOomScore(Arguments) {
  const int fd = ::open("/proc/1/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return {errno};
  return Of(::write(fd, "1000", 4));
}

// A copy of the worker's end of the control channel, by whatever number it has there.
Outcome StealChannel(Arguments) {
  const auto worker = static_cast<int>(::syscall(SYS_pidfd_open, kWorker, 0));
  if (worker < 0) return {errno};
  Outcome outcome{ENOTSOCK};
  for (int number = 0; number < 256; ++number) {
    const auto fd = static_cast<int>(::syscall(SYS_pidfd_getfd, worker, number, 0));
    if (fd < 0 && errno != EBADF) return {errno};
    struct stat info;
    if (fd >= 0 && ::fstat(fd, &info) == 0 && S_ISSOCK(info.st_mode)) outcome = {};
  }
  return outcome;
}

Outcome InheritedDescriptor(Arguments) {
  for (int fd = 3; fd < 4096; ++fd)
    if (::fcntl(fd, F_GETFD) >= 0) return {};
  return {EBADF};
}

Outcome EnvironmentSecret(Arguments arguments) {
  return {std::getenv(arguments[0]) != nullptr ? 0 : ENOENT};
}

Outcome SeeProcess(Arguments arguments) {
  return Of(::access((std::string("/proc/") + arguments[0]).c_str(), F_OK));
}
Outcome SignalProcess(Arguments arguments) { return Of(::kill(std::atoi(arguments[0]), 0)); }

// Reads another process's memory: its pid, the address of a text that starts with "canary".
Outcome ReadMemoryOf(Arguments arguments) {
  char text[6];
  const iovec local{text, sizeof(text)};
  const iovec remote{reinterpret_cast<void*>(std::strtoull(arguments[1], nullptr, 10)),  // NOLINT
                     sizeof(text)};
  const ssize_t size = ::process_vm_readv(std::atoi(arguments[0]), &local, 1, &remote, 1, 0);
  if (size < 0) return {errno};
  return {size == sizeof(text) && std::memcmp(text, "canary", sizeof(text)) == 0 ? 0 : ENODATA};
}

// A signal that the kernel sends in our name when a pipe becomes readable.
Outcome SignalByPipe(pid_t pid, int signal) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return {errno};
  if (::fcntl(ends[0], F_SETOWN, pid) != 0 || ::fcntl(ends[0], F_SETSIG, signal) != 0 ||
      ::fcntl(ends[0], F_SETFL, O_ASYNC | O_NONBLOCK) != 0)
    return {errno};
  return Of(::write(ends[1], "x", 1));
}

// The worker's program lies at a fixed address; reading it needs the right to trace.
Outcome ReadWorkersMemory(Arguments) {
  constexpr std::uintptr_t kProgram = 0x400000;
  char text[4];
  const iovec local{text, sizeof(text)};
  const iovec remote{reinterpret_cast<void*>(kProgram), sizeof(text)};  // NOLINT
  return Of(::process_vm_readv(kWorker, &local, 1, &remote, 1, 0));
}

// While children come and go, so that numbers and parents change, looks again and again for a
// moment in which the files of the worker or of its own parent are open.
Outcome RaceInProc(Arguments arguments) {
  const std::string parent = std::to_string(::getppid());
  Outcome outcome{ENOENT};
  for (int round = std::atoi(arguments[0]); round > 0; --round) {
    const pid_t child = ::fork();
    if (child == 0) {
      // Its own child is left to whoever takes orphans.
      if (::fork() >= 0) ::_exit(0);
      ::_exit(1);
    }
    for (const std::string& pid : {std::string("1"), parent})
      for (const char* file : {"mem", "environ", "root", "exe", "fd/3", "ns/user"}) {
        const int flags = std::strcmp(file, "mem") == 0 ? O_RDWR : O_RDONLY;
        const int fd = ::open(("/proc/" + pid + "/" + file).c_str(), flags | O_CLOEXEC);
        if (fd >= 0) return {};
        outcome = {errno};
      }
    ::waitpid(child, nullptr, 0);
  }
  return outcome;
}

// Every signal that could end or stop a process.
Outcome SignalWorker(Arguments arguments) {
  const pid_t worker = std::atoi(arguments[0]);
  for (const int signal : {0, SIGIO, SIGSTOP, SIGKILL})
    if (const Outcome outcome = SignalByPipe(worker, signal); outcome.error_number != 0)
      return outcome;
  for (const int signal : {SIGTERM, SIGHUP, SIGINT, SIGQUIT, SIGSEGV, SIGABRT, SIGPIPE, SIGALRM,
                           SIGUSR1, SIGCHLD, SIGTSTP, SIGSTOP, SIGRTMIN, SIGKILL})
    if (::kill(worker, signal) != 0) return {errno};
  return {};
}

[[noreturn]] void WaitForever() {
  for (;;) ::pause();
}

Outcome KillEverything(Arguments) {
  const pid_t victim = ::fork();
  if (victim == 0) {
    ::setsid();
    WaitForever();
  }
  if (::kill(-1, SIGKILL) != 0) return {errno};
  int status = 0;
  ::waitpid(victim, &status, 0);
  return {WIFSIGNALED(status) ? 0 : EIO};
}

// A process that nothing of its parent's reaches any more.
void StartDaemon() {
  if (::fork() == 0) {
    ::setsid();
    ::prctl(PR_SET_PDEATHSIG, 0);
    for (int signal = 1; signal < NSIG; ++signal) ::signal(signal, SIG_IGN);
    if (::fork() == 0) {
      for (int fd = 0; fd < 3; ++fd) ::close(fd);
      WaitForever();
    }
    ::_exit(0);
  }
  ::wait(nullptr);
}

Outcome Daemon(Arguments) {
  StartDaemon();
  return {};
}
// The same, and stays itself.
Outcome DaemonAndWait(Arguments) {
  StartDaemon();
  Print({});
  WaitForever();
}
// Takes every signal that can be taken and goes on; "wait" stays for ever.
Outcome IgnoreSignals(Arguments arguments) {
  for (int signal = 1; signal < NSIG; ++signal) ::signal(signal, SIG_IGN);
  for (const int signal : {SIGTERM, SIGHUP, SIGINT, SIGQUIT, SIGXCPU, SIGALRM})
    if (::kill(::getpid(), signal) != 0) return {errno};
  if (std::strcmp(arguments[0], "wait") != 0) return {};
  Print({});
  WaitForever();
}

// Children that have ended and for which nobody waits.
Outcome Zombies(Arguments arguments) {
  const int wanted = std::atoi(arguments[0]);
  for (int i = 0; i < wanted; ++i) {
    const pid_t pid = ::fork();
    if (pid < 0) return {errno};
    if (pid == 0) ::_exit(0);
    siginfo_t info;
    if (::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT) != 0) return {errno};
  }
  return {};
}

// Children of children, whose parent has ended before them: somebody else has to wait for them.
// Where too many are left it waits for a while, and gives up.
Outcome Orphans(Arguments arguments) {
  int attempts = 1'000'000;
  for (int left = std::atoi(arguments[0]); left > 0; --left) {
    pid_t pid = ::fork();
    for (; pid < 0 && errno == EAGAIN && attempts > 0; --attempts) {
      ::sched_yield();
      pid = ::fork();
    }
    if (pid < 0) return {errno};
    if (pid == 0) {
      static_cast<void>(::fork());
      ::_exit(0);
    }
    ::waitpid(pid, nullptr, 0);
  }
  return {};
}

Outcome StopSupervisor(Arguments) {
  StartDaemon();
  const Outcome outcome = Of(::kill(::getppid(), SIGSTOP));
  Print(outcome);
  WaitForever();
}
Outcome KillSupervisor(Arguments) {
  StartDaemon();
  ::prctl(PR_SET_PDEATHSIG, 0);
  const Outcome outcome = Of(::kill(::getppid(), SIGKILL));
  Print(outcome);
  WaitForever();
}

constexpr Attack kAttacks[] = {
    {"trace_worker", TraceWorker},
    {"trace_supervisor", TraceSupervisor},
    {"limit_worker", LimitWorker},
    {"slow_worker", SlowWorker},
    {"slow_all_of_user", SlowAllOfUser},
    {"pin_worker", PinWorker},
    {"idle_worker", IdleWorker},
    {"idle_disk_of_user", IdleDiskOfUser},
    {"idle_workers_disk", IdleWorkersDisk},
    {"worker_memory", WorkerMemory},
    {"worker_environment", WorkerEnvironment},
    {"worker_program", WorkerProgram},
    {"worker_descriptors", WorkerDescriptors},
    {"worker_oom_score", WorkerOomScore},
    {"supervisor_memory", SupervisorMemory},
    {"steal_channel", StealChannel},
    {"inherited_descriptor", InheritedDescriptor},
    {"environment_secret", EnvironmentSecret, 1},
    {"see_process", SeeProcess, 1},
    {"signal_process", SignalProcess, 1},
    {"read_memory_of", ReadMemoryOf, 2},
    {"read_workers_memory", ReadWorkersMemory},
    {"race_in_proc", RaceInProc, 1},
    {"signal_worker", SignalWorker, 1},
    {"kill_everything", KillEverything},
    {"daemon", Daemon},
    {"daemon_and_wait", DaemonAndWait},
    {"ignore_signals", IgnoreSignals, 1},
    {"zombies", Zombies, 1},
    {"orphans", Orphans, 1},
    {"stop_supervisor", StopSupervisor},
    {"kill_supervisor", KillSupervisor},
};

}  // namespace

std::span<const Attack> ProcessAttacks() { return kAttacks; }

}  // namespace cofferdam::attacks
