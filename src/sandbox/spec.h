// What a sandbox is to be: its files, its limits, and which layers may be missing.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "sandbox/layers/layer.h"
#include "sandbox/layers/seccomp/profile.h"
#include "sys/fd.h"

namespace cofferdam::sandbox {

/// What a sandbox may ask of one block device, per second; 0: no limit. A whole device, no
/// partition.
struct IoLimit {
  std::uint32_t major = 0;
  std::uint32_t minor = 0;
  std::uint64_t read_bytes = 0;
  std::uint64_t write_bytes = 0;
  std::uint64_t read_operations = 0;
  std::uint64_t write_operations = 0;

  bool operator==(const IoLimit&) const = default;
};

/// "MAJ:MIN rbps=N wbps=N riops=N wiops=N" as the kernel has it in io.max: at least one of the
/// four, each a positive number or "max". kInvalidArgument otherwise. Pure.
Result<IoLimit> ParseIoLimit(std::string_view text);

/// The defaults are those that the field is used to; all are settable.
struct Limits {
  std::uint64_t memory_bytes = 512ull << 20;  // of all processes and tmpfs together; no swap
  std::uint64_t memory_high_bytes = 0;        // above it the kernel reclaims and slows; 0: none
  std::uint64_t processes = 100;
  std::uint64_t cpu_millis_per_second = 0;  // 1000 is one core; 0: no limit
  std::uint64_t cpu_weight = 0;     // share when cores are short, 1 to 10000; 0: the usual 100
  std::vector<IoLimit> io = {};     // of the devices that are named
  std::uint64_t open_files = 4096;  // per process
  std::uint64_t file_bytes = 0;     // size of one file; 0: no limit
  std::uint64_t tmp_bytes = 64ull << 20;  // of /tmp, /dev/shm and /run together
  std::uint64_t tmp_inodes = 16384;

  bool operator==(const Limits&) const = default;
};

/// The host's uid and gid under which the tools of a sandbox run. What a sandbox is to write must
/// belong to them, and the kernel counts for them what it counts for a user.
struct HostIdentity {
  std::uint32_t uid;
  std::uint32_t gid;
  bool operator==(const HostIdentity&) const = default;
};

class SharedMount;

struct Mount {
  std::string source = {};  // absolute, on the host
  std::string target = {};  // absolute, inside: /workspace, /home/agent or below /mnt
  bool writable = false;
  /// A mount that is attached nowhere, in place of `source`. The first sandbox made with it has it.
  std::shared_ptr<const sys::UniqueFd> tree = nullptr;
  /// A mount that any number of sandboxes have (overlay.h), in place of `source`. Each holds it as
  /// long as it exists.
  std::shared_ptr<const SharedMount> shared = nullptr;
  /// Who the files of `source` belong to on the disk. They appear as the sandbox's identity's, and
  /// what it makes belongs to the owner; those of others appear as nobody's. kUnsupported when this
  /// is not the identity and the file system has no idmapped mounts, or we are not the superuser.
  std::optional<HostIdentity> owner = std::nullopt;
  bool operator==(const Mount&) const = default;
};

/// That of sandboxes without one of their own: a fixed unprivileged pair when the host is root,
/// else the user's own. 0 when root has no second id, as in a container with a single one; no such
/// sandbox can be made then.
HostIdentity ToolIdentity();

/// The id for tools from the text of /proc/self/uid_map or gid_map: one from the range that systemd
/// leaves unused, so that it belongs to nobody; where that is not mapped, the highest that is,
/// below those that mean nobody; 0 when there is none. Pure.
std::uint32_t PickToolId(std::string_view id_map);

/// "SRC:DST" or "SRC:DST:rw" as given on a command line. Both absolute; DST below /mnt.
Result<Mount> ParseMount(std::string_view text);

/// An O_PATH descriptor of a mount's source, an absolute path in which no part may be a symlink:
/// whoever may write above it must not lead us elsewhere between its check and now.
Result<sys::UniqueFd> OpenMountSource(const std::string& source);

/// Refuses sources that would hand the host to a sandbox: system directories, other users' homes,
/// sockets of container engines, anything below `forbidden_prefix` (the state directory; may be
/// empty). The source must exist and no part of it may be a symlink. What lies in `own_home` (may
/// be empty) is not refused for lying in users' homes, unless it is hidden there, as .ssh is.
Status CheckMountSource(const std::string& source, const std::string& forbidden_prefix,
                        const std::string& own_home = {});

/// The pass-key with which tests leave a layer off, to show that the attack it stops would succeed.
/// Defined in sandbox/testing/ and nowhere else.
class TestControl;

struct SandboxSpec {
  std::string id = {};
  std::vector<Mount> mounts = {};
  Limits limits = {};
  /// Layers that may be missing; what is missing is then on record. Never kIndispensable ones.
  LayerSet allow_missing = {};
  /// Landlock may be missing where the kernel does not offer it, unless it stands here.
  LayerSet require = {};
  SeccompProfile seccomp_profile = SeccompProfile::kTools;
  /// The host hears of every call that seccomp refuses and gives its answer (syscall_audit.h). For
  /// finding out what a program needs: a refused call costs a way to the host and back.
  bool audit_syscalls = false;
  std::string hostname = "sandbox";
  /// ToolIdentity() when there is none. Only the superuser can have another one.
  std::optional<HostIdentity> identity = {};
  /// Added to every command's environment.
  std::vector<std::pair<std::string, std::string>> environment = {};

  bool operator==(const SandboxSpec&) const = default;

 private:
  friend class TestControl;
  friend class LocalSandbox;
  friend class Launcher;
  LayerSet skip_;
};

}  // namespace cofferdam::sandbox
