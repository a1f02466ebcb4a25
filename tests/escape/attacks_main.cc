// usage: attacks [--own=user,mnt,…] NAME [ARGUMENT…]
//
// --own puts the program into namespaces of its own first, so that an attack can be shown to work
// without harm to the machine on which the test runs. Arguments beyond those that an attack takes
// are ignored: a test marks its processes with one.

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "attacks.h"

namespace cofferdam::attacks {

void Print(Outcome outcome) {
  if (outcome.error_number == 0)
    std::puts("succeeded");
  else
    std::printf("errno %s\n", ::strerrorname_np(outcome.error_number));
  std::fflush(stdout);
}

namespace {

bool WriteFile(const char* path, const std::string& text) {
  const int fd = ::open(path, O_WRONLY | O_CLOEXEC);
  const bool done = fd >= 0 && ::write(fd, text.data(), text.size()) > 0;
  ::close(fd);
  return done;
}

// The caller is itself in the new user namespace, with every capability there.
bool EnterOwnNamespaces(std::string_view names) {
  constexpr std::pair<const char*, int> kKnown[] = {
      {"user", CLONE_NEWUSER},    {"mnt", CLONE_NEWNS},  {"net", CLONE_NEWNET},
      {"uts", CLONE_NEWUTS},      {"pid", CLONE_NEWPID}, {"ipc", CLONE_NEWIPC},
      {"cgroup", CLONE_NEWCGROUP}};
  int flags = 0;
  for (const auto& [name, flag] : kKnown)
    if (names.find(name) != std::string_view::npos) flags |= flag;
  const std::string uid = std::to_string(::geteuid());
  const std::string gid = std::to_string(::getegid());
  if (::unshare(flags) != 0) return false;
  if ((flags & CLONE_NEWUSER) != 0 && !(WriteFile("/proc/self/setgroups", "deny") &&
                                        WriteFile("/proc/self/uid_map", uid + " " + uid + " 1") &&
                                        WriteFile("/proc/self/gid_map", gid + " " + gid + " 1")))
    return false;
  // Only a child is in the new pid namespace.
  const pid_t pid = (flags & CLONE_NEWPID) != 0 ? ::fork() : 0;
  if (pid > 0) {
    int status = 0;
    ::waitpid(pid, &status, 0);
    ::_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
  }
  return pid == 0;
}

std::vector<std::span<const Attack>> AllAttacks() {
  return {ExhaustionAttacks(), FileAttacks(),     KernelAttacks(),  NetworkAttacks(),
          ProcessAttacks(),    ResourceAttacks(), SharingAttacks(), TenantAttacks()};
}

const Attack* Find(std::string_view name) {
  for (const auto attacks : AllAttacks())
    for (const Attack& attack : attacks)
      if (name == attack.name) return &attack;
  return nullptr;
}

int List() {
  for (const auto attacks : AllAttacks())
    for (const Attack& attack : attacks) std::puts(attack.name);
  return 0;
}

int Main(std::span<char* const> arguments) {
  constexpr std::string_view kOwn = "--own=";
  constexpr int kUsage = 2;
  if (!arguments.empty() && std::string_view(arguments[0]) == "--list") return List();
  if (!arguments.empty() && std::string_view(arguments[0]).starts_with(kOwn)) {
    if (!EnterOwnNamespaces(std::string_view(arguments[0]).substr(kOwn.size()))) {
      std::printf("no namespaces of its own: errno %s\n", ::strerrorname_np(errno));
      return kUsage;
    }
    arguments = arguments.subspan(1);
  }
  const Attack* attack = arguments.empty() ? nullptr : Find(arguments[0]);
  if (attack == nullptr || arguments.size() < 1 + attack->argument_count) {
    std::puts("no such attack, or arguments are missing");
    return kUsage;
  }
  const Outcome outcome = attack->run(arguments.subspan(1));
  Print(outcome);
  return outcome.error_number == 0 ? 0 : 1;
}

}  // namespace
}  // namespace cofferdam::attacks

int main(int argc, char** argv) {
  return cofferdam::attacks::Main(std::span(argv + 1, static_cast<std::size_t>(argc - 1)));
}
