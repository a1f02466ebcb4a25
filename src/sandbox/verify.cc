#include "sandbox/verify.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>

#include "base/split.h"
#include "sys/fd.h"
#include "sys/file.h"

namespace cofferdam::sandbox {
namespace {

bool HasOption(std::string_view options, std::string_view option) {
  return std::ranges::any_of(SplitNonEmpty(options, ','),
                             [&](std::string_view one) { return one == option; });
}

bool MayHoldDevices(std::string_view path) { return path == "/dev" || path.starts_with("/dev/"); }

class Verifier {
 public:
  explicit Verifier(const VerifyInput& input) : input_(input) {}

  Result<std::vector<LayerEvidence>> Run() {
    // One look-up for all files: a pid that has ended and come again is another directory.
    ASSIGN_OR_RETURN(proc_,
                     sys::Open("/proc/" + std::to_string(input_.reply.pid), O_PATH | O_DIRECTORY));
    ASSIGN_OR_RETURN(const sys::UniqueFd status, sys::OpenAt(proc_.get(), "status", O_RDONLY));
    ASSIGN_OR_RETURN(const struct stat info, sys::Stat(status.get()));
    files_owner_ = info.st_uid;
    ASSIGN_OR_RETURN(status_, sys::ReadAll(status.get(), 1 << 20));
    for (int i = 0; i < kLayerCount; ++i) {
      const auto layer = static_cast<Layer>(i);
      if (LayerSet(input_.request.skip_layers).Has(layer)) {
        evidence_.push_back({std::string(LayerName(layer)), "missing", "left off by a test"});
      } else if (IsMissing(layer)) {
        evidence_.push_back({std::string(LayerName(layer)), "missing",
                             "cannot be had here; accepted by the caller"});
      } else {
        ASSIGN_OR_RETURN(LayerEvidence seen, See(layer));
        evidence_.push_back(std::move(seen));
      }
    }
    return std::move(evidence_);
  }

 private:
  bool IsMissing(Layer layer) const {
    if (layer == Layer::kCgroup && input_.cgroup == nullptr) return true;
    return LayerSet(input_.missing_layers | input_.report.missing_layers).Has(layer);
  }

  std::unexpected<Error> Not(Layer layer, const std::string& seen) const {
    return Err(ErrorCode::kNotVerified,
               "the sandbox layer '" + std::string(LayerName(layer)) + "' is not in force: " + seen,
               "the sandbox was ended; run `cofferdam doctor`");
  }
  static LayerEvidence Read(Layer layer, std::string detail) {
    return {std::string(LayerName(layer)), "read", std::move(detail)};
  }
  static LayerEvidence Probed(Layer layer, std::string detail) {
    return {std::string(LayerName(layer)), "probed", std::move(detail)};
  }

  Result<LayerEvidence> See(Layer layer) const {
    const NamespaceIds& ids = input_.reply.namespaces;
    const NamespaceIds& host = input_.host_namespaces;
    switch (layer) {
      case Layer::kUserNamespace:
        return SeeNamespace(layer, "user", ids.user, host.user);
      case Layer::kMountNamespace:
        return SeeNamespace(layer, "mnt", ids.mount, host.mount);
      case Layer::kPidNamespace:
        return SeeNamespace(layer, "pid", ids.pid, host.pid);
      case Layer::kNetNamespace:
        return SeeNamespace(layer, "net", ids.net, host.net);
      case Layer::kIpcNamespace:
        return SeeNamespace(layer, "ipc", ids.ipc, host.ipc);
      case Layer::kUtsNamespace:
        return SeeNamespace(layer, "uts", ids.uts, host.uts);
      case Layer::kCgroupNamespace:
        return SeeNamespace(layer, "cgroup", ids.cgroup, host.cgroup);
      case Layer::kCgroup:
        return SeeCgroup();
      case Layer::kRoot:
        return SeeMounts();
      case Layer::kIdentity:
        return SeeIdentity();
      case Layer::kRlimits:
        return SeeLimits();
      case Layer::kCapabilities:
        return SeeCapabilities();
      case Layer::kNoNewPrivs:
        return SeeField(layer, "NoNewPrivs", "1");
      case Layer::kLandlock:
        return SeeLandlock();
      case Layer::kSeccomp:
        return SeeSeccomp();
      case Layer::kUndumpable:
        return SeeUndumpable();
    }
    return Not(layer, "unknown");
  }

