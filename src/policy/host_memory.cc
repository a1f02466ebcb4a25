#include "policy/host_memory.h"

#include <algorithm>
#include <charconv>
#include <string>

#include "base/split.h"
#include "sandbox/cgroup.h"
#include "sys/file.h"

namespace cofferdam::policy {
namespace {

constexpr std::uint64_t kMaxSlots = 1024;

std::optional<std::uint64_t> LeadingNumber(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) return std::nullopt;
  return number;
}

std::optional<std::uint64_t> NumberAfter(std::string_view text, std::string_view key) {
  for (const std::string_view line : Split(text, '\n'))
    if (line.starts_with(key)) return LeadingNumber(line.substr(key.size()));
  return std::nullopt;
}

// A number in a control group's file; nothing when there is no such file or it says "max".
std::optional<std::uint64_t> GroupNumber(const std::string& file) {
  const auto text = sys::ReadFile(file);
  return text ? LeadingNumber(*text) : std::nullopt;
}

struct GroupFiles {
  const char* limit;
  const char* usage;
  const char* reclaimable;  // in memory.stat
};
constexpr GroupFiles kVersion1 = {"/memory.limit_in_bytes", "/memory.usage_in_bytes",
                                  "total_inactive_file "};
constexpr GroupFiles kVersion2 = {"/memory.max", "/memory.current", "inactive_file "};

// Lowers `memory` to what the group at `directory` has.
void LowerTo(const std::string& directory, const GroupFiles& files, HostMemory& memory) {
  const auto limit = GroupNumber(directory + files.limit);
  const auto usage = GroupNumber(directory + files.usage);
  if (!limit || !usage || *limit >= memory.total) return;
  const auto stat = sys::ReadFile(directory + "/memory.stat");
  // Files that were read once can go at any time; they do not count as used.
  const std::uint64_t can_go = stat ? NumberAfter(*stat, files.reclaimable).value_or(0) : 0;
  const std::uint64_t used = *usage - std::min(*usage, can_go);
  memory.total = *limit;
  memory.available = std::min(memory.available, *limit - std::min(*limit, used));
}

// Every group from this process's own up to the root of what is mounted can have the limit.
void LowerToGroups(const sandbox::CgroupMount& mount, std::string path, HostMemory& memory) {
  if (mount.root != "/" && path.starts_with(mount.root)) path.erase(0, mount.root.size());
  for (;;) {
    LowerTo(mount.mount_point + path, mount.is_v2 ? kVersion2 : kVersion1, memory);
    const std::size_t slash = path.rfind('/');
    if (slash == std::string::npos) return;
    path.resize(slash);
  }
}

}  // namespace

std::optional<HostMemory> ParseMemInfo(std::string_view text) {
  const auto total = NumberAfter(text, "MemTotal:");
  const auto available = NumberAfter(text, "MemAvailable:");
  if (!total || !available) return std::nullopt;
  constexpr std::uint64_t kKiB = 1024;
  return HostMemory{*total * kKiB, *available * kKiB};
}

Result<HostMemory> ReadHostMemory() {
  ASSIGN_OR_RETURN(const std::string text, sys::ReadFile("/proc/meminfo"));
  auto memory = ParseMemInfo(text);
  if (!memory) return Err(ErrorCode::kMalformed, "/proc/meminfo does not say what is available");
  ASSIGN_OR_RETURN(const std::string mounts, sys::ReadFile("/proc/self/mountinfo", 4 << 20));
  ASSIGN_OR_RETURN(const std::string groups, sys::ReadFile("/proc/self/cgroup"));
  for (const sandbox::CgroupMount& mount : sandbox::ParseCgroupMounts(mounts)) {
    const bool has_memory =
        std::ranges::find(mount.controllers, "memory") != mount.controllers.end();
    if (!mount.is_v2 && !has_memory) continue;
    if (const auto path = sandbox::ParseCgroupPath(groups, mount.is_v2 ? "" : "memory"))
      LowerToGroups(mount, *path, *memory);
  }
  return *memory;
}

std::size_t SlotsFor(const HostMemory& memory) {
  return std::clamp<std::uint64_t>(memory.available / 4 * 3 / kExpectedSandboxBytes, 1, kMaxSlots);
}

bool IsShort(const HostMemory& memory) { return memory.available < memory.total / 10; }

}  // namespace cofferdam::policy
