#include "program.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>

#include "base/check.h"
#include "sys/fd.h"

namespace cofferdam::e2e {
namespace {

std::vector<char*> Pointers(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

pid_t Spawn(const ProgramRequest& request, int in, int out, int err) {
  std::vector<std::string> arguments = {COFFERDAM_PROGRAM};
  if (request.user) {
    const std::string id = std::to_string(*request.user);
    arguments = {"setpriv", "--reuid", id, "--regid", id, "--clear-groups", COFFERDAM_PROGRAM};
  }
  arguments.insert(arguments.end(), request.arguments.begin(), request.arguments.end());
  std::vector<std::string> environment;
  for (const auto& [name, value] : request.environment) environment.push_back(name + "=" + value);

  posix_spawn_file_actions_t actions;
  CHECK(::posix_spawn_file_actions_init(&actions) == 0);
  CHECK(::posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO) == 0);
  CHECK(::posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO) == 0);
  CHECK(::posix_spawn_file_actions_adddup2(&actions, err, STDERR_FILENO) == 0);
  pid_t pid = -1;
  CHECK(::posix_spawnp(&pid, arguments.front().c_str(), &actions, nullptr,
                       Pointers(arguments).data(), Pointers(environment).data()) == 0);
  CHECK(::posix_spawn_file_actions_destroy(&actions) == 0);
  return pid;
}

/// Reads what is there; false at the end.
bool ReadSome(int fd, std::string& text) {
  std::array<char, 65536> buffer;
  const auto count = sys::Read(fd, buffer);
  CHECK(count.has_value());
  text.append(buffer.data(), *count);
  return *count > 0;
}

}  // namespace

ProgramResult RunCofferdam(const ProgramRequest& request) {
  sys::Pipe in = *sys::NewPipe();
  sys::Pipe out = *sys::NewPipe();
  sys::Pipe err = *sys::NewPipe();
  const pid_t pid = Spawn(request, in.read_end.get(), out.write_end.get(), err.write_end.get());
  in.read_end.Reset();
  out.write_end.Reset();
  err.write_end.Reset();
  // Small enough for the pipe: the tests give a line or two.
  CHECK(sys::WriteAll(in.write_end.get(), request.stdin_bytes).has_value());
  in.write_end.Reset();

  ProgramResult result;
  std::array<pollfd, 2> fds = {pollfd{out.read_end.get(), POLLIN, 0},
                               pollfd{err.read_end.get(), POLLIN, 0}};
  while (fds[0].fd >= 0 || fds[1].fd >= 0) {
    CHECK(::poll(fds.data(), fds.size(), -1) > 0);
    if (fds[0].revents != 0 && !ReadSome(fds[0].fd, result.out)) fds[0].fd = -1;
    if (fds[1].revents != 0) {
      if (!ReadSome(fds[1].fd, result.err)) fds[1].fd = -1;
      if (request.on_stderr) request.on_stderr(result.err, pid);
    }
  }
  int status = 0;
  CHECK(::waitpid(pid, &status, 0) == pid);
  result.exit_code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  return result;
}

}  // namespace cofferdam::e2e
