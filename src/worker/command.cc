#include "worker/command.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
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

// What kept a command from starting, told over a pipe that closes when exec succeeds.
struct StartFailure {
  enum class What : int { kWorkingDirectory, kProgram } what;
  int error_number;
};

void ResetSignals() {
  for (int signal = 1; signal < NSIG; ++signal) ::signal(signal, SIG_DFL);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (std::string& text : strings) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

[[noreturn]] void FailStart(int pipe, StartFailure::What what) {
  const StartFailure failure{what, errno};
  static_cast<void>(
      sys::WriteAll(pipe, {reinterpret_cast<const char*>(&failure), sizeof(failure)}));
  ::_exit(127);
}

[[noreturn]] void ExecCommand(const v1::ExecRequest& request, const ChildPipes& pipes,
                              int failure_pipe) {
  ::setsid();
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  ResetSignals();
  ::umask(022);
  int input = pipes.input;
  if (input < 0) input = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  ::dup2(input, STDIN_FILENO);
  ::dup2(pipes.output, STDOUT_FILENO);
  ::dup2(pipes.errors, STDERR_FILENO);
  if (!request.cwd().empty() && ::chdir(request.cwd().c_str()) != 0)
    FailStart(failure_pipe, StartFailure::What::kWorkingDirectory);
  std::vector<std::string> arguments;
  if (request.shell()) arguments = {"/bin/sh", "-c"};
  for (const std::string& argument : request.command()) arguments.push_back(argument);
  std::vector<std::string> variables;
  for (const auto& [name, value] : request.env()) variables.push_back(name + "=" + value);
  std::vector<char*> argv = Pointers(arguments);
  std::vector<char*> envp = Pointers(variables);
  // execvp looks the program up in the PATH of this environment.
  ::environ = envp.data();
  // Everything else is close-on-exec or closed here; the failure pipe must last until exec.
  const int low_failure_pipe = ::fcntl(failure_pipe, F_DUPFD_CLOEXEC, 3);
  const int keep[] = {0, 1, 2, low_failure_pipe};
  sys::CloseAllExcept(keep);
  ::execvp(argv[0], argv.data());
  FailStart(low_failure_pipe, StartFailure::What::kProgram);
}

v1::AgentError StartError(const v1::ExecRequest& request, const StartFailure& failure) {
  if (failure.what == StartFailure::What::kWorkingDirectory)
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
    auto failure_pipe = sys::NewPipe();
    auto proc = sys::Open("/proc", O_PATH | O_DIRECTORY);
    if (!failure_pipe || !proc)
      return FailedExit(MakeError(v1::ERROR_OS, "no descriptors left"), kNotRun);
    main_pid_ = ::fork();
    if (main_pid_ < 0) return FailedExit(MakeOsError(errno, "starting a process"), kNotRun);
    if (main_pid_ == 0) ExecCommand(request_, pipes_, failure_pipe->write_end.get());
    failure_pipe->write_end.Reset();
    // From here on only the command's processes hold the ends of its streams.
    for (const int fd : {pipes_.input, pipes_.output, pipes_.errors})
      if (fd >= 0) ::close(fd);
    WaitForEndOrStop();
    KillAll(proc->get());
    v1::OpExit exit;
    StartFailure failure;
    const auto size = sys::Read(failure_pipe->read_end.get(),
                                {reinterpret_cast<char*>(&failure), sizeof(failure)});
    if (size && *size == sizeof(failure)) return FailedExit(StartError(request_, failure), kNotRun);
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
      const auto children = sys::Children(proc);
      if (children)
        for (const pid_t pid : *children) ::kill(pid, SIGKILL);
      int status = 0;
      const pid_t pid = ::waitpid(-1, &status, 0);
      if (pid < 0 && errno == ECHILD) return;
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