  // As the launcher's side took them; nothing inside can change them.
  Result<LayerEvidence> SeeNamespace(Layer layer, const char* name, std::uint64_t id,
                                     std::uint64_t of_host) const {
    if (id == 0 || of_host == 0 || id == of_host)
      return Not(layer, std::string(name) + " namespace " + std::to_string(id) +
                            ", the host's is " + std::to_string(of_host));
    return Read(layer, std::string(name) + ":[" + std::to_string(id) + "], not the host's");
  }

  Result<LayerEvidence> SeeCgroup() const {
    auto limits = input_.cgroup->Verify(proc_.get());
    if (!limits) return Not(Layer::kCgroup, limits.error().message);
    return Read(Layer::kCgroup, *limits);
  }

  Result<LayerEvidence> SeeMounts() const {
    ASSIGN_OR_RETURN(const std::string mountinfo, sys::ReadFileAt(proc_.get(), "mountinfo"));
    const std::string fault = FaultInMounts(mountinfo, input_.request);
    if (!fault.empty()) return Not(Layer::kRoot, fault);
    return Read(Layer::kRoot,
                std::to_string(std::ranges::count(mountinfo, '\n')) + " mounts, all as planned");
  }

  Result<LayerEvidence> SeeIdentity() const {
    const auto all_are = [](std::string_view field, std::uint32_t id) {
      const auto ids = SplitNonEmpty(field, '\t');
      return ids.size() == 4 && std::ranges::all_of(ids, [&](std::string_view text) {
               return text == std::to_string(id);
             });
    };
    const std::string_view uids = StatusField(status_, "Uid");
    const std::string_view gids = StatusField(status_, "Gid");
    const std::string_view groups = StatusField(status_, "Groups");
    const bool as_root = ::geteuid() == 0;
    if (!all_are(uids, input_.request.outer_uid) || !all_are(gids, input_.request.outer_gid) ||
        (as_root && !groups.empty()) || input_.request.outer_uid == 0)
      return Not(Layer::kIdentity, "uids " + std::string(uids) + ", groups " + std::string(groups));
    return Read(Layer::kIdentity,
                "uid " + std::to_string(input_.request.outer_uid) + " on the host, " +
                    (input_.own_identity ? "its workspace's own" : "shared with other workspaces"));
  }

  Result<LayerEvidence> SeeLimits() const {
    ASSIGN_OR_RETURN(const std::string limits, sys::ReadFileAt(proc_.get(), "limits"));
    for (const std::string_view line : SplitNonEmpty(limits, '\n')) {
      if (!line.starts_with("Max core file size")) continue;
      const auto words = SplitNonEmpty(line.substr(18), ' ');
      if (words.size() >= 2 && words[0] == "1" && words[1] == "1")
        return Read(Layer::kRlimits, "no core dumps, limits set");
    }
    return Not(Layer::kRlimits, "the limit on core files is not 1");
  }

