#include "worker/sandbox_mounts.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <string>
#include <utility>

#include "base/check.h"
#include "worker/source.h"

namespace cofferdam::worker {
namespace {

using sandbox::LaunchRequest;
using sandbox::MountKind;
using sandbox::MountRequest;
using sandbox::Step;

constexpr unsigned long kTmpFlags = MS_NOSUID | MS_NODEV;
constexpr char kExtraMounts[] = "/mnt";

std::string TmpOptions(std::uint64_t bytes, std::uint64_t inodes) {
  // The directories that are mounted, and the one that holds them.
  constexpr std::uint64_t kOwnInodes = 4;
  return "mode=0755,size=" + std::to_string(bytes) +
         ",nr_inodes=" + std::to_string(inodes + kOwnInodes);
}

int Mount(const char* type, const char* target, unsigned long flags, const std::string& options) {
  return ::mount(type, target, type, flags, options.c_str()) == 0 ? 0 : errno;
}

int SetAttributes(int tree, const MountRequest& request) {
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
  // What the host mounts later below its source is not to come in.
  attributes.propagation = MS_PRIVATE;
  if (request.read_only != 0) attributes.attr_set |= MOUNT_ATTR_RDONLY;
  return ::mount_setattr(tree, "", AT_EMPTY_PATH, &attributes, sizeof(attributes)) == 0 ? 0 : errno;
}

// The root of the namespace that a descriptor of the host's is.
int CloneShared(int mount_namespace, const MountRequest& request, sys::UniqueFd& tree) {
  if (::setns(mount_namespace, CLONE_NEWNS) != 0) return errno;
  tree = sys::UniqueFd(::open_tree(AT_FDCWD, "/", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
  return tree.valid() ? CheckPlace(tree.get(), request.place) : errno;
}

int CloneSource(const sandbox::HostHandles& host, const MountRequest& request, int host_fd,
                sys::UniqueFd& tree) {
  if (::setns(host.source_mounts.get(), CLONE_NEWNS) != 0) return errno;
  return OpenSource(host.proc.get(), host_fd, request.place, tree);
}

// What is attached nowhere is in no namespace, and needs no other way to it.
int CopyDetached(const MountRequest& request, int host_fd, sys::UniqueFd& tree) {
  tree = sys::UniqueFd(::fcntl(host_fd, F_DUPFD_CLOEXEC, 0));
  return tree.valid() ? CheckPlace(tree.get(), request.place) : errno;
}

int MapOwner(int proc, const LaunchRequest& request, const MountRequest& mount, int tree) {
  const sandbox::Ids identity = {request.outer_uid, request.outer_gid};
  if (mount.owner == identity) return 0;
  sys::UniqueFd id_map;
  if (const int error_number = MakeIdMap(proc, mount.owner, identity, id_map)) return error_number;
  return MapIds(tree, id_map.get());
}

Failure OpenTree(const sandbox::HostHandles& host, const LaunchRequest& request,
                 const MountRequest& mount, int host_fd, sys::UniqueFd& tree) {
  int error_number = 0;
  switch (mount.kind) {
    case MountKind::kSource:
      error_number = CloneSource(host, mount, host_fd, tree);
      break;
    case MountKind::kDetached:
      error_number = CopyDetached(mount, host_fd, tree);
      break;
    case MountKind::kShared:
      if ((error_number = CloneShared(host_fd, mount, tree)) != 0)
        return {Step::kMountShared, error_number};
      break;
  }
  if (error_number == 0) error_number = SetAttributes(tree.get(), mount);
  if (error_number != 0) return {Step::kMountSource, error_number};
  if (mount.kind != MountKind::kSource) return {};
  error_number = MapOwner(host.proc.get(), request, mount, tree.get());
  return error_number == 0 ? Failure{} : Failure{Step::kMountIdMap, error_number};
}

int Attach(int tree, const std::string& target) {
  return ::move_mount(tree, "", AT_FDCWD, target.c_str(), MOVE_MOUNT_F_EMPTY_PATH) == 0 ? 0 : errno;
}

int MakeTarget(const std::string& target, bool directory) {
  for (std::size_t slash = target.find('/', 1); slash != std::string::npos;
       slash = target.find('/', slash + 1))
    if (::mkdir(target.substr(0, slash).c_str(), 0755) != 0 && errno != EEXIST) return errno;
  if (directory) return ::mkdir(target.c_str(), 0755) == 0 || errno == EEXIST ? 0 : errno;
  const sys::UniqueFd fd(::open(target.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0444));
  return fd.valid() ? 0 : errno;
}

int MakeReadOnly(const char* target) {
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_RDONLY;
  return ::mount_setattr(AT_FDCWD, target, 0, &attributes, sizeof(attributes)) == 0 ? 0 : errno;
}

int AttachTree(MountRequest& mount, int tree, bool& has_extra) {
  mount.target[sizeof(mount.target) - 1] = '\0';
  const std::string target = mount.target;
  if (target.starts_with("/mnt/")) {
    if (!std::exchange(has_extra, true))
      if (const int error_number =
              Mount("tmpfs", kExtraMounts, kTmpFlags, "mode=0755,size=1m,nr_inodes=256"))
        return error_number;
    struct stat info;
    if (::fstat(tree, &info) != 0) return errno;
    if (const int error_number = MakeTarget(target, S_ISDIR(info.st_mode))) return error_number;
  }
  return Attach(tree, target);
}

// Below /mnt is a place for mount points that belong to this sandbox alone; the shared root takes
// none.
Failure AttachTrees(LaunchRequest& request, const std::vector<sys::UniqueFd>& trees) {
  bool has_extra = false;
  for (std::uint32_t i = 0; i < request.mount_count; ++i)
    if (const int error_number = AttachTree(request.mounts[i], trees[i].get(), has_extra))
      return {Step::kMountAttach, error_number, i};
  if (!has_extra) return {};
  const int error_number = MakeReadOnly(kExtraMounts);
  return error_number == 0 ? Failure{} : Failure{Step::kMountAttach, error_number};
}

}  // namespace

// One file system for the three: the kernel keeps something for every pair of a file system and a
// control group, which with thousands of sandboxes is most of what they cost.
int MountTemporary() {
  constexpr char kPlace[] = "/tmp";
  const std::string options = TmpOptions(sandbox::kUsualTmpBytes, sandbox::kUsualTmpInodes);
  if (const int error_number = Mount("tmpfs", kPlace, kTmpFlags, options)) return error_number;
  struct Part {
    const char* name;
    const char* target;
    mode_t mode;
    std::uint64_t attributes;
    sys::UniqueFd tree = {};
  } parts[] = {{"/tmp/tmp", "/tmp", 01777, 0},
               {"/tmp/shm", "/dev/shm", 01777, MOUNT_ATTR_NOEXEC},
               {"/tmp/run", "/run", 0755, MOUNT_ATTR_NOEXEC}};
  for (Part& part : parts) {
    if (::mkdir(part.name, part.mode) != 0 || ::chmod(part.name, part.mode) != 0) return errno;
    part.tree =
        sys::UniqueFd(::open_tree(AT_FDCWD, part.name, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
    if (!part.tree.valid()) return errno;
    mount_attr attributes{};
    attributes.attr_set = part.attributes;
    if (::mount_setattr(part.tree.get(), "", AT_EMPTY_PATH, &attributes, sizeof(attributes)) != 0)
      return errno;
  }
  if (::umount2(kPlace, MNT_DETACH) != 0) return errno;
  for (const Part& part : parts)
    if (const int error_number = Attach(part.tree.get(), part.target)) return error_number;
  return 0;
}

int MountTerminals() {
  return Mount("devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC,
               "newinstance,ptmxmode=0666,mode=0620,max=64");
}

int FitTemporary(const LaunchRequest& request) {
  if (::chown("/run", request.outer_uid, request.outer_gid) != 0) return errno;
  if (request.tmp_bytes == sandbox::kUsualTmpBytes &&
      request.tmp_inodes == sandbox::kUsualTmpInodes)
    return 0;
  return Mount("tmpfs", "/tmp", kTmpFlags | MS_REMOUNT,
               TmpOptions(request.tmp_bytes, request.tmp_inodes));
}

Failure AttachSources(const sandbox::HostHandles& host, int own_mounts, LaunchRequest& request,
                      const std::vector<sys::UniqueFd>& sources,
                      std::vector<sys::UniqueFd>& trees) {
  trees.resize(request.mount_count);
  Failure failure;
  for (std::uint32_t i = 0; i < request.mount_count && failure.step == Step::kNone; ++i) {
    failure = OpenTree(host, request, request.mounts[i], sources[i].get(), trees[i]);
    failure.mount = i;
  }
  CHECK(::setns(own_mounts, CLONE_NEWNS) == 0);
  return failure.step == Step::kNone ? AttachTrees(request, trees) : failure;
}

}  // namespace cofferdam::worker
