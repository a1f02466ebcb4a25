// What the host, the launcher and its zygotes say to each other: one SOCK_SEQPACKET message each
// way, plain structs of fixed size (both ends are built together; the launcher's image is part of
// the host), descriptors beside them. And the report with which a new sandbox opens its own
// channel.
//
// A zygote is a copy of the launcher that has been put into what no request decides (a network and
// an IPC namespace, a control group, temporary file systems) and waits for the one request from
// which it makes a sandbox.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "sandbox/layers/layer.h"
#include "sandbox/layers/seccomp/profile.h"

namespace cofferdam::sandbox {

inline constexpr std::size_t kMaxMounts = 16;
inline constexpr std::size_t kMaxCgroups = 5;
inline constexpr std::size_t kMaxMountPath = 256;
/// How many layers may lie below the upper of an overlay.
inline constexpr std::size_t kMaxOverlayLayers = 32;

/// The ids that tools have inside, on every host.
inline constexpr std::uint32_t kInnerUid = 1000;
inline constexpr std::uint32_t kInnerGid = 1000;

/// Exists in every root and lies under no Landlock rule, so that the start code can try to open it.
inline constexpr char kLandlockProbePath[] = "/.landlock-probe";

/// Where a start went wrong; each belongs to a layer or to none.
enum class Step : std::uint32_t {
  kNone,
  kRequest,
  kKeyring,
  kLauncherNamespaces,
  kLauncherTree,
  kZygote,
  kCgroupJoin,
  kCgroupNamespace,
  kNetwork,
  kIpcNamespace,
  kUtsNamespace,
  kMountTmp,
  kMountPts,
  kMountSource,
  kMountShared,
  kMountIdMap,
  kMountAttach,
  kClone,
  kIdMaps,
  kMountProc,
  kIdentity,
  kRlimits,
  kCapabilities,
  kNoNewPrivs,
  kLandlock,
  kSeccomp,
  kUndumpable,
  kParentDeath,
};
inline constexpr std::size_t kStepCount = static_cast<std::size_t>(Step::kParentDeath) + 1;

/// What a descriptor showed to the host: whoever opens its path anew refuses anything else.
struct Place {
  std::uint64_t device;
  std::uint64_t inode;
  bool operator==(const Place&) const = default;
};

/// A uid and a gid of the host.
struct Ids {
  std::uint32_t uid;
  std::uint32_t gid;
  bool operator==(const Ids&) const = default;
};

enum class MountKind : std::uint32_t {
  kSource,    // an O_PATH descriptor, to be opened anew in the mount namespace of sources
  kDetached,  // a mount that is attached nowhere, and to be attached itself
  kShared,    // a mount namespace, whose root is to be cloned
};

/// One file or directory that appears in the sandbox.
struct MountRequest {
  char target[kMaxMountPath];  // absolute, inside
  MountKind kind;
  std::uint32_t read_only;
  // The owner of a kSource on the disk, whose files are to appear as the sandbox's own; the
  // sandbox's ids: as they are.
  Ids owner;
  Place place;
};

enum class RequestKind : std::uint32_t { kPrepare = 1, kMakeZygote = 2, kMountOverlay = 3 };

/// From the host to the launcher.
struct LauncherRequest {
  RequestKind kind;
  // Layers that the zygote leaves off; only tests can ask for that.
  std::uint32_t skip_layers;
  std::uint32_t cgroup_count;
  // 1: the zygote is cloned into the one group whose directory comes in place of a file to join by.
  std::uint32_t clone_into_cgroup;
  // Descriptors of kMakeZygote, in order: the zygote's end of its socket, the sandbox's end of its
  // channel, cgroup_count files to join by. Of kPrepare: for each of cgroup_count hierarchies the
  // parent of the host's directory and the directory, whose name is `cgroup_name`; the launcher
  // removes it in the end. Of kMountOverlay: the mounter's end of its socket.
  char cgroup_name[64];
};
static_assert(std::is_trivially_copyable_v<LauncherRequest>);

struct LauncherReply {
  Step failed_step;  // kNone: it worked
  std::int32_t error_number;
};

/// From a zygote to the host when it is ready.
struct ZygoteReport {
  Step failed_step;  // the first one that failed; the layers of all are missing
  std::int32_t error_number;
  std::uint32_t missing_layers;
};

/// From the host to a zygote; the descriptors are mount_count directories.
struct LaunchRequest {
  // Layers that are left off (only tests can ask for that) and layers that may be missing.
  std::uint32_t skip_layers;
  std::uint32_t optional_layers;
  // The host's ids that kInnerUid and kInnerGid stand for.
  std::uint32_t outer_uid;
  std::uint32_t outer_gid;
  std::uint32_t mount_count;
  SeccompProfile seccomp_profile;
  std::uint32_t audit_syscalls;
  std::uint64_t tmp_bytes;
  std::uint64_t tmp_inodes;
  std::uint64_t max_processes;
  std::uint64_t max_open_files;
  std::uint64_t max_file_bytes;  // 0: no limit
  char hostname[64];
  MountRequest mounts[kMaxMounts];
};
static_assert(std::is_trivially_copyable_v<LaunchRequest>);

/// What a zygote has before it knows the request.
inline constexpr char kUsualHostname[] = "sandbox";
inline constexpr std::uint64_t kUsualTmpBytes = 64ull << 20;
inline constexpr std::uint64_t kUsualTmpInodes = 16384;

/// Identities of namespaces, as inode numbers of the kernel's namespace file system.
struct NamespaceIds {
  std::uint64_t user, mount, pid, net, ipc, uts, cgroup;
};

/// A zygote's answer; a pidfd of the worker comes with it when it worked.
struct LaunchReply {
  Step failed_step;
  std::int32_t error_number;
  std::int32_t pid;     // of the worker, as the launcher and the host see it
  std::uint32_t mount;  // which one it was, for a step that is about one
  NamespaceIds namespaces;
};
static_assert(std::is_trivially_copyable_v<LaunchReply>);

/// Where making an overlay went wrong.
enum class OverlayStep : std::uint32_t {
  kNone,
  kRequest,
  kNamespace,
  kParent,      // opening the directory of the upper
  kLayer,       // opening a layer
  kIdMap,       // making an id map
  kMapLayer,    // an idmapped mount of a layer
  kAttach,      // attaching a layer or the parent
  kAttributes,  // extended attributes on the upper's file system
  kOverlay,     // the overlay itself
  kRoot,        // making it the root of its namespace
};

struct OverlayLayerRequest {
  Place place;
  Ids owner;  // whose files are to appear as the identity's
};

/// From the host to a mounter, a copy of the launcher that makes one overlay and ends. The
/// descriptors are O_PATH ones: the parent of the upper and the work directory, then each layer.
struct OverlayRequest {
  std::uint32_t layer_count;
  std::uint32_t trusted;  // attributes: trusted.overlay.*, else user.overlay.*
  Ids identity;
  Place parent;
  Place upper_place;
  Place work_place;
  char upper[64];  // names in the parent, of letters, digits, '.', '-' and '_'
  char work[64];
  OverlayLayerRequest layers[kMaxOverlayLayers];
};
static_assert(std::is_trivially_copyable_v<OverlayRequest>);

/// A mounter's answer; when it worked, with a mount namespace whose root is the overlay, and an
/// O_PATH descriptor of that root.
struct OverlayReply {
  OverlayStep failed_step;
  std::int32_t error_number;
  std::uint32_t layer;  // which one it was, for a step that is about one
};

/// Before the report, when system calls are audited: one byte with the filter's listener beside it,
/// or with nothing where there is no filter.
inline constexpr char kListenerMessage = 'L';

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
  // What a call gave that the kernel answers with EINVAL, and the profile of tools with EPERM.
  std::int32_t seccomp_profile_errno;
  /// How long after the start code's first instruction each step was done, in nanoseconds; 0 for
  /// one that was not taken.
  std::uint32_t step_done_nanos[kStepCount];
};
static_assert(std::is_trivially_copyable_v<StartReport>);

}  // namespace cofferdam::sandbox