  Result<LayerEvidence> SeeCapabilities() const {
    for (const char* set : {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"})
      if (StatusField(status_, set) != "0000000000000000")
        return Not(Layer::kCapabilities,
                   std::string(set) + " is " + std::string(StatusField(status_, set)));
    return Read(Layer::kCapabilities, "none in any set");
  }

  Result<LayerEvidence> SeeField(Layer layer, const char* field, const char* wanted) const {
    const std::string_view value = StatusField(status_, field);
    if (value != wanted) return Not(layer, std::string(field) + " is " + std::string(value));
    return Read(layer, std::string(field) + ": " + wanted);
  }

  Result<LayerEvidence> SeeLandlock() const {
    if (input_.report.landlock_probe_errno != EACCES)
      return Not(Layer::kLandlock, "opening the probe gave errno " +
                                       std::to_string(input_.report.landlock_probe_errno));
    return Probed(Layer::kLandlock,
                  "ABI " + std::to_string(input_.report.landlock_abi) + ", a probe was refused");
  }

  Result<LayerEvidence> SeeSeccomp() const {
    RETURN_IF_ERROR(SeeField(Layer::kSeccomp, "Seccomp", "2"));
    if (input_.report.seccomp_probe_errno != EPERM)
      return Not(Layer::kSeccomp,
                 "a refused call gave errno " + std::to_string(input_.report.seccomp_probe_errno));
    const SeccompProfile profile = input_.request.seccomp_profile;
    const int wanted = profile == SeccompProfile::kTools ? EPERM : EINVAL;
    if (input_.report.seccomp_profile_errno != wanted)
      return Not(Layer::kSeccomp, "a call that tells the profiles apart gave errno " +
                                      std::to_string(input_.report.seccomp_profile_errno));
    return Probed(Layer::kSeccomp, "Seccomp: 2, profile " +
                                       std::string(SeccompProfileName(profile)) +
                                       ", calls were refused" +
                                       (input_.request.audit_syscalls != 0 ? ", audited" : ""));
  }

  // The kernel gives the files of an undumpable process to the superuser.
  Result<LayerEvidence> SeeUndumpable() const {
    if (files_owner_ == input_.request.outer_uid)
      return Not(Layer::kUndumpable, "its files in /proc belong to its own uid");
    return Read(Layer::kUndumpable,
                "its files in /proc belong to uid " + std::to_string(files_owner_));
  }

  const VerifyInput& input_;
  sys::UniqueFd proc_;
  uid_t files_owner_ = 0;
  std::string status_;
  std::vector<LayerEvidence> evidence_;
};

}  // namespace

std::string_view StatusField(std::string_view status, std::string_view field) {
  for (std::size_t begin = 0; begin < status.size();) {
    const std::size_t end = std::min(status.find('\n', begin), status.size());
    std::string_view line = status.substr(begin, end - begin);
    begin = end + 1;
    if (!line.starts_with(field) || line.size() <= field.size() || line[field.size()] != ':')
      continue;
    line.remove_prefix(field.size() + 1);
    while (!line.empty() && (line.front() == '\t' || line.front() == ' ')) line.remove_prefix(1);
    while (!line.empty() && (line.back() == '\t' || line.back() == ' ')) line.remove_suffix(1);
    return line;
  }
  return {};
}

std::string FaultInMounts(std::string_view mountinfo, const LaunchRequest& request) {
  // Mounts of the sandbox's own, new for it.
  const std::set<std::string_view> own = {"/proc", "/tmp", "/dev/shm", "/dev/pts", "/run"};
  std::set<std::string_view> seen;
  for (const std::string_view line : SplitNonEmpty(mountinfo, '\n')) {
    const auto fields = SplitNonEmpty(line, ' ');
    if (fields.size() < 7) return "a line of mountinfo is too short";
    const std::string_view target = fields[4];
    const std::string_view options = fields[5];
    seen.insert(target);
    const std::string at = " at '" + std::string(target) + "'";
    if (!HasOption(options, "nosuid")) return "nosuid is missing" + at;
    if (!MayHoldDevices(target) && !HasOption(options, "nodev")) return "nodev is missing" + at;
    bool may_write = own.contains(target);
    for (std::uint32_t i = 0; i < request.mount_count; ++i)
      may_write |= target == request.mounts[i].target && request.mounts[i].read_only == 0;
    if (!may_write && !HasOption(options, "ro")) return "a mount can be written" + at;
  }
  for (const char* needed : {"/", "/usr", "/proc", "/tmp"})
    if (!seen.contains(needed)) return "nothing is mounted at '" + std::string(needed) + "'";
  for (std::uint32_t i = 0; i < request.mount_count; ++i)
    if (!seen.contains(request.mounts[i].target))
      return "nothing is mounted at '" + std::string(request.mounts[i].target) + "'";
  return {};
}

Result<std::vector<LayerEvidence>> Verify(const VerifyInput& input) {
  return Verifier(input).Run();
}

}  // namespace cofferdam::sandbox
