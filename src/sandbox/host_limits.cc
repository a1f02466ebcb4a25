#include "sandbox/host_limits.h"

#include <sys/resource.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <tuple>

#include "sys/file.h"

namespace cofferdam::sandbox {
namespace {

constexpr char kDescriptors[] = "RLIMIT_NOFILE";

struct Kind {
  const char* name;
  const char* takes;
  const char* shared_by;
  std::uint64_t each;
  /// What is not the sandboxes' to take: other programs', the host process's own, pools.
  std::uint64_t reserve;
};

constexpr Kind kKinds[] = {
    {kDescriptors, "a socket and a pidfd", "one host process", 2, 512},
    {"fs.inotify.max_user_instances", "one inotify instance, when a tool watches files", "one user",
     1, 0},
    {"kernel.keys.maxkeys", "one session keyring, when the host has one itself", "one user", 1, 0},
    {"kernel.pty.max", "one terminal, when a tool opens one", "the machine", 1, 0},
    {"kernel.pid_max", "three processes with a command in it", "the machine", 3, 1024},
    {"kernel.threads-max", "three threads with a command in it", "the machine", 3, 1024},
    {"user.max_user_namespaces", "one namespace", "one user", 1, 64},
    {"user.max_mnt_namespaces", "one namespace", "one user", 1, 64},
    {"user.max_pid_namespaces", "one namespace", "one user", 1, 64},
    {"user.max_net_namespaces", "one namespace", "one user", 1, 64},
    {"user.max_ipc_namespaces", "one namespace", "one user", 1, 64},
    {"user.max_uts_namespaces", "one namespace", "one user", 1, 64},
    {"user.max_cgroup_namespaces", "one namespace", "one user", 1, 64},
};

std::string RemedyFor(std::string_view name, std::uint64_t wanted) {
  const std::string number = std::to_string(wanted);
  if (name == kDescriptors)
    return "ulimit -Hn " + number + ", or LimitNOFILE=" + number + " of a systemd service";
  return "sysctl -w " + std::string(name) + "=" + number;
}

HostLimit LimitOf(const Kind& kind, std::uint64_t value, std::uint64_t reserve) {
  HostLimit limit{kind.name, value, kind.takes, kind.shared_by, 0, ""};
  limit.sandboxes = value > reserve ? (value - reserve) / kind.each : 0;
  if (limit.sandboxes < kManySandboxes)
    limit.remedy = RemedyFor(kind.name, kManySandboxes * kind.each + reserve);
  return limit;
}

std::optional<std::uint64_t> Sysctl(std::string_view name) {
  std::string path = "/proc/sys/" + std::string(name);
  std::ranges::replace(path, '.', '/');
  const auto text = sys::ReadFile(path);
  if (!text) return std::nullopt;
  std::uint64_t value = 0;
  const auto [stop, error] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (error != std::errc()) return std::nullopt;
  return value;
}

}  // namespace

std::vector<HostLimit> HostLimitsFrom(
    const std::function<std::optional<std::uint64_t>(std::string_view name)>& sysctl,
    std::uint64_t descriptors) {
  std::vector<HostLimit> limits;
  for (const Kind& kind : kKinds) {
    const auto value =
        kind.name == std::string_view(kDescriptors) ? descriptors : sysctl(kind.name);
    if (!value) continue;
    // The kernel keeps some terminals for those outside of any container.
    const bool is_ptys = kind.name == std::string_view("kernel.pty.max");
    const std::uint64_t kept = is_ptys ? sysctl("kernel.pty.reserve").value_or(0) : 0;
    limits.push_back(LimitOf(kind, *value, kind.reserve + kept));
  }
  std::ranges::sort(limits, {},
                    [](const HostLimit& limit) { return std::tie(limit.sandboxes, limit.name); });
  return limits;
}

std::vector<HostLimit> ReadHostLimits() {
  rlimit descriptors{};
  // Cannot fail for this resource; 0 would be seen.
  static_cast<void>(::getrlimit(RLIMIT_NOFILE, &descriptors));
  return HostLimitsFrom(Sysctl, descriptors.rlim_cur);
}

Status RaiseDescriptorLimit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0)
    return ErrnoError(errno, "reading the limit of descriptors");
  limit.rlim_cur = limit.rlim_max;
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0)
    return ErrnoError(errno, "raising the limit of descriptors");
  return {};
}

}  // namespace cofferdam::sandbox
