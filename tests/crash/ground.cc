#include "ground.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <optional>
#include <sstream>

#include "base/check.h"
#include "base/deadline.h"
#include "sandbox/cgroup.h"
#include "sys/file.h"

namespace cofferdam::crash {
namespace {

constexpr const char* kNamespaces[] = {"net", "mnt", "pid", "user", "ipc", "uts", "cgroup"};
constexpr std::string_view kGroupPrefix = "cofferdam-";

std::string Proc(pid_t pid, std::string_view file) {
  return "/proc/" + std::to_string(pid) + "/" + std::string(file);
}

std::vector<std::string> Names(const std::string& directory) {
  const auto fd = sys::Open(directory, O_RDONLY | O_DIRECTORY);
  if (!fd) return {};
  return sys::ListDirectory(fd->get()).value_or(std::vector<std::string>());
}

std::vector<pid_t> Processes() {
  std::vector<pid_t> pids;
  for (const std::string& name : Names("/proc")) {
    pid_t pid = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (error == std::errc() && *end == '\0') pids.push_back(pid);
  }
  return pids;
}

/// The id of a namespace that no other gets in this boot, which kernels have since 6.18: the number
/// of its file is given to a new one when it is gone. 0 where it is not to be had.
std::uint64_t NamespaceOf(pid_t pid, const char* name) {
  constexpr unsigned long kGetId = _IOR(0xb7, 0xd, std::uint64_t);
  const auto file = sys::Open(Proc(pid, std::string("ns/") + name), O_RDONLY);
  std::uint64_t id = 0;
  return file && ::ioctl(file->get(), kGetId, &id) == 0 ? id : 0;
}

/// The controller of a version 1 hierarchy in which sandboxes have groups; empty for version 2, and
/// nothing for what is not used.
std::optional<std::string> UsedController(const sandbox::CgroupMount& mount) {
  if (mount.is_v2) return "";
  constexpr std::string_view kUsed[] = {"memory", "pids", "cpu", "freezer"};
  const auto used = std::ranges::find_first_of(mount.controllers, kUsed);
  return used == mount.controllers.end() ? std::nullopt : std::optional(*used);
}

std::string Describe(pid_t pid) {
  std::string line = CommandLine(pid);
  std::ranges::replace(line, '\0', ' ');
  return std::to_string(pid) + " (" + (line.empty() ? "ended, not waited for" : line) + ")";
}

}  // namespace

std::vector<pid_t> Children(pid_t pid) {
  std::vector<pid_t> children;
  for (const std::string& thread : Names(Proc(pid, "task"))) {
    const auto text = sys::ReadFile(Proc(pid, "task/" + thread + "/children"));
    std::istringstream pids(text.value_or(""));
    for (pid_t child = 0; pids >> child;) children.push_back(child);
  }
  return children;
}

std::set<pid_t> Descendants(pid_t pid) {
  std::set<pid_t> all;
  std::vector<pid_t> next = Children(pid);
  while (!next.empty()) {
    const pid_t one = next.back();
    next.pop_back();
    if (!all.insert(one).second) continue;
    const std::vector<pid_t> below = Children(one);
    next.insert(next.end(), below.begin(), below.end());
  }
  return all;
}

std::string CommandLine(pid_t pid) { return sys::ReadFile(Proc(pid, "cmdline")).value_or(""); }

Ground::Ground() {
  CHECK(::prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
  MakeGroups();
  // Shared among what is started from here, so that a mount which spreads shows; not with the rest
  // of the machine, where others mount things too.
  own_mounts_ = ::unshare(CLONE_NEWNS) == 0 &&
                ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
                ::mount(nullptr, "/", nullptr, MS_REC | MS_SHARED, nullptr) == 0;
  if (own_mounts_) mounts_ = *sys::ReadFile("/proc/self/mountinfo", 4 << 20);
}

Ground::~Ground() {
  // With what a test that failed has left.
  for (const std::string& group : Groups()) {
    for (const std::string& name : Names(group)) ::rmdir((group + "/" + name).c_str());
    ::rmdir(group.c_str());
  }
  for (const GroupParent& group : groups_)
    if (group.own) ::rmdir(group.directory.c_str());
}

void Ground::MakeGroups() {
  const std::string own = *sys::ReadFile("/proc/self/cgroup");
  for (const sandbox::CgroupMount& mount :
       sandbox::ParseCgroupMounts(*sys::ReadFile("/proc/self/mountinfo", 4 << 20))) {
    const auto controller = UsedController(mount);
    if (!controller) continue;
    const auto path = sandbox::ParseCgroupPath(own, *controller);
    if (!path) continue;
    GroupParent group{.directory = mount.mount_point + *path, .own = false, .before = {}};
    // Version 2 gives a new group no controllers; there the one that exists is watched.
    const std::string made = group.directory + "/crash-test-" + std::to_string(::getpid());
    if (!mount.is_v2 && ::mkdir(made.c_str(), 0755) == 0) {
      group.directory = made;
      group.own = true;
    }
    for (const std::string& name : Names(group.directory)) group.before.insert(name);
    groups_.push_back(std::move(group));
  }
}

void Ground::Enter() const {
  for (const GroupParent& group : groups_) {
    if (!group.own) continue;
    const int fd = ::open((group.directory + "/tasks").c_str(), O_WRONLY | O_CLOEXEC);
    CHECK(fd >= 0 && ::write(fd, "0", 1) == 1);
    ::close(fd);
  }
}

void Ground::RememberNamespaces() {
  namespaces_.clear();
  for (const pid_t pid : Descendants(::getpid()))
    for (const char* name : kNamespaces) namespaces_.insert(NamespaceOf(pid, name));
  for (const char* name : kNamespaces) namespaces_.erase(NamespaceOf(::getpid(), name));
  namespaces_.erase(0);
}

std::vector<std::string> Ground::Groups() const {
  std::vector<std::string> groups;
  for (const GroupParent& group : groups_)
    for (const std::string& name : Names(group.directory))
      if (name.starts_with(kGroupPrefix) && !group.before.contains(name))
        groups.push_back(group.directory + "/" + name);
  return groups;
}

std::set<pid_t> Ground::Frozen() const {
  std::set<pid_t> frozen;
  for (const std::string& group : Groups())
    for (const std::string& name : Names(group)) {
      const std::string directory = group + "/" + name;
      if (!sys::ReadFile(directory + "/freezer.state").value_or("").starts_with("FR")) continue;
      std::istringstream pids(sys::ReadFile(directory + "/cgroup.procs").value_or(""));
      for (pid_t pid = 0; pids >> pid;) frozen.insert(pid);
    }
  return frozen;
}

std::string Ground::StillInNamespaces(const std::set<pid_t>& allowed) const {
  std::string found;
  for (const pid_t pid : Processes()) {
    if (allowed.contains(pid)) continue;
    for (const char* name : kNamespaces)
      if (namespaces_.contains(NamespaceOf(pid, name)))
        found += "process " + Describe(pid) + " in a " + name + " namespace\n";
  }
  return found;
}

std::string Ground::Left(const std::set<pid_t>& allowed, bool groups_may_stay) const {
  std::string left;
  for (const pid_t pid : Descendants(::getpid()))
    if (!allowed.contains(pid)) left += "process " + Describe(pid) + "\n";
  if (!groups_may_stay)
    for (const std::string& group : Groups()) left += "control group " + group + "\n";
  if (own_mounts_ && *sys::ReadFile("/proc/self/mountinfo", 4 << 20) != mounts_)
    left += "a mount\n";
  if (left.empty()) left = StillInNamespaces(allowed);
  return left;
}

std::string Ground::WaitUntilNothingIsLeft(const std::function<std::set<pid_t>()>& allowed,
                                           bool groups_may_stay) {
  const Deadline deadline = Deadline::After(std::chrono::seconds(20));
  for (;;) {
    const std::set<pid_t> now = allowed();
    for (const pid_t child : Children(::getpid()))
      if (!now.contains(child)) ::waitpid(child, nullptr, WNOHANG);
    std::string left = Left(now, groups_may_stay);
    if (left.empty() || deadline.Expired()) return left;
    ::poll(nullptr, 0, 1);
  }
}

}  // namespace cofferdam::crash
