#include "worker/command.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "sys/fd.h"
#include "sys/file.h"
#include "sys/process.h"
#include "worker/result.h"

namespace cofferdam::worker {
namespace {

namespace v1 = protocol::v1;

// As shells say it of a command that could not be run.
constexpr int kNotRun = 127;

// What kept a command from starting. Volatile: the process that writes it shares our memory, and no
// compiler can know that.
struct StartFailure {
  enum What : int { kNone, kWorkingDirectory, kProgram };
  volatile int what = kNone;
  volatile int error_number = 0;
};

std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (std::string& text : strings) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

// Everything that the command's process needs, made before it: it shares our memory until it execs
// and makes system calls only.
struct PreparedCommand {
  explicit PreparedCommand(const v1::ExecRequest& request) : directory(request.cwd()) {
    if (request.shell()) arguments = {"/bin/sh", "-c"};
    for (const std::string& argument : request.command()) arguments.push_back(argument);
    for (const auto& [name, value] : request.env()) variables.push_back(name + "=" + value);
    argv = Pointers(arguments);
    envp = Pointers(variables);
  }

  std::string directory;
  std::vector<std::string> arguments;
  std::vector<std::string> variables;
  std::vector<char*> argv;
  std::vector<char*> envp;
};

[[noreturn]] void FailStart(StartFailure& failure, StartFailure::What what) {
  failure.error_number = errno;
  failure.what = what;
  ::_exit(kNotRun);
}

// Its frame must be another than that of the function which called vfork and goes on with it.
[[noreturn, gnu::noinline]] void ExecCommand(PreparedCommand& command, const ChildPipes& pipes,
                                             StartFailure& failure) {
  ::setsid();
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  // The others were set to their defaults when the launcher began.
  ::signal(SIGPIPE, SIG_DFL);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::umask(022);
  int input = pipes.input;
  if (input < 0) input = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  ::dup2(input, STDIN_FILENO);
  ::dup2(pipes.output, STDOUT_FILENO);
  ::dup2(pipes.errors, STDERR_FILENO);
  if (!command.directory.empty() && ::chdir(command.directory.c_str()) != 0)
    FailStart(failure, StartFailure::kWorkingDirectory);
  ::syscall(SYS_close_range, STDERR_FILENO + 1, ~0U, 0);
  // Looks the program up in the PATH of the new environment.
  ::environ = command.envp.data();
  ::execvp(command.argv[0], command.argv.data());
  FailStart(failure, StartFailure::kProgram);
}

v1::AgentError StartError(const v1::ExecRequest& request, const StartFailure& failure) {
  if (failure.what == StartFailure::kWorkingDirectory)
    return MakeOsError(failure.error_number,
                       "entering the working directory '" + request.cwd() + "'");
  return MakeOsError(failure.error_number, "running '" + request.command(0) + "'");
}

void SetOutcome(int wait_status, v1::OpExit& exit) {
  if (WIFSIGNALED(wait_status)) {
    exit.set_signal(WTERMSIG(wait_status));
    exit.set_exit_code(128 + WTERMSIG(wait_status));
  } else {
    exit.set_exit_code(WEXITSTATUS(wait_status));
  }
}

class Supervisor {
 public:
  Supervisor(const v1::ExecRequest& request, const ChildPipes& pipes)
      : request_(request), pipes_(pipes) {}

  v1::OpExit Run() {
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    auto proc = sys::Open("/proc", O_PATH | O_DIRECTORY);
    if (!proc) return FailedExit(MakeError(v1::ERROR_OS, "no descriptors left"), kNotRun);
    PreparedCommand command(request_);
    StartFailure failure;
    // A copy of our memory would cost more than the command's own start.
    main_pid_ = ::vfork();  // NOLINT
    if (main_pid_ < 0) return FailedExit(MakeOsError(errno, "starting a process"), kNotRun);
    if (main_pid_ == 0) ExecCommand(command, pipes_, failure);  // NOLINT
    // From here on only the command's processes hold the ends of its streams.
    for (const int fd : {pipes_.input, pipes_.output, pipes_.errors})
      if (fd >= 0) ::close(fd);
    WaitForEndOrStop();
    KillAll(proc->get());
    if (failure.what != StartFailure::kNone)
      return FailedExit(StartError(request_, failure), kNotRun);
    v1::OpExit exit;
    SetOutcome(main_status_, exit);
    return exit;
  }

 private:
  // SIGCHLD is blocked here, as in the worker.
  void WaitForEndOrStop() {
    sigset_t child_signal;
    ::sigemptyset(&child_signal);
    ::sigaddset(&child_signal, SIGCHLD);
    const sys::UniqueFd signals(::signalfd(-1, &child_signal, SFD_CLOEXEC | SFD_NONBLOCK));
    for (;;) {
      ReapReady();
      if (main_ended_) return;
      pollfd waiting[] = {{signals.get(), POLLIN, 0}, {pipes_.control, POLLIN, 0}};
      if (::poll(waiting, 2, -1) < 0 && errno != EINTR) return;
      signalfd_siginfo ignored;
      while (::read(signals.get(), &ignored, sizeof(ignored)) > 0) {
      }
      if (waiting[1].revents != 0) return;
    }
  }

  void ReapReady() {
    int status = 0;
    while (const pid_t pid = ::waitpid(-1, &status, WNOHANG)) {
      if (pid < 0) break;
      Note(pid, status);
    }
  }

  void Note(pid_t pid, int status) {
    if (pid != main_pid_) return;
    main_ended_ = true;
    main_status_ = status;
  }

  // What a killed process leaves behind becomes our child, so this comes to an end.
  void KillAll(int proc) {
    for (;;) {
      int status = 0;
      pid_t pid = ::waitpid(-1, &status, WNOHANG);
      if (pid < 0 && errno == ECHILD) return;
      if (pid == 0) {
        const auto children = sys::Children(proc);
        if (children)
          for (const pid_t child : *children) ::kill(child, SIGKILL);
        pid = ::waitpid(-1, &status, 0);
      }
      if (pid > 0) Note(pid, status);
    }
  }

  const v1::ExecRequest& request_;
  ChildPipes pipes_;
  pid_t main_pid_ = -1;
  bool main_ended_ = false;
  int main_status_ = 0;
};

}  // namespace

void SuperviseCommand(const v1::ExecRequest& request, const ChildPipes& pipes) {
  const v1::OpExit exit = Supervisor(request, pipes).Run();
  static_cast<void>(sys::WriteAll(pipes.status, exit.SerializeAsString()));
  ::_exit(0);
}

}  // namespace cofferdam::worker
