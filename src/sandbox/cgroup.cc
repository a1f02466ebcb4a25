#include "sandbox/cgroup.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
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
#include "sys/flock.h"

namespace cofferdam::sandbox {
namespace {

constexpr std::string_view kDirectoryPrefix = "cofferdam-";
constexpr std::uint64_t kCpuPeriodMicros = 100'000;
constexpr std::chrono::seconds kSweepTimeout{2};
constexpr char kRemedy[] =
    "start it in a group of its own, `systemd-run --user --scope -p Delegate=yes COMMAND` (as root "
    "without --user), or accept the risk with --allow-missing=cgroup";

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

// The kernel's usual weight is 100, its usual shares are 1024.
constexpr std::uint64_t kUsualWeight = 100;

std::string CpuWeight(const Limits& limits) {
  return std::to_string(limits.cpu_weight > 0 ? limits.cpu_weight : kUsualWeight);
}

std::string CpuShares(const Limits& limits) {
  constexpr std::uint64_t kUsualShares = 1024;
  constexpr std::uint64_t kFewestShares = 2;
  const std::uint64_t weight = limits.cpu_weight > 0 ? limits.cpu_weight : kUsualWeight;
  return std::to_string(std::max(kFewestShares, weight * kUsualShares / kUsualWeight));
}

std::string Device(const IoLimit& limit) {
  return std::to_string(limit.major) + ":" + std::to_string(limit.minor);
}

// As the kernel prints it.
std::string IoMax(const IoLimit& limit) {
  const auto text = [](std::uint64_t value) {
    return value > 0 ? std::to_string(value) : std::string("max");
  };
  return "rbps=" + text(limit.read_bytes) + " wbps=" + text(limit.write_bytes) +
         " riops=" + text(limit.read_operations) + " wiops=" + text(limit.write_operations);
}

std::array<std::pair<const char*, std::uint64_t>, 4> ThrottleFiles(const IoLimit& limit) {
  return {{{"blkio.throttle.read_bps_device", limit.read_bytes},
           {"blkio.throttle.write_bps_device", limit.write_bytes},
           {"blkio.throttle.read_iops_device", limit.read_operations},
           {"blkio.throttle.write_iops_device", limit.write_operations}}};
}

std::string Describe(const Limits& limits) {
  std::string text = ": memory " + PageRounded(limits.memory_bytes);
  if (limits.memory_high_bytes > 0) text += ", high " + PageRounded(limits.memory_high_bytes);
  text += ", pids " + std::to_string(limits.processes);
  text += limits.cpu_millis_per_second > 0
              ? ", cpu " + CpuQuota(limits) + "us of " + std::to_string(kCpuPeriodMicros) + "us"
              : ", cpu unlimited";
  if (limits.cpu_weight > 0) text += ", weight " + CpuWeight(limits);
  for (const IoLimit& limit : limits.io) text += ", device " + Device(limit) + " " + IoMax(limit);
  return text;
}

// "some avg10=0.00 avg60=0.00 avg300=0.00 total=123"
std::optional<std::uint64_t> SomePressureMicros(std::string_view text) {
  constexpr std::string_view kTotal = "total=";
  const std::string_view line = text.substr(0, text.find('\n'));
  const std::size_t at = line.find(kTotal);
  std::uint64_t micros = 0;
  if (!line.starts_with("some ") || at == std::string_view::npos) return std::nullopt;
  std::from_chars(line.data() + at + kTotal.size(), line.data() + line.size(), micros);
  return micros;
}

// The kernel lets go of an ended process's group a moment after its end; there is nothing to wait
// on.
void PauseBriefly() { ::poll(nullptr, 0, 1); }

}  // namespace

// ---- CgroupRoot

CgroupRoot::CgroupRoot() : directory_name_(std::string(kDirectoryPrefix) + NewId(SystemClock())) {}

namespace {

bool IsStillThere(int parent, const std::string& name, int directory) {
  struct stat by_name;
  struct stat by_fd;
  return ::fstatat(parent, name.c_str(), &by_name, AT_SYMLINK_NOFOLLOW) == 0 &&
         ::fstat(directory, &by_fd) == 0 && by_name.st_ino == by_fd.st_ino;
}

// Makes a directory and locks it. The lock is on the open file, which the launcher gets too: it is
// free when both are gone.
Result<sys::UniqueFd> MakeLockedDirectory(int parent, const std::string& name) {
  constexpr int kAttempts = 100;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    if (::mkdirat(parent, name.c_str(), 0755) != 0 && errno != EEXIST)
      return ErrnoError(errno, "making a group");
    auto fd = sys::OpenAt(parent, name, O_RDONLY | O_DIRECTORY);
    // Each process that starts at the same time may sweep it away once before it is ours; whoever
    // has it locked sweeps, and will be done.
    if (fd && sys::Flock(fd->get(), LOCK_EX) && IsStillThere(parent, name, fd->get())) return fd;
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
    if (!name.starts_with(kDirectoryPrefix) || name == kHostLeaf) continue;
    const auto directory = sys::OpenAt(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (!directory || !sys::Flock(directory->get(), LOCK_EX | LOCK_NB)) continue;
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

Status CgroupRoot::Add(std::string name, const CgroupPlace& place) {
  ASSIGN_OR_RETURN(sys::UniqueFd parent, sys::Open(place.directory, O_RDONLY | O_DIRECTORY));
  if (!IsCgroupFileSystem(parent.get(), is_v2_))
    return Reason("'" + place.directory + "' looks like a cgroup and is none");
  SweepAbandoned(parent.get());
  auto fd = MakeLockedDirectory(parent.get(), directory_name_);
  if (!fd) return Reason(fd.error().With("below '" + place.directory + "'").message);
  const std::string full = (place.path == "/" ? "" : place.path) + "/" + directory_name_;
  hierarchies_.push_back({std::move(name), full, std::move(parent), std::move(*fd)});
  return {};
}

Result<CgroupRoot> CgroupRoot::OpenV1() {
  CgroupRoot root;
  // The freezer first: where it is swept, what is frozen can end, and the others are empty then.
  for (const char* controller : {"freezer", "memory", "pids", "cpu"}) {
    ASSIGN_OR_RETURN(const CgroupPlace place, OwnCgroupV1(controller));
    RETURN_IF_ERROR(root.Add(controller, place));
  }
  // Needed by whoever names a device only.
  const auto io = OwnCgroupV1("blkio");
  if (io) static_cast<void>(root.Add("blkio", *io));
  return root;
}

Result<CgroupRoot> CgroupRoot::OpenV2() {
  ASSIGN_OR_RETURN(const CgroupPlace place, PrepareCgroupV2());
  CgroupRoot root;
  root.is_v2_ = true;
  RETURN_IF_ERROR(root.Add("unified", place));
  const int directory = root.hierarchies_[0].directory.get();
  ASSIGN_OR_RETURN(root.controllers_, sys::ReadFileAt(directory, "cgroup.controllers"));
  for (const char* name : {"memory", "pids", "cpu", "io"})
    if (root.HasController(name))
      RETURN_IF_ERROR(
          sys::WriteFileAt(directory, "cgroup.subtree_control", std::string("+") + name));
  return root;
}

bool CgroupRoot::HasController(std::string_view name) const {
  if (is_v2_) return HasWord(controllers_, name);
  return std::ranges::any_of(hierarchies_, [&](const Hierarchy& hierarchy) {
    return hierarchy.name == (name == "io" ? "blkio" : name);
  });
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
  RETURN_IF_ERROR(group.Apply({}, true));
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
      limits_(std::move(other.limits_)),
      before_(other.before_),
      cpu_micros_before_(other.cpu_micros_before_) {}

Cgroup& Cgroup::operator=(Cgroup&& other) noexcept {
  if (this != &other) {
    static_cast<void>(Remove(Deadline::After(std::chrono::seconds(2))));
    root_ = std::exchange(other.root_, nullptr);
    name_ = std::move(other.name_);
    limits_ = std::move(other.limits_);
    before_ = other.before_;
    cpu_micros_before_ = other.cpu_micros_before_;
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

// ---- Limits

Status Cgroup::SetLimits(const Limits& limits) {
  if (limits == limits_) return {};
  const Limits before = std::exchange(limits_, limits);
  return Apply(before, false);
}

Status Cgroup::WriteIfPresent(std::string_view hierarchy, const std::string& file,
                              const std::string& value) const {
  Status written = WriteControl(hierarchy, file, value);
  if (!written && written.error().code == ErrorCode::kNotFound) return {};
  return written;
}

Status Cgroup::Apply(const Limits& before, bool is_new) const {
  RETURN_IF_ERROR(ApplyMemory(before, is_new));
  RETURN_IF_ERROR(ApplyCpu(before));
  RETURN_IF_ERROR(ApplyIo(before));
  return WriteControl("pids", "pids.max", std::to_string(limits_.processes));
}

Status Cgroup::ApplyMemory(const Limits& before, bool is_new) const {
  const std::string high = std::to_string(limits_.memory_high_bytes);
  const bool change_high = limits_.memory_high_bytes != before.memory_high_bytes;
  if (!root_->is_v2()) {
    RETURN_IF_ERROR(ApplyMemoryV1(is_new ? 0 : before.memory_bytes));
    if (!change_high) return {};
    return WriteControl("memory", "memory.soft_limit_in_bytes",
                        limits_.memory_high_bytes > 0 ? high : "-1");
  }
  RETURN_IF_ERROR(WriteControl("memory", "memory.max", std::to_string(limits_.memory_bytes)));
  // Absent where the kernel does not account for swap.
  if (is_new) RETURN_IF_ERROR(WriteIfPresent("memory", "memory.swap.max", "0"));
  if (!change_high) return {};
  return WriteControl("memory", "memory.high", limits_.memory_high_bytes > 0 ? high : "max");
}

// Version 1 keeps the limit on memory at or below that on memory and swap at every moment.
Status Cgroup::ApplyMemoryV1(std::uint64_t bytes_before) const {
  const std::string bytes = std::to_string(limits_.memory_bytes);
  const auto with_swap = [&] {
    // Absent where the kernel does not account for swap.
    return WriteIfPresent("memory", "memory.memsw.limit_in_bytes", bytes);
  };
  const bool rises = bytes_before != 0 && limits_.memory_bytes > bytes_before;
  if (rises) RETURN_IF_ERROR(with_swap());
  RETURN_IF_ERROR(WriteControl("memory", "memory.limit_in_bytes", bytes));
  return rises ? Status() : with_swap();
}

Status Cgroup::ApplyCpu(const Limits& before) const {
  const bool change_quota = limits_.cpu_millis_per_second != before.cpu_millis_per_second;
  const bool change_weight = limits_.cpu_weight != before.cpu_weight;
  if (!change_quota && !change_weight) return {};
  if (!root_->HasController("cpu"))
    return Missing("a limit on the processor needs the cpu controller");
  const bool has_quota = limits_.cpu_millis_per_second > 0;
  const std::string period = std::to_string(kCpuPeriodMicros);
  if (root_->is_v2()) {
    if (change_quota)
      RETURN_IF_ERROR(
          WriteControl("cpu", "cpu.max", (has_quota ? CpuQuota(limits_) : "max") + " " + period));
    return change_weight ? WriteControl("cpu", "cpu.weight", CpuWeight(limits_)) : Status();
  }
  if (change_quota) {
    RETURN_IF_ERROR(WriteControl("cpu", "cpu.cfs_period_us", period));
    RETURN_IF_ERROR(WriteControl("cpu", "cpu.cfs_quota_us", has_quota ? CpuQuota(limits_) : "-1"));
  }
  return change_weight ? WriteControl("cpu", "cpu.shares", CpuShares(limits_)) : Status();
}

Status Cgroup::ApplyIo(const Limits& before) const {
  if (limits_.io == before.io) return {};
  if (!root_->HasController("io")) return Missing("a limit on a device needs the io controller");
  for (const IoLimit& old : before.io)
    RETURN_IF_ERROR(WriteIo({.major = old.major, .minor = old.minor}));
  for (const IoLimit& limit : limits_.io) {
    const Status written = WriteIo(limit);
    if (!written) return std::unexpected(written.error().With("limiting device " + Device(limit)));
  }
  return {};
}

Status Cgroup::WriteIo(const IoLimit& limit) const {
  if (root_->is_v2()) return WriteControl("io", "io.max", Device(limit) + " " + IoMax(limit));
  for (const auto& [file, value] : ThrottleFiles(limit))
    RETURN_IF_ERROR(WriteControl("blkio", file, Device(limit) + " " + std::to_string(value)));
  return {};
}

// ---- What is in force

Status Cgroup::ExpectMemory() const {
  const bool is_v2 = root_->is_v2();
  const std::string bytes = PageRounded(limits_.memory_bytes);
  const char* with_swap = is_v2 ? "memory.swap.max" : "memory.memsw.limit_in_bytes";
  RETURN_IF_ERROR(ExpectControl("memory", is_v2 ? "memory.max" : "memory.limit_in_bytes", bytes));
  const Status swap = ExpectControl("memory", with_swap, is_v2 ? "0" : bytes);
  if (!swap && swap.error().code != ErrorCode::kNotFound) return swap;
  if (limits_.memory_high_bytes == 0) return {};
  return ExpectControl("memory", is_v2 ? "memory.high" : "memory.soft_limit_in_bytes",
                       PageRounded(limits_.memory_high_bytes));
}

Status Cgroup::ExpectCpu() const {
  const bool is_v2 = root_->is_v2();
  if (limits_.cpu_millis_per_second > 0) {
    const std::string quota = CpuQuota(limits_);
    RETURN_IF_ERROR(ExpectControl("cpu", is_v2 ? "cpu.max" : "cpu.cfs_quota_us",
                                  is_v2 ? quota + " " + std::to_string(kCpuPeriodMicros) : quota));
  }
  if (limits_.cpu_weight == 0) return {};
  return is_v2 ? ExpectControl("cpu", "cpu.weight", CpuWeight(limits_))
               : ExpectControl("cpu", "cpu.shares", CpuShares(limits_));
}

Status Cgroup::ExpectIo(const IoLimit& limit) const {
  const auto expect_line = [&](std::string_view hierarchy, const std::string& file,
                               const std::string& line) -> Status {
    ASSIGN_OR_RETURN(const std::string text, ReadControl(hierarchy, file));
    const auto lines = Split(text, '\n');
    if (std::ranges::find(lines, line) != lines.end()) return {};
    return Err(ErrorCode::kNotVerified, file + " has no line '" + line + "'");
  };
  if (root_->is_v2()) return expect_line("io", "io.max", Device(limit) + " " + IoMax(limit));
  for (const auto& [file, value] : ThrottleFiles(limit))
    if (value > 0)
      RETURN_IF_ERROR(expect_line("blkio", file, Device(limit) + " " + std::to_string(value)));
  return {};
}

// ---- Processes

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

Result<sys::UniqueFd> Cgroup::OpenDirectory() const {
  CHECK(root_->is_v2());
  return sys::OpenAt(root_->Find("unified").directory.get(), name_, O_RDONLY | O_DIRECTORY);
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
  RETURN_IF_ERROR(ExpectMemory());
  RETURN_IF_ERROR(ExpectControl("pids", "pids.max", std::to_string(limits_.processes)));
  RETURN_IF_ERROR(ExpectCpu());
  for (const IoLimit& limit : limits_.io) RETURN_IF_ERROR(ExpectIo(limit));
  return std::string(is_v2 ? "v2" : "v1") + Describe(limits_);
}

// ---- What was counted

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

// Of version 1 only where cpuacct lies in the same hierarchy as cpu.
std::optional<std::uint64_t> Cgroup::CountedCpuMicros() const {
  const auto text = ReadControl("cpu", root_->is_v2() ? "cpu.stat" : "cpuacct.usage");
  if (!text) return std::nullopt;
  if (root_->is_v2()) return NumberAfter(*text, "usage_usec");
  return std::strtoull(text->c_str(), nullptr, 10) / 1000;
}

Result<CgroupUsage> Cgroup::Usage() const {
  CgroupUsage usage;
  ASSIGN_OR_RETURN(usage.events, Events());
  // Older kernels of version 2 know no peak.
  const std::string peak =
      ReadControl("memory", root_->is_v2() ? "memory.peak" : "memory.max_usage_in_bytes")
          .value_or("0");
  usage.memory_peak_bytes = std::strtoull(peak.c_str(), nullptr, 10);
  usage.cpu_micros = CountedCpuMicros();
  if (usage.cpu_micros) *usage.cpu_micros -= cpu_micros_before_;
  if (!root_->is_v2()) return usage;
  for (const auto& [file, total] : {std::pair{"memory.pressure", &usage.memory_pressure_micros},
                                    {"cpu.pressure", &usage.cpu_pressure_micros},
                                    {"io.pressure", &usage.io_pressure_micros}}) {
    // Absent where the kernel counts none.
    const auto text = ReadControl("unified", file);
    if (text) *total = SomePressureMicros(*text);
  }
  return usage;
}

Status Cgroup::Kill() {
  return root_->is_v2() ? WriteIfPresent("unified", "cgroup.kill", "1") : Status();
}

Status Cgroup::Freeze() {
  return WriteControl("freezer", root_->is_v2() ? "cgroup.freeze" : "freezer.state",
                      root_->is_v2() ? "1" : "FROZEN");
}

Status Cgroup::Thaw() {
  return WriteControl("freezer", root_->is_v2() ? "cgroup.freeze" : "freezer.state",
                      root_->is_v2() ? "0" : "THAWED");
}

Result<bool> Cgroup::IsFrozen() const {
  ASSIGN_OR_RETURN(const std::string state,
                   ReadControl("freezer", root_->is_v2() ? "cgroup.events" : "freezer.state"));
  return root_->is_v2() ? NumberAfter(state, "frozen") == 1 : Trimmed(state) == "FROZEN";
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
  cpu_micros_before_ = CountedCpuMicros().value_or(0);
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
