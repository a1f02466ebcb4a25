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
#include <cstdlib>
#include <utility>

#include "base/check.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/split.h"
#include "sys/cgroups.h"
#include "sys/file.h"

namespace cofferdam::sandbox {
namespace {

constexpr std::string_view kDirectoryPrefix = "cofferdam-";
constexpr std::uint64_t kCpuPeriodMicros = 100'000;
constexpr std::chrono::seconds kSweepTimeout{2};
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

// Kernel values are rounded down to pages.
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

// An ended process leaves its group a moment later.
void RemoveEmptied(int parent, const std::string& name, Deadline deadline) {
  while (::unlinkat(parent, name.c_str(), AT_REMOVEDIR) != 0 && errno == EBUSY &&
         !deadline.Expired())
    PauseBriefly();
}

// Removes what a host and a launcher that both died have left: directories that nobody has locked.
void SweepAbandoned(int parent) {
  const auto names = sys::ListDirectory(parent);
  if (!names) return;
  for (const std::string& name : *names) {
    if (!name.starts_with(kDirectoryPrefix)) continue;
    const auto directory = sys::OpenAt(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (!directory || !TryLock(directory->get())) continue;
    // Frozen sandboxes have outlived both.
    sys::KillGroups(directory->get());
    const auto groups = sys::ListDirectory(directory->get());
    if (!groups) continue;
    // Files of a group are no directories and stay.
    const Deadline deadline = Deadline::After(kSweepTimeout);
    for (const std::string& group : *groups) RemoveEmptied(directory->get(), group, deadline);
    RemoveEmptied(parent, name, deadline);
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
  // The freezer first: where it is swept, what is frozen can end, and the others are empty then.
  for (const char* controller : {"freezer", "memory", "pids", "cpu"}) {
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

Result<Cgroup> CgroupRoot::Make(const Limits& limits) const {
  const std::string name = "sandbox-" + std::to_string(made_->fetch_add(1));
  // What was made before a failure is removed with it.
  Cgroup group(this, name, limits);
  for (const Hierarchy& hierarchy : hierarchies_)
    if (::mkdirat(hierarchy.directory.get(), name.c_str(), 0755) != 0)
      return ErrnoError(errno, "making a cgroup");
  RETURN_IF_ERROR(group.Apply(0));
  return group;
}

const CgroupRoot::Hierarchy& CgroupRoot::Find(std::string_view name) const {
  for (const Hierarchy& hierarchy : hierarchies_)
    if (hierarchy.name == name || hierarchy.name == "unified") return hierarchy;
  CHECK(false && "a hierarchy that was not set up");
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

Cgroup::Cgroup(Cgroup&& other) noexcept
    : root_(std::exchange(other.root_, nullptr)),
      name_(std::move(other.name_)),
      limits_(other.limits_),
      before_(other.before_) {}

Cgroup& Cgroup::operator=(Cgroup&& other) noexcept {
  if (this != &other) {
    static_cast<void>(Remove(Deadline::After(std::chrono::seconds(2))));
    root_ = std::exchange(other.root_, nullptr);
    name_ = std::move(other.name_);
    limits_ = other.limits_;
    before_ = other.before_;
  }
  return *this;
}

Cgroup::~Cgroup() { static_cast<void>(Remove(Deadline::After(std::chrono::seconds(2)))); }

Result<std::string> Cgroup::ReadControl(std::string_view hierarchy, const std::string& file) const {
  return sys::ReadFileAt(root_->Find(hierarchy).directory.get(), name_ + "/" + file);
}

Status Cgroup::WriteControl(std::string_view hierarchy, const std::string& file,
                            const std::string& value) const {
  return sys::WriteFileAt(root_->Find(hierarchy).directory.get(), name_ + "/" + file, value);
}

Status Cgroup::ExpectControl(std::string_view hierarchy, const std::string& file,
                             const std::string& wanted) const {
  ASSIGN_OR_RETURN(const std::string text, ReadControl(hierarchy, file));
  if (Trimmed(text) == wanted) return {};
  return Err(ErrorCode::kNotVerified, file + " is " + Trimmed(text) + " instead of " + wanted);
}

Status Cgroup::SetLimits(const Limits& limits) {
  if (limits == limits_) return {};
  const std::uint64_t memory_bytes_before = limits_.memory_bytes;
  limits_ = limits;
  return Apply(memory_bytes_before);
}

// Version 1 keeps the limit on memory at or below that on memory and swap at every moment.
Status Cgroup::WriteMemoryLimit(std::uint64_t memory_bytes_before) const {
  const std::string bytes = std::to_string(limits_.memory_bytes);
  const auto with_swap = [&]() -> Status {
    const auto swap = WriteControl("memory", "memory.memsw.limit_in_bytes", bytes);
    // Absent where the kernel does not account for swap.
    if (!swap && swap.error().code != ErrorCode::kNotFound) return swap;
    return {};
  };
  const bool rises = memory_bytes_before != 0 && limits_.memory_bytes > memory_bytes_before;
  if (rises) RETURN_IF_ERROR(with_swap());
  RETURN_IF_ERROR(WriteControl("memory", "memory.limit_in_bytes", bytes));
  return rises ? Status() : with_swap();
}

Status Cgroup::Apply(std::uint64_t memory_bytes_before) {
  const std::string period = std::to_string(kCpuPeriodMicros);
  const bool has_quota = limits_.cpu_millis_per_second > 0;
  const bool is_new = memory_bytes_before == 0;
  if (root_->is_v2()) {
    RETURN_IF_ERROR(WriteControl("memory", "memory.max", std::to_string(limits_.memory_bytes)));
    // Absent where the kernel has no swap accounting; there is no swap to limit then.
    static_cast<void>(WriteControl("memory", "memory.swap.max", "0"));
    if (has_quota || !is_new)
      RETURN_IF_ERROR(
          WriteControl("cpu", "cpu.max", (has_quota ? CpuQuota(limits_) : "max") + " " + period));
  } else {
    RETURN_IF_ERROR(WriteMemoryLimit(memory_bytes_before));
    if (has_quota) RETURN_IF_ERROR(WriteControl("cpu", "cpu.cfs_period_us", period));
    if (has_quota || !is_new)
      RETURN_IF_ERROR(
          WriteControl("cpu", "cpu.cfs_quota_us", has_quota ? CpuQuota(limits_) : "-1"));
  }
  return WriteControl("pids", "pids.max", std::to_string(limits_.processes));
}

Result<std::vector<sys::UniqueFd>> Cgroup::OpenJoinFiles() const {
  std::vector<sys::UniqueFd> files;
  for (const CgroupRoot::Hierarchy& hierarchy : root_->hierarchies_) {
    // A thread that moves itself needs no lock on all thread groups, which costs 10 ms to take. A
    // zygote has one thread; version 2 knows no such file for an ordinary group.
    const char* file_name = root_->is_v2() ? "/cgroup.procs" : "/tasks";
    ASSIGN_OR_RETURN(sys::UniqueFd file,
                     sys::OpenAt(hierarchy.directory.get(), name_ + file_name, O_WRONLY));
    files.push_back(std::move(file));
  }
  return files;
}

Result<std::string> Cgroup::Verify(int proc) const {
  const bool is_v2 = root_->is_v2();
  ASSIGN_OR_RETURN(const std::string groups, sys::ReadFileAt(proc, "cgroup"));
  for (const CgroupRoot::Hierarchy& hierarchy : root_->hierarchies_) {
    const auto path = ParseCgroupPath(groups, is_v2 ? "" : hierarchy.name);
    const std::string wanted = hierarchy.path + "/" + name_;
    if (path != wanted)
      return Err(ErrorCode::kNotVerified, "the worker is in " + hierarchy.name + " group '" +
                                              path.value_or("?") + "' instead of '" + wanted + "'");
  }
  RETURN_IF_ERROR(ExpectControl("memory", is_v2 ? "memory.max" : "memory.limit_in_bytes",
                                PageRounded(limits_.memory_bytes)));
  RETURN_IF_ERROR(ExpectControl("pids", "pids.max", std::to_string(limits_.processes)));
  std::string cpu = "cpu unlimited";
  if (limits_.cpu_millis_per_second > 0) {
    const std::string quota = CpuQuota(limits_);
    RETURN_IF_ERROR(ExpectControl("cpu", is_v2 ? "cpu.max" : "cpu.cfs_quota_us",
                                  is_v2 ? quota + " " + std::to_string(kCpuPeriodMicros) : quota));
    cpu = "cpu " + quota + "us of " + std::to_string(kCpuPeriodMicros) + "us";
  }
  return std::string(is_v2 ? "v2" : "v1") + ": memory " + PageRounded(limits_.memory_bytes) +
         ", pids " + std::to_string(limits_.processes) + ", " + cpu;
}

Result<CgroupEvents> Cgroup::CountedEvents() const {
  CgroupEvents events;
  ASSIGN_OR_RETURN(const std::string memory,
                   ReadControl("memory", root_->is_v2() ? "memory.events" : "memory.oom_control"));
  events.out_of_memory_kills = NumberAfter(memory, "oom_kill");
  ASSIGN_OR_RETURN(const std::string pids, ReadControl("pids", "pids.events"));
  events.refused_forks = NumberAfter(pids, "max");
  return events;
}

Result<CgroupEvents> Cgroup::Events() const {
  ASSIGN_OR_RETURN(CgroupEvents events, CountedEvents());
  events.out_of_memory_kills -= before_.out_of_memory_kills;
  events.refused_forks -= before_.refused_forks;
  return events;
}

Status Cgroup::Freeze() {
  return WriteControl("freezer", root_->is_v2() ? "cgroup.freeze" : "freezer.state",
                      root_->is_v2() ? "1" : "FROZEN");
}

Status Cgroup::Thaw() {
  return WriteControl("freezer", root_->is_v2() ? "cgroup.freeze" : "freezer.state",
                      root_->is_v2() ? "0" : "THAWED");
}

Status Cgroup::Recycle(Deadline deadline) {
  // A new group of version 2 costs little, and the peak of an old one stays.
  if (root_->is_v2()) return Reason("groups of version 2 are made anew");
  for (;;) {
    ASSIGN_OR_RETURN(const std::string tasks, ReadControl("memory", "tasks"));
    if (tasks.empty()) break;
    if (deadline.Expired()) return Err(ErrorCode::kBusy, "there is still a process in the group");
    PauseBriefly();
  }
  RETURN_IF_ERROR(WriteControl("memory", "memory.force_empty", "0"));
  constexpr std::uint64_t kNothing = 1 << 20;
  ASSIGN_OR_RETURN(const std::string usage, ReadControl("memory", "memory.usage_in_bytes"));
  if (std::strtoull(usage.c_str(), nullptr, 10) > kNothing)
    return Err(ErrorCode::kBusy, "memory stays charged to the group");
  RETURN_IF_ERROR(WriteControl("memory", "memory.max_usage_in_bytes", "0"));
  ASSIGN_OR_RETURN(before_, CountedEvents());
  return {};
}

Status Cgroup::Remove(Deadline deadline) {
  if (root_ == nullptr) return {};
  const CgroupRoot* root = std::exchange(root_, nullptr);
  for (const CgroupRoot::Hierarchy& hierarchy : root->hierarchies_) {
    while (::unlinkat(hierarchy.directory.get(), name_.c_str(), AT_REMOVEDIR) != 0) {
      if (errno == ENOENT) break;
      if (errno != EBUSY || deadline.Expired())
        return ErrnoError(errno, "removing cgroup '" + hierarchy.path + "/" + name_ + "'");
      PauseBriefly();
    }
  }
  return {};
}

}  // namespace cofferdam::sandbox
