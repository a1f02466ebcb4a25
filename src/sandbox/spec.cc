#include "sandbox/spec.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <span>
#include <sstream>

#include "base/split.h"
#include "sys/file.h"

namespace cofferdam::sandbox {
namespace {

constexpr std::string_view kRefusedExactly[] = {"/",    "/etc", "/usr", "/var",
                                                "/tmp", "/lib", "/bin", "/sbin"};
constexpr std::string_view kRefusedTrees[] = {"/root",
                                              "/proc",
                                              "/sys",
                                              "/dev",
                                              "/boot",
                                              "/run",
                                              "/home",
                                              "/etc",
                                              "/var/run",
                                              "/var/lib/docker",
                                              "/var/lib/containerd",
                                              "/lost+found"};

bool IsAtOrBelow(std::string_view path, std::string_view tree) {
  return path == tree || (path.starts_with(tree) && path[tree.size()] == '/');
}

bool IsShownOfHome(std::string_view path, std::string_view home) {
  if (home.size() < 2 || path == home || !IsAtOrBelow(path, home)) return false;
  return path[home.size() + 1] != '.';
}

bool IsCleanAbsolutePath(std::string_view path) {
  if (path.empty() || path[0] != '/' || path.size() > 200) return false;
  if (path.size() > 1 && path.back() == '/') return false;
  for (std::size_t at = 1; at <= path.size();) {
    const std::size_t end = std::min(path.find('/', at), path.size());
    const std::string_view part = path.substr(at, end - at);
    if (path.size() > 1 && (part.empty() || part == "." || part == "..")) return false;
    at = end + 1;
  }
  return std::ranges::none_of(path, [](char c) { return static_cast<unsigned char>(c) < 0x20; });
}

std::unexpected<Error> Refused(const std::string& source, std::string_view why) {
  return Err(ErrorCode::kMountRefused,
             "mount source '" + source + "' is refused: " + std::string(why),
             "mount a directory that holds only what the agent may see");
}

}  // namespace

namespace {

// All of `text`, as a number.
template <typename Number>
std::optional<Number> ToNumber(std::string_view text) {
  Number number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

}  // namespace

Result<IoLimit> ParseIoLimit(std::string_view text) {
  const auto wrong = [&] {
    return Err(ErrorCode::kInvalidArgument, "'" + std::string(text) + "' is no limit on a device",
               "write it as MAJ:MIN rbps=N wbps=N riops=N wiops=N, for example 8:0 wbps=1048576");
  };
  const auto words = SplitNonEmpty(text, ' ');
  if (words.size() < 2) return wrong();
  const std::size_t colon = words[0].find(':');
  if (colon == std::string_view::npos) return wrong();
  const auto major = ToNumber<std::uint32_t>(words[0].substr(0, colon));
  const auto minor = ToNumber<std::uint32_t>(words[0].substr(colon + 1));
  if (!major || !minor) return wrong();
  IoLimit limit{.major = *major, .minor = *minor};
  for (const std::string_view word : std::span(words).subspan(1)) {
    const std::size_t equals = word.find('=');
    if (equals == std::string_view::npos) return wrong();
    const std::string_view name = word.substr(0, equals);
    const std::string_view digits = word.substr(equals + 1);
    const auto value =
        digits == "max" ? std::optional<std::uint64_t>(0) : ToNumber<std::uint64_t>(digits);
    if (!value || (*value == 0 && digits != "max")) return wrong();
    std::uint64_t* field = name == "rbps"    ? &limit.read_bytes
                           : name == "wbps"  ? &limit.write_bytes
                           : name == "riops" ? &limit.read_operations
                           : name == "wiops" ? &limit.write_operations
                                             : nullptr;
    if (field == nullptr) return wrong();
    *field = *value;
  }
  return limit;
}

std::uint32_t PickToolId(std::string_view id_map) {
  constexpr std::uint64_t kUnusedBySystemd = 1'879'048'192;
  constexpr std::uint64_t kHighestOrdinary = 65'533;
  std::uint64_t best = 0;
  std::istringstream lines{std::string(id_map)};
  for (std::uint64_t inside, outside, count; lines >> inside >> outside >> count;) {
    if (count == 0 || inside > UINT32_MAX || count > UINT32_MAX) continue;
    const std::uint64_t last = inside + count - 1;
    if (inside <= kUnusedBySystemd && kUnusedBySystemd <= last) return kUnusedBySystemd;
    if (inside <= kHighestOrdinary) best = std::max(best, std::min(last, kHighestOrdinary));
  }
  return static_cast<std::uint32_t>(best);
}

HostIdentity ToolIdentity() {
  if (::geteuid() != 0) return {::geteuid(), ::getegid()};
  return {PickToolId(sys::ReadFile("/proc/self/uid_map").value_or("")),
          PickToolId(sys::ReadFile("/proc/self/gid_map").value_or(""))};
}

Result<Mount> ParseMount(std::string_view text) {
  const auto bad = [&](std::string_view why) {
    return Err(ErrorCode::kInvalidArgument,
               "mount '" + std::string(text) + "': " + std::string(why),
               "write SRC:/mnt/NAME or SRC:/mnt/NAME:rw");
  };
  Mount mount;
  if (text.ends_with(":rw")) {
    mount.writable = true;
    text.remove_suffix(3);
  } else if (text.ends_with(":ro")) {
    text.remove_suffix(3);
  }
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return bad("there is no ':' between source and destination");
  mount.source = text.substr(0, colon);
  mount.target = text.substr(colon + 1);
  if (!IsCleanAbsolutePath(mount.source)) return bad("the source is not a plain absolute path");
  if (!IsCleanAbsolutePath(mount.target) || !mount.target.starts_with("/mnt/"))
    return bad("the destination must be a plain path below /mnt");
  return mount;
}

Result<sys::UniqueFd> OpenMountSource(const std::string& source) {
  if (!source.starts_with('/'))
    return Err(ErrorCode::kInvalidArgument, "a mount's source is not an absolute path");
  ASSIGN_OR_RETURN(const sys::UniqueFd root, sys::Open("/", O_PATH | O_DIRECTORY));
  return sys::OpenBeneath(root.get(), source.substr(1), O_PATH | O_NOFOLLOW, sys::Links::kRefuse);
}

Status CheckMountSource(const std::string& source, const std::string& forbidden_prefix,
                        const std::string& own_home) {
  if (!IsCleanAbsolutePath(source)) return Refused(source, "not a plain absolute path");
  for (const std::string_view path : kRefusedExactly)
    if (source == path) return Refused(source, "a system directory");
  for (const std::string_view tree : kRefusedTrees)
    if (IsAtOrBelow(source, tree) && !IsShownOfHome(source, own_home))
      return Refused(source, "it lies in a system directory or in users' homes");
  if (!forbidden_prefix.empty() &&
      (IsAtOrBelow(source, forbidden_prefix) || IsAtOrBelow(forbidden_prefix, source)))
    return Refused(source, "it would show the platform's own state");
  const auto fd = OpenMountSource(source);
  if (!fd) return std::unexpected(fd.error().With("mount source '" + source + "'"));
  ASSIGN_OR_RETURN(const struct stat info, sys::Stat(fd->get()));
  if (!S_ISDIR(info.st_mode) && !S_ISREG(info.st_mode))
    return Refused(source, "neither a directory nor a regular file");
  return {};
}

}  // namespace cofferdam::sandbox
