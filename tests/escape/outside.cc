#include "outside.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <utility>

#include "base/check.h"
#include "base/deadline.h"
#include "sys/fd.h"
#include "sys/file.h"

namespace cofferdam::escape {
namespace {

std::vector<char*> Pointers(const std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (const std::string& text : strings)
    pointers.push_back(const_cast<char*>(text.c_str()));  // NOLINT: execv's signature
  pointers.push_back(nullptr);
  return pointers;
}

bool BecomeUser(std::uint32_t uid) {
  return ::syscall(SYS_setgroups, 0, nullptr) == 0 && ::setresgid(uid, uid, uid) == 0 &&
         ::setresuid(uid, uid, uid) == 0;
}

[[noreturn]] void Exec(std::vector<char*>& argv) {
  ::execv(argv[0], argv.data());
  ::_exit(126);
}

std::set<pid_t> ProcessesThat(const std::function<bool(const std::string& pid)>& fit) {
  std::set<pid_t> pids;
  const auto proc = sys::Open("/proc", O_RDONLY | O_DIRECTORY);
  CHECK(proc.has_value());
  const auto names = sys::ListDirectory(proc->get());
  CHECK(names.has_value());
  for (const std::string& name : *names) {
    pid_t pid = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (error == std::errc() && *end == '\0' && fit(name)) pids.insert(pid);
  }
  return pids;
}

std::uint64_t NamespaceAt(const std::string& path) {
  struct stat info;
  return ::stat(path.c_str(), &info) == 0 ? info.st_ino : 0;
}

}  // namespace

std::string Describe(const std::string& printed, int signal) {
  if (signal != 0) return "signal " + std::to_string(signal);
  const std::string line = printed.substr(0, printed.find('\n'));
  return line.empty() ? "nothing was printed" : line;
}

OutsideRun RunOutside(const std::vector<std::string>& arguments, const OutsideOptions& options) {
  std::vector<char*> argv = Pointers(arguments);
  auto output = sys::NewPipe();
  CHECK(output.has_value());
  const pid_t pid = ::fork();
  CHECK(pid >= 0);
  if (pid == 0) {
    ::setsid();
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::dup2(output->write_end.get(), STDOUT_FILENO);
    if (options.leak == Leak::kStream && ::dup(STDOUT_FILENO) < 0) ::_exit(126);
    if (options.leak == Leak::kRoot && ::open("/", O_RDONLY | O_DIRECTORY) < 0)  // NOLINT: a leak
      ::_exit(126);
    if (!options.working_directory.empty() && ::chdir(options.working_directory.c_str()) != 0)
      ::_exit(126);
    if (options.uid != 0 && !BecomeUser(options.uid)) ::_exit(126);
    Exec(argv);
  }
  output->write_end.Reset();
  int status = 0;
  CHECK(::waitpid(pid, &status, 0) == pid);
  ::kill(-pid, SIGKILL);
  const auto printed = sys::ReadAll(output->read_end.get(), 1 << 16);
  CHECK(printed.has_value());
  return {Describe(*printed, WIFSIGNALED(status) ? WTERMSIG(status) : 0)};
}

bool ParentFallsTo(const std::vector<std::string>& arguments) {
  std::vector<char*> argv = Pointers(arguments);
  const pid_t parent = ::fork();
  CHECK(parent >= 0);
  if (parent == 0) {
    ::setsid();
    const int null = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
    ::dup2(null, STDOUT_FILENO);
    const pid_t child = ::fork();
    if (child == 0) Exec(argv);
    ::waitpid(child, nullptr, 0);
    ::_exit(0);
  }
  int status = 0;
  CHECK(::waitpid(parent, &status, WUNTRACED) == parent);
  const bool fell = WIFSTOPPED(status) || WIFSIGNALED(status);
  ::kill(-parent, SIGKILL);
  if (WIFSTOPPED(status)) CHECK(::waitpid(parent, &status, 0) == parent);
  return fell;
}

std::string InChild(const std::function<std::string()>& work) {
  auto answer = sys::NewPipe();
  CHECK(answer.has_value());
  const pid_t pid = ::fork();
  CHECK(pid >= 0);
  if (pid == 0) {
    const bool told = sys::WriteAll(answer->write_end.get(), work()).has_value();
    ::_exit(told ? 0 : 1);
  }
  answer->write_end.Reset();
  auto text = sys::ReadAll(answer->read_end.get(), 1 << 20);
  CHECK(text.has_value());
  CHECK(::waitpid(pid, nullptr, 0) == pid);
  return std::move(*text);
}

std::set<pid_t> ProcessesMarked(const std::string& mark) {
  return ProcessesThat([&](const std::string& pid) {
    const auto line = sys::ReadFile("/proc/" + pid + "/cmdline");
    return line && line->find(mark + '\0') != std::string::npos;
  });
}

std::set<pid_t> ProcessesIn(std::uint64_t pid_namespace) {
  return ProcessesThat([&](const std::string& pid) {
    return NamespaceAt("/proc/" + pid + "/ns/pid") == pid_namespace;
  });
}

std::uint64_t PidNamespaceOf(pid_t pid) {
  return NamespaceAt("/proc/" + std::to_string(pid) + "/ns/pid");
}

bool AllGone(const std::set<pid_t>& pids) {
  const Deadline deadline = Deadline::After(std::chrono::seconds(20));
  for (const pid_t pid : pids) {
    const sys::UniqueFd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    if (!process.valid()) continue;
    pollfd waiting{process.get(), POLLIN, 0};
    if (::poll(&waiting, 1, deadline.PollTimeoutMillis()) != 1) return false;
  }
  return true;
}

void KillAll(const std::set<pid_t>& pids) {
  for (const pid_t pid : pids) ::kill(pid, SIGKILL);
}

bool HasCapability(int capability) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
  CHECK(::syscall(SYS_capget, &header, data) == 0);
  return (data[capability / 32].effective & (1u << (capability % 32))) != 0;
}

int Sysctl(const std::string& path, int otherwise) {
  const auto text = sys::ReadFile("/proc/sys/" + path);
  return text ? std::atoi(text->c_str()) : otherwise;
}

std::string HostName() {
  char name[256] = {};
  CHECK(::gethostname(name, sizeof(name) - 1) == 0);
  return name;
}

bool HasRoute() {
  const auto routes = sys::ReadFile("/proc/net/route");
  // The columns after the interface's name are destination and gateway, in hexadecimal.
  return routes && routes->find("\t00000000\t") != std::string::npos;
}

}  // namespace cofferdam::escape
