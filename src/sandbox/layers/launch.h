// What the host and the launcher say to each other: one SOCK_SEQPACKET message each way, plain
// structs of fixed size (both ends are built together; the launcher's image is part of the host),
// descriptors beside them. And the report with which a new sandbox opens its own channel.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "sandbox/layers/layer.h"

namespace cofferdam::sandbox {

inline constexpr std::size_t kMaxMounts = 16;
inline constexpr std::size_t kMaxCgroups = 4;
inline constexpr std::size_t kMaxMountPath = 256;

/// The ids that tools have inside, on every host.
inline constexpr std::uint32_t kInnerUid = 1000;
inline constexpr std::uint32_t kInnerGid = 1000;

/// Exists in every root and lies under no Landlock rule, so that the start code can try to open it.
inline constexpr char kLandlockProbePath[] = "/.landlock-probe";

/// Where a start went wrong; each belongs to a layer or to none.
enum class Step : std::uint32_t {
  kNone,
  kRequest,
  kLauncherNamespaces,
  kLauncherTree,
  kMountSource,
  kMountAttach,
  kNetwork,
  kClone,
  kCgroupJoin,
  kCgroupNamespace,
  kIdMaps,
  kMountProc,
  kMountTmp,
  kMountPts,
  kHostname,
  kIdentity,
  kKeyring,
  kRlimits,
  kCapabilities,
  kNoNewPrivs,
  kLandlock,
  kSeccomp,
  kUndumpable,
  kParentDeath,
};

/// One directory of the host that appears in the sandbox. The descriptor is an O_PATH one.
struct MountRequest {
  char target[kMaxMountPath];  // absolute, inside
  std::uint32_t read_only;
  // What the descriptor showed to the host: the launcher opens the path anew in a mount namespace
  // of its own and refuses anything else.
  std::uint64_t device;
  std::uint64_t inode;
};

enum class RequestKind : std::uint32_t { kPrepare = 1, kLaunch = 2 };

struct LaunchRequest {
  RequestKind kind;
  // Layers that are left off (only tests can ask for that) and layers that may be missing.
  std::uint32_t skip_layers;
  std::uint32_t optional_layers;
  // The host's ids that kInnerUid and kInnerGid stand for.
  std::uint32_t outer_uid;
  std::uint32_t outer_gid;
  std::uint32_t mount_count;
  std::uint32_t cgroup_count;
  std::uint64_t tmp_bytes;
  std::uint64_t tmp_inodes;
  std::uint64_t max_processes;
  std::uint64_t max_open_files;
  std::uint64_t max_file_bytes;  // 0: no limit
  char hostname[64];
  MountRequest mounts[kMaxMounts];
  // Descriptors of kLaunch, in order: the channel, cgroup_count files to join by, mount_count
  // directories. Of kPrepare: for each of cgroup_count hierarchies the parent of the host's
  // directory and the directory, whose name is `cgroup_name`; the launcher removes it in the end.
  char cgroup_name[64];
};
static_assert(std::is_trivially_copyable_v<LaunchRequest>);

/// Identities of namespaces, as inode numbers of the kernel's namespace file system.
struct NamespaceIds {
  std::uint64_t user, mount, pid, net, ipc, uts;
};

struct LaunchReply {
  Step failed_step;  // kNone: it worked, and a pidfd comes with the reply to kLaunch
  std::int32_t error_number;
  std::uint32_t missing_layers;  // namespaces that could not be had and may be missing
  std::int32_t pid;              // of the worker, as the launcher and the host see it
  NamespaceIds namespaces;
};
static_assert(std::is_trivially_copyable_v<LaunchReply>);

/// The first bytes on a sandbox's channel, before any frame. Written by the start code, which is
/// ours and still alone in its namespaces.
struct StartReport {
  static constexpr std::uint32_t kMagic = 0x43464431;  // "CFD1"
  std::uint32_t magic;
  Step failed_step;
  std::int32_t error_number;
  std::uint32_t missing_layers;
  std::int32_t landlock_abi;
  std::int32_t landlock_probe_errno;  // what opening kLandlockProbePath gave
  std::int32_t seccomp_probe_errno;   // what unshare(0) gave
  std::uint32_t padding;
  std::uint64_t cgroup_namespace;
};
static_assert(std::is_trivially_copyable_v<StartReport>);

}  // namespace cofferdam::sandbox
