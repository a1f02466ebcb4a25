#include "sandbox/cgroup_place.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ranges>
#include <utility>

#include "base/split.h"
#include "sys/fd.h"
#include "sys/file.h"

namespace cofferdam::sandbox {
namespace {

constexpr std::size_t kMaxMountinfo = 4 << 20;

std::unexpected<Error> Reason(std::string why) {
  return Err(ErrorCode::kUnsupported, std::move(why));
}

bool IsAtOrBelow(std::string_view path, std::string_view above) {
  if (above == "/" || path == above) return true;
  return path.starts_with(above) && path[above.size()] == '/';
}

bool Serves(const CgroupMount& mount, std::string_view controller) {
  if (controller.empty()) return mount.is_v2;
  return std::ranges::find(mount.controllers, controller) != mount.controllers.end();
}

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

std::optional<CgroupPlace> LocateCgroup(const std::vector<CgroupMount>& mounts,
                                        std::string_view controller, const std::string& path) {
  for (const CgroupMount& mount : std::views::reverse(mounts)) {
    if (!Serves(mount, controller) || !IsAtOrBelow(path, mount.root)) continue;
    const std::string below = mount.root == "/" ? path : path.substr(mount.root.size());
    return CgroupPlace{below == "/" ? mount.mount_point : mount.mount_point + below, path};
  }
  return std::nullopt;
}

Result<CgroupPlace> OwnCgroupV1(std::string_view controller) {
  ASSIGN_OR_RETURN(const std::string mountinfo,
                   sys::ReadFile("/proc/self/mountinfo", kMaxMountinfo));
  ASSIGN_OR_RETURN(const std::string own, sys::ReadFile("/proc/self/cgroup"));
  const auto path = ParseCgroupPath(own, controller);
  auto place = path ? LocateCgroup(ParseCgroupMounts(mountinfo), controller, *path) : std::nullopt;
  if (!place) return Reason("the " + std::string(controller) + " controller is not mounted");
  return *place;
}

bool HasWord(std::string_view text, std::string_view word) {
  for (const std::string_view line : Split(text, '\n')) {
    const auto words = Split(line, ' ');
    if (std::ranges::find(words, word) != words.end()) return true;
  }
  return false;
}

// ---- Version 2

namespace {

bool HasNeeded(std::string_view controllers) {
  return HasWord(controllers, "memory") && HasWord(controllers, "pids");
}

// What is left out here because the group does not have it, a sandbox with such a limit is told.
void EnableOthers(int group) {
  for (const char* controller : {"+cpu", "+io"})
    static_cast<void>(sys::WriteFileAt(group, "cgroup.subtree_control", controller));
}

Status EnableNeeded(int group) {
  return sys::WriteFileAt(group, "cgroup.subtree_control", "+memory +pids");
}

// The pids of others; 0 stands for processes outside this pid namespace.
Result<std::size_t> CountOthers(int group) {
  ASSIGN_OR_RETURN(const std::string text, sys::ReadFileAt(group, "cgroup.procs"));
  const std::string own = std::to_string(::getpid());
  const auto pids = SplitNonEmpty(text, '\n');
  return pids.size() - static_cast<std::size_t>(std::ranges::count(pids, own));
}

Status MoveToLeafAndEnable(int group) {
  const std::string leaf = kHostLeaf;
  if (::mkdirat(group, kHostLeaf, 0755) != 0 && errno != EEXIST)
    return ErrnoError(errno, "making a group for the host process");
  RETURN_IF_ERROR(sys::WriteFileAt(group, leaf + "/cgroup.procs", "0"));
  Status enabled = EnableNeeded(group);
  if (!enabled) {
    // Somebody has come in between, or the group is of a kind that cannot: all as it was.
    static_cast<void>(sys::WriteFileAt(group, "cgroup.procs", "0"));
    ::unlinkat(group, kHostLeaf, AT_REMOVEDIR);
  }
  return enabled;
}

Status PrepareOwn(const CgroupPlace& place) {
  ASSIGN_OR_RETURN(const sys::UniqueFd group, sys::Open(place.directory, O_RDONLY | O_DIRECTORY));
  ASSIGN_OR_RETURN(const std::string offered, sys::ReadFileAt(group.get(), "cgroup.controllers"));
  if (!HasNeeded(offered))
    return Reason("it offers only '" + offered.substr(0, offered.find('\n')) + "'");
  ASSIGN_OR_RETURN(const std::string given, sys::ReadFileAt(group.get(), "cgroup.subtree_control"));
  // The root of the hierarchy alone has no such file, and may have processes and children.
  const bool is_root = ::faccessat(group.get(), "cgroup.type", F_OK, 0) != 0;
  if (is_root) {
    RETURN_IF_ERROR(EnableNeeded(group.get()));
  } else if (!HasNeeded(given)) {
    ASSIGN_OR_RETURN(const std::size_t others, CountOthers(group.get()));
    if (others > 0)
      return Reason(std::to_string(others) + " other processes are in it and are not to be moved");
    RETURN_IF_ERROR(MoveToLeafAndEnable(group.get()));
  }
  EnableOthers(group.get());
  return {};
}

Status CheckAbove(const CgroupPlace& place) {
  ASSIGN_OR_RETURN(const sys::UniqueFd group, sys::Open(place.directory, O_RDONLY | O_DIRECTORY));
  ASSIGN_OR_RETURN(const std::string given, sys::ReadFileAt(group.get(), "cgroup.subtree_control"));
  if (!HasNeeded(given)) return Reason("it gives its groups no memory and pids controllers");
  // Whoever moves a process needs to write this file of the group above both places.
  for (const char* file : {".", "cgroup.procs"})
    if (::faccessat(group.get(), file, W_OK, AT_EACCESS) != 0)
      return Reason("it is not this user's");
  return {};
}

}  // namespace

Result<CgroupPlace> PrepareCgroupV2() {
  ASSIGN_OR_RETURN(const std::string mountinfo,
                   sys::ReadFile("/proc/self/mountinfo", kMaxMountinfo));
  ASSIGN_OR_RETURN(const std::string own, sys::ReadFile("/proc/self/cgroup"));
  const auto mounts = ParseCgroupMounts(mountinfo);
  auto path = ParseCgroupPath(own, "");
  if (!path) return Reason("cgroup version 2 is not mounted");
  // Another launcher of this process may have moved it to the leaf before.
  const std::string leaf = std::string("/") + kHostLeaf;
  if (path->ends_with(leaf)) path->resize(path->size() - leaf.size());
  if (path->empty()) *path = "/";
  auto place = LocateCgroup(mounts, "", *path);
  if (!place) return Reason("cgroup version 2 is not mounted");
  const Status prepared = PrepareOwn(*place);
  if (prepared) return *place;
  for (std::string above = *path; above != "/";) {
    above.resize(std::max<std::size_t>(above.rfind('/'), 1));
    const auto higher = LocateCgroup(mounts, "", above);
    if (higher && CheckAbove(*higher)) return *higher;
  }
  return Reason("group '" + *path + "' of version 2 cannot be used: " + prepared.error().message +
                "; nor can a group above");
}

}  // namespace cofferdam::sandbox
