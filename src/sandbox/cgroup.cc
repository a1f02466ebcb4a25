#include "sandbox/cgroup.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>

#include "base/check.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/split.h"
#include "sys/file.h"

namespace cofferdam::sandbox {
namespace {

constexpr std::string_view kDirectoryPrefix = "cofferdam-";
constexpr std::uint64_t kCpuPeriodMicros = 100'000;
constexpr char kRemedy[] =
    "run as root, or delegate a cgroup with memory and pids controllers to this user, or accept "
    "the risk with --allow-missing=cgroup";

std::unexpected<Error> Reason(std::string why) {
  return Err(ErrorCode::kUnsupported, std::move(why));
}

std::unexpected<Error> Missing(std::string why) {
  return Err(ErrorCode::kLayerMissing,
             "the sandbox layer 'cgroup' cannot be had: " + std::move(why), kRemedy);
}

// A tmpfs in the place of a cgroup takes the same files and enforces nothing.
bool IsCgroupFileSystem(int fd, bool v2) {
  struct statfs info;
  if (::fstatfs(fd, &info) != 0) return false;
  return info.f_type == (v2 ? CGROUP2_SUPER_MAGIC : CGROUP_SUPER_MAGIC);
}

std::uint64_t NumberAfter(std::string_view text, std::string_view key) {
  for (const std::string_view line : Split(text, '\n')) {
    if (!line.starts_with(key) || line.size() <= key.size() || line[key.size()] != ' ') continue;
    std::uint64_t number = 0;
    const std::string_view digits = line.substr(key.size() + 1);
    std::from_chars(digits.data(), digits.data() + digits.size(), number);
    return number;
  }
  return 0;
}

std::string Trimmed(std::string text) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

Status WriteLimit(int directory, const char* file, const std::string& value) {
  const auto written = sys::WriteFileAt(directory, file, value);
  if (!written) return std::unexpected(written.error().With("setting a limit"));
  return {};
}

// Kernel values are rounded down to pages.
Status ExpectLimit(int directory, const char* file, const std::string& wanted) {
  ASSIGN_OR_RETURN(const std::string text, sys::ReadFileAt(directory, file));
  if (Trimmed(text) != wanted)
    return Err(ErrorCode::kNotVerified,
               std::string(file) + " is " + Trimmed(text) + " instead of " + wanted);
  return {};
}

std::string PageRounded(std::uint64_t bytes) {
  const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  return std::to_string(bytes / page * page);
}

std::string CpuQuota(const Limits& limits) {
  return std::to_string(limits.cpu_millis_per_second * kCpuPeriodMicros / 1000);
}

const CgroupMount* FindMount(const std::vector<CgroupMount>& mounts, std::string_view controller) {
  for (const CgroupMount& mount : mounts) {
    if (controller.empty()
            ? mount.is_v2
            : std::ranges::find(mount.controllers, controller) != mount.controllers.end())
      return &mount;
  }
  return nullptr;
}

// Where a group's path lies below a mount that may show only a part of the hierarchy.
std::string BelowMount(const CgroupMount& mount, const std::string& path) {
  if (mount.root == "/" || !path.starts_with(mount.root)) return path;
  const std::string rest = path.substr(mount.root.size());
  return rest.empty() ? "/" : rest;
}

// The kernel lets go of an ended process's group a moment after its end; there is nothing to wait
// on.
void PauseBriefly() { ::poll(nullptr, 0, 1); }

}  // namespace

std::vector<CgroupMount> ParseCgroupMounts(std::string_view mountinfo) {
  std::vector<CgroupMount> mounts;
  for (const std::string_view line : Split(mountinfo, '\n')) {
    const std::size_t dash = line.find(" - ");
    if (dash == std::string_view::npos) continue;
    const auto left = Split(line.substr(0, dash), ' ');
    const auto right = Split(line.substr(dash + 3), ' ');
    if (left.size() < 6 || right.size() < 3) continue;
    if (right[0] != "cgroup" && right[0] != "cgroup2") continue;
    CgroupMount mount{std::string(left[4]), std::string(left[3]), {}, right[0] == "cgroup2"};
    if (!mount.is_v2)
      for (const std::string_view option : Split(right[2], ','))
        mount.controllers.emplace_back(option);
    mounts.push_back(std::move(mount));
  }
  return mounts;
}

std::optional<std::string> ParseCgroupPath(std::string_view text, std::string_view controller) {
  for (const std::string_view line : Split(text, '\n')) {
    const std::size_t first = line.find(':');
    if (first == std::string_view::npos) continue;
    const std::size_t second = line.find(':', first + 1);
    if (second == std::string_view::npos) continue;
    const std::string_view names = line.substr(first + 1, second - first - 1);
    const auto list = Split(names, ',');
    if (controller.empty() ? names.empty() : std::ranges::find(list, controller) != list.end())
      return std::string(line.substr(second + 1));
  }
  return std::nullopt;
}

// ---- CgroupRoot

CgroupRoot::CgroupRoot() : directory_name_(std::string(kDirectoryPrefix) + NewId(SystemClock())) {}

namespace {

// By number: with our own folder in front, <sys/file.h> is another file.
bool TryLock(int fd) {
  constexpr int kExclusive = 2;
  constexpr int kNonBlocking = 4;
  return ::syscall(SYS_flock, fd, kExclusive | kNonBlocking) == 0;
}

bool IsStillThere(int parent, const std::string& name, int directory) {
  struct stat by_name;
  struct stat by_fd;
  return ::fstatat(parent, name.c_str(), &by_name, AT_SYMLINK_NOFOLLOW) == 0 &&
         ::fstat(directory, &by_fd) == 0 && by_name.st_ino == by_fd.st_ino;
}

// Makes a directory and locks it. The lock is on the open file, which the launcher gets too: it is
// free when both are gone.
Result<sys::UniqueFd> MakeLockedDirectory(int parent, const std::string& name) {
  constexpr int kAttempts = 10;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    if (::mkdirat(parent, name.c_str(), 0755) != 0 && errno != EEXIST)
      return ErrnoError(errno, "making a group");
    auto fd = sys::OpenAt(parent, name, O_RDONLY | O_DIRECTORY);
    // Another process may sweep it away between the two.
    if (fd && TryLock(fd->get()) && IsStillThere(parent, name, fd->get())) return fd;
  }
  return Err(ErrorCode::kBusy, "making a group: it is swept away again and again");
}

// Removes what a host and a launcher that both died have left: directories that nobody has locked.
void SweepAbandoned(int parent) {
  const auto names = sys::ListDirectory(parent);
  if (!names) return;
  for (const std::string& name : *names) {
    if (!name.starts_with(kDirectoryPrefix)) continue;
    const auto directory = sys::OpenAt(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (!directory || !TryLock(directory->get())) continue;
    const auto groups = sys::ListDirectory(directory->get());
    if (!groups) continue;
    // Files of a group are no directories and stay; one with a process in it stays too.
    for (const std::string& group : *groups)
      ::unlinkat(directory->get(), group.c_str(), AT_REMOVEDIR);
    ::unlinkat(parent, name.c_str(), AT_REMOVEDIR);
  }
}

}  // namespace

Status CgroupRoot::Add(std::string name, const std::string& mount_point, const std::string& path) {
  ASSIGN_OR_RETURN(sys::UniqueFd parent, sys::Open(mount_point + path, O_RDONLY | O_DIRECTORY));
  if (!IsCgroupFileSystem(parent.get(), is_v2_))
    return Reason("'" + mount_point + "' looks like a cgroup hierarchy and is none");
  SweepAbandoned(parent.get());
  auto fd = MakeLockedDirectory(parent.get(), directory_name_);
  if (!fd) return Reason(fd.error().With("below '" + mount_point + path + "'").message);
  const std::string full = (path == "/" ? "" : path) + "/" + directory_name_;
  hierarchies_.push_back({std::move(name), full, std::move(parent), std::move(*fd)});
  return {};
}

Result<CgroupRoot> CgroupRoot::OpenV1() {
  ASSIGN_OR_RETURN(const std::string mountinfo, sys::ReadFile("/proc/self/mountinfo", 4 << 20));
  ASSIGN_OR_RETURN(const std::string own, sys::ReadFile("/proc/self/cgroup"));
  const auto mounts = ParseCgroupMounts(mountinfo);
  CgroupRoot root;
  for (const char* controller : {"memory", "pids", "cpu", "freezer"}) {
    const CgroupMount* mount = FindMount(mounts, controller);
    const auto path = ParseCgroupPath(own, controller);
    if (mount == nullptr || !path)
      return Reason("the " + std::string(controller) + " controller is not mounted");
    RETURN_IF_ERROR(root.Add(controller, mount->mount_point, BelowMount(*mount, *path)));
  }
  return root;
}

namespace {

bool HasWord(std::string_view text, std::string_view word) {
  for (const std::string_view line : Split(text, '\n'))
    for (const std::string_view part : Split(line, ' '))
      if (part == word) return true;
  return false;
}

// Version 2 gives controllers only to the children of a group without processes, so a host process
// that sits in the group itself moves to a leaf of its own first.
Status EnableControllers(int directory, bool is_hierarchy_root) {
  constexpr std::string_view kNeeded = "+memory +pids +cpu";
  ASSIGN_OR_RETURN(const std::string enabled, sys::ReadFileAt(directory, "cgroup.subtree_control"));
  if (HasWord(enabled, "memory") && HasWord(enabled, "pids") && HasWord(enabled, "cpu")) return {};
  if (!is_hierarchy_root) {
    if (::mkdirat(directory, "cofferdam-host", 0755) != 0 && errno != EEXIST)
      return ErrnoError(errno, "making a group for the host process");
    RETURN_IF_ERROR(sys::WriteFileAt(directory, "cofferdam-host/cgroup.procs", "0"));
  }
  return sys::WriteFileAt(directory, "cgroup.subtree_control", kNeeded);
}

}  // namespace

Result<CgroupRoot> CgroupRoot::OpenV2() {
  ASSIGN_OR_RETURN(const std::string mountinfo, sys::ReadFile("/proc/self/mountinfo", 4 << 20));
  ASSIGN_OR_RETURN(const std::string own, sys::ReadFile("/proc/self/cgroup"));
  const auto mounts = ParseCgroupMounts(mountinfo);
  const CgroupMount* mount = FindMount(mounts, "");
  auto path = ParseCgroupPath(own, "");
  if (mount == nullptr || !path) return Reason("cgroup version 2 is not mounted");
  // Another platform of this process's group may have moved it to the leaf before.
  constexpr std::string_view kLeaf = "/cofferdam-host";
  if (path->ends_with(kLeaf)) path->resize(path->size() - kLeaf.size());
  if (path->empty()) *path = "/";
  const std::string below = BelowMount(*mount, *path);
  ASSIGN_OR_RETURN(const sys::UniqueFd group,
                   sys::Open(mount->mount_point + below, O_RDONLY | O_DIRECTORY));
  ASSIGN_OR_RETURN(const std::string offered, sys::ReadFileAt(group.get(), "cgroup.controllers"));
  if (!HasWord(offered, "memory") || !HasWord(offered, "pids") || !HasWord(offered, "cpu"))
    return Reason("cgroup version 2 offers only: " + Trimmed(offered));
  const Status enabled = EnableControllers(group.get(), below == "/");
  if (!enabled) return Reason(enabled.error().message);
  CgroupRoot root;
  root.is_v2_ = true;
  RETURN_IF_ERROR(root.Add("unified", mount->mount_point, below));
  RETURN_IF_ERROR(sys::WriteFileAt(root.hierarchies_[0].directory.get(), "cgroup.subtree_control",
                                   "+memory +pids +cpu"));
  return root;
}

Result<CgroupRoot> CgroupRoot::Open() {
  auto v2 = OpenV2();
  if (v2) return v2;
  auto v1 = OpenV1();
  if (v1) return v1;
  return Missing(v2.error().message + "; " + v1.error().message);
}

Result<Cgroup> CgroupRoot::Make(const std::string& name, const Limits& limits) const {
  CHECK(name.find('/') == std::string::npos);
  Cgroup group;
  group.is_v2_ = is_v2_;
  group.limits_ = limits;
  for (const Hierarchy& hierarchy : hierarchies_) {
    sys::UniqueFd parent(::fcntl(hierarchy.directory.get(), F_DUPFD_CLOEXEC, 0));
    if (!parent.valid()) return ErrnoError(errno, "making a cgroup");
    if (::mkdirat(parent.get(), name.c_str(), 0755) != 0)
      return ErrnoError(errno, "making a cgroup");
    group.parts_.push_back(
        {hierarchy.name, hierarchy.path + "/" + name, std::move(parent), name, sys::UniqueFd()});
    ASSIGN_OR_RETURN(group.parts_.back().directory,
                     sys::OpenAt(group.parts_.back().parent.get(), name, O_RDONLY | O_DIRECTORY));
  }
  RETURN_IF_ERROR(group.Apply());
  return group;
}

std::vector<int> CgroupRoot::Descriptors() const {
  std::vector<int> fds;
  for (const Hierarchy& hierarchy : hierarchies_) {
    fds.push_back(hierarchy.parent.get());
    fds.push_back(hierarchy.directory.get());
  }
  return fds;
}

CgroupRoot::~CgroupRoot() {
  for (const Hierarchy& hierarchy : hierarchies_)
    ::unlinkat(hierarchy.parent.get(), directory_name_.c_str(), AT_REMOVEDIR);
}

// ---- Cgroup

Cgroup& Cgroup::operator=(Cgroup&& other) noexcept {
  if (this != &other) {
    static_cast<void>(Remove(Deadline::After(std::chrono::seconds(2))));
    is_v2_ = other.is_v2_;
    limits_ = other.limits_;
    parts_ = std::move(other.parts_);
    other.parts_.clear();
  }
  return *this;
}

Cgroup::~Cgroup() { static_cast<void>(Remove(Deadline::After(std::chrono::seconds(2)))); }

const Cgroup::Part* Cgroup::Find(std::string_view hierarchy) const {
  for (const Part& part : parts_)
    if (part.hierarchy == hierarchy || part.hierarchy == "unified") return &part;
  CHECK(false && "a hierarchy that was not set up");
}

Status Cgroup::Apply() {
  const int memory = Find("memory")->directory.get();
  const int pids = Find("pids")->directory.get();
  const int cpu = Find("cpu")->directory.get();
  const std::string bytes = std::to_string(limits_.memory_bytes);
  if (is_v2_) {
    RETURN_IF_ERROR(WriteLimit(memory, "memory.max", bytes));
    // Absent where the kernel has no swap accounting; there is no swap to limit then.
    static_cast<void>(WriteLimit(memory, "memory.swap.max", "0"));
    if (limits_.cpu_millis_per_second > 0)
      RETURN_IF_ERROR(
          WriteLimit(cpu, "cpu.max", CpuQuota(limits_) + " " + std::to_string(kCpuPeriodMicros)));
  } else {
    RETURN_IF_ERROR(WriteLimit(memory, "memory.limit_in_bytes", bytes));
    const auto swap = WriteLimit(memory, "memory.memsw.limit_in_bytes", bytes);
    if (!swap && swap.error().sys_errno != ENOENT) return swap;
    if (limits_.cpu_millis_per_second > 0) {
      RETURN_IF_ERROR(WriteLimit(cpu, "cpu.cfs_period_us", std::to_string(kCpuPeriodMicros)));
      RETURN_IF_ERROR(WriteLimit(cpu, "cpu.cfs_quota_us", CpuQuota(limits_)));
    }
  }
  return WriteLimit(pids, "pids.max", std::to_string(limits_.processes));
}

Result<std::vector<sys::UniqueFd>> Cgroup::OpenJoinFiles() const {
  std::vector<sys::UniqueFd> files;
  for (const Part& part : parts_) {
    // A thread that moves itself needs no lock on all thread groups, which costs 10 ms to take. The
    // start code has one thread; version 2 knows no such file for an ordinary group.
    const char* file_name = is_v2_ ? "cgroup.procs" : "tasks";
    ASSIGN_OR_RETURN(sys::UniqueFd file, sys::OpenAt(part.directory.get(), file_name, O_WRONLY));
    files.push_back(std::move(file));
  }
  return files;
}

Result<std::string> Cgroup::Verify(pid_t pid) const {
  ASSIGN_OR_RETURN(const std::string groups,
                   sys::ReadFile("/proc/" + std::to_string(pid) + "/cgroup"));
  for (const Part& part : parts_) {
    const auto path = ParseCgroupPath(groups, is_v2_ ? "" : part.hierarchy);
    if (path != part.path)
      return Err(ErrorCode::kNotVerified, "the worker is in " + part.hierarchy + " group '" +
                                              path.value_or("?") + "' instead of '" + part.path +
                                              "'");
  }
  RETURN_IF_ERROR(ExpectLimit(Find("memory")->directory.get(),
                              is_v2_ ? "memory.max" : "memory.limit_in_bytes",
                              PageRounded(limits_.memory_bytes)));
  RETURN_IF_ERROR(
      ExpectLimit(Find("pids")->directory.get(), "pids.max", std::to_string(limits_.processes)));
  std::string cpu = "cpu unlimited";
  if (limits_.cpu_millis_per_second > 0) {
    const std::string quota = CpuQuota(limits_);
    RETURN_IF_ERROR(ExpectLimit(Find("cpu")->directory.get(),
                                is_v2_ ? "cpu.max" : "cpu.cfs_quota_us",
                                is_v2_ ? quota + " " + std::to_string(kCpuPeriodMicros) : quota));
    cpu = "cpu " + quota + "us of " + std::to_string(kCpuPeriodMicros) + "us";
  }
  return std::string(is_v2_ ? "v2" : "v1") + ": memory " + PageRounded(limits_.memory_bytes) +
         ", pids " + std::to_string(limits_.processes) + ", " + cpu;
}

Result<CgroupEvents> Cgroup::Events() const {
  CgroupEvents events;
  ASSIGN_OR_RETURN(const std::string memory,
                   sys::ReadFileAt(Find("memory")->directory.get(),
                                   is_v2_ ? "memory.events" : "memory.oom_control"));
  events.out_of_memory_kills = NumberAfter(memory, "oom_kill");
  ASSIGN_OR_RETURN(const std::string pids,
                   sys::ReadFileAt(Find("pids")->directory.get(), "pids.events"));
  events.refused_forks = NumberAfter(pids, "max");
  return events;
}

Status Cgroup::Freeze() {
  return sys::WriteFileAt(Find("freezer")->directory.get(),
                          is_v2_ ? "cgroup.freeze" : "freezer.state", is_v2_ ? "1" : "FROZEN");
}

Status Cgroup::Thaw() {
  return sys::WriteFileAt(Find("freezer")->directory.get(),
                          is_v2_ ? "cgroup.freeze" : "freezer.state", is_v2_ ? "0" : "THAWED");
}

Status Cgroup::Remove(Deadline deadline) {
  while (!parts_.empty()) {
    const Part& part = parts_.back();
    if (::unlinkat(part.parent.get(), part.name.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT) {
      parts_.pop_back();
    } else if (errno != EBUSY || deadline.Expired()) {
      return ErrnoError(errno, "removing cgroup '" + part.path + "'");
    } else {
      PauseBriefly();
    }
  }
  return {};
}

}  // namespace cofferdam::sandbox
