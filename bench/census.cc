#include "census.h"

#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>

#include "base/check.h"
#include "base/split.h"
#include "measure.h"
#include "sandbox/cgroup.h"
#include "sys/file.h"

namespace cofferdam::bench {
namespace {

constexpr const char* kNamespaces[] = {"cgroup", "ipc", "mnt", "net", "pid", "user", "uts"};

std::string ProcPath(pid_t pid, const std::string& file) {
  return "/proc/" + std::to_string(pid) + "/" + file;
}

// The field behind the state, which is the first behind the name, which may hold anything.
pid_t ParentOf(pid_t pid) {
  const std::string stat = sys::ReadFile(ProcPath(pid, "stat")).value_or("");
  const std::size_t name_end = stat.rfind(") ");
  pid_t parent = 0;
  if (name_end != std::string::npos && name_end + 4 < stat.size())
    std::from_chars(stat.data() + name_end + 4, stat.data() + stat.size(), parent);
  return parent;
}

std::string LinkOf(pid_t pid, const char* name) {
  char target[PATH_MAX];
  const ssize_t size =
      ::readlink(ProcPath(pid, std::string("ns/") + name).c_str(), target, sizeof(target));
  return size > 0 ? std::string(target, static_cast<std::size_t>(size)) : "";
}

// Where each hierarchy is seen, and this process's own group in it.
struct Hierarchy {
  std::string key;  // what stands between the colons of /proc/<pid>/cgroup
  std::string mount_point;
  std::string own;
};

std::vector<Hierarchy> Hierarchies() {
  const auto mounts =
      sandbox::ParseCgroupMounts(sys::ReadFile("/proc/self/mountinfo", 4 << 20).value_or(""));
  const std::string own = sys::ReadFile("/proc/self/cgroup").value_or("");
  std::vector<Hierarchy> hierarchies;
  for (const std::string_view line : Split(own, '\n')) {
    const auto parts = Split(line, ':');
    if (parts.size() < 3) continue;
    const std::string_view key = parts[1];
    for (const sandbox::CgroupMount& mount : mounts) {
      const bool is_it = key.empty() ? mount.is_v2
                                     : std::ranges::find(mount.controllers, Split(key, ',')[0]) !=
                                           mount.controllers.end();
      if (!is_it || mount.root != "/") continue;
      const std::string_view path = line.substr(line.find(':', line.find(':') + 1) + 1);
      hierarchies.push_back({std::string(key), mount.mount_point, std::string(path)});
      break;
    }
  }
  return hierarchies;
}

std::vector<pid_t> AllProcesses() {
  const auto proc = sys::Open("/proc", O_RDONLY | O_DIRECTORY);
  CHECK(proc.has_value());
  const std::vector<std::string> names = OrExit(sys::ListDirectory(proc->get()));
  std::vector<pid_t> pids;
  for (const std::string& name : names) {
    pid_t pid = 0;
    const char* const end = name.data() + name.size();
    const auto [stop, error] = std::from_chars(name.data(), end, pid);
    if (error == std::errc() && stop == end) pids.push_back(pid);
  }
  return pids;
}

// Without those of this process. Processes that have gone meanwhile are left out.
std::set<std::string> NamespacesOf(const std::vector<pid_t>& pids) {
  std::set<std::string> namespaces;
  for (const pid_t pid : pids)
    for (const char* name : kNamespaces) namespaces.insert(LinkOf(pid, name));
  namespaces.erase("");
  for (const char* name : kNamespaces) namespaces.erase(LinkOf(::getpid(), name));
  return namespaces;
}

// And those above them, up to this process's own.
std::set<std::string> CgroupsOf(const std::vector<pid_t>& pids) {
  const auto hierarchies = Hierarchies();
  std::set<std::string> directories;
  for (const pid_t pid : pids) {
    const std::string text = sys::ReadFile(ProcPath(pid, "cgroup")).value_or("");
    for (const Hierarchy& hierarchy : hierarchies) {
      const std::string_view key =
          std::string_view(hierarchy.key).substr(0, hierarchy.key.find(','));
      auto path = sandbox::ParseCgroupPath(text, key).value_or("");
      for (; path.size() > hierarchy.own.size() && path.starts_with(hierarchy.own);
           path.resize(path.rfind('/')))
        directories.insert(hierarchy.mount_point + path);
    }
  }
  return directories;
}

}  // namespace

std::map<pid_t, pid_t> ProcessesBelow(pid_t root) {
  std::multimap<pid_t, pid_t> children;
  for (const pid_t pid : AllProcesses()) children.emplace(ParentOf(pid), pid);
  std::map<pid_t, pid_t> below;
  std::vector<pid_t> parents = {root};
  while (!parents.empty()) {
    const pid_t parent = parents.back();
    parents.pop_back();
    const auto [begin, end] = children.equal_range(parent);
    for (auto child = begin; child != end; ++child) {
      below.emplace(child->second, parent);
      parents.push_back(child->second);
    }
  }
  return below;
}

bool IsInSandbox(pid_t pid) {
  const std::string name = LinkOf(pid, "pid");
  return !name.empty() && name != LinkOf(::getpid(), "pid");
}

std::size_t MountsOf(pid_t pid) {
  const std::string text = sys::ReadFile(ProcPath(pid, "mountinfo"), 64 << 20).value_or("");
  return static_cast<std::size_t>(std::ranges::count(text, '\n'));
}

Memory Memory::Read() {
  const auto field = [](std::string_view name) {
    return static_cast<double>(FieldOf("/proc/meminfo", name));
  };
  return {field("MemAvailable"), field("Slab"),   field("KernelStack"),
          field("PageTables"),   field("Percpu"), field("Shmem")};
}

Memory SettledMemory() {
  constexpr double kEnough = 30e6;
  constexpr double kQuiet = 1e6;
  const double begin = Now();
  double least = Memory::Read().slab;
  for (double since = begin; Now() - since < kQuiet && Now() - begin < kEnough;) {
    ::usleep(50'000);
    constexpr double kNoise = 256;
    const double slab = Memory::Read().slab;
    if (slab >= least - kNoise) continue;
    least = slab;
    since = Now();
  }
  return Memory::Read();
}

double PrivateMemoryOf(pid_t pid) {
  const std::string path = ProcPath(pid, "smaps_rollup");
  return static_cast<double>(FieldOf(path, "Private_Clean") + FieldOf(path, "Private_Dirty"));
}

Census::Census() : mounts_before_(MountsOf(::getpid())) {
  for (const auto& [pid, parent] : ProcessesBelow(::getpid())) processes_before_.insert(pid);
}

std::vector<pid_t> Census::Processes() const {
  std::vector<pid_t> pids;
  for (const auto& [pid, parent] : ProcessesBelow(::getpid()))
    if (!processes_before_.contains(pid)) pids.push_back(pid);
  return pids;
}

void Census::TakeLive() {
  const std::vector<pid_t> pids = Processes();
  namespaces_ = NamespacesOf(pids);
  cgroups_ = CgroupsOf(pids);
}

std::size_t Census::live() const {
  return static_cast<std::size_t>(std::ranges::count_if(
      namespaces_, [](const std::string& name) { return name.starts_with("pid:"); }));
}

std::size_t Census::CountLeft() const {
  const std::size_t processes = Processes().size();
  const auto present = NamespacesOf(AllProcesses());
  const auto namespaces = static_cast<std::size_t>(std::ranges::count_if(
      namespaces_, [&](const std::string& name) { return present.contains(name); }));
  const auto groups = static_cast<std::size_t>(std::ranges::count_if(
      cgroups_, [](const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }));
  const std::size_t now = MountsOf(::getpid());
  const std::size_t mounts = now > mounts_before_ ? now - mounts_before_ : 0;
  const std::size_t left = processes + namespaces + groups + mounts;
  if (left > 0)
    std::fprintf(stderr, "left: %zu processes, %zu namespaces, %zu control groups, %zu mounts\n",
                 processes, namespaces, groups, mounts);
  return left;
}

}  // namespace cofferdam::bench
