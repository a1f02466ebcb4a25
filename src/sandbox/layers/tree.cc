#include "sandbox/layers/tree.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "sys/file.h"
#include "sys/process.h"

namespace cofferdam::sandbox {
namespace {

constexpr std::uint64_t kInherited = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
constexpr char kRootOptions[] = "mode=0755,size=16m,nr_inodes=4096";

// Collects the first failure, so that a sequence of steps reads as one.
class Builder {
 public:
  int error_number() const { return error_number_; }
  void Do(bool done) {
    if (error_number_ == 0 && !done) error_number_ = errno == 0 ? EIO : errno;
  }
  bool failed() const { return error_number_ != 0; }

  void MakeDirectory(const std::string& path) {
    if (!failed()) Do(::mkdir(path.c_str(), 0755) == 0 || errno == EEXIST);
  }
  void Link(const char* target, const std::string& path) {
    if (!failed()) Do(::symlink(target, path.c_str()) == 0);
  }
  void MakeFile(const std::string& path, std::string_view text) {
    if (failed()) return;
    auto fd = sys::Open(path, O_WRONLY | O_CREAT | O_EXCL, 0644);
    Do(fd.has_value() && ::fchmod(fd->get(), 0644) == 0 &&
       sys::WriteAll(fd->get(), text).has_value());
  }
  // A recursive clone: in a user namespace a part of a tree with locked mounts cannot be had alone.
  void Bind(const std::string& source, const std::string& target, std::uint64_t attributes) {
    if (failed()) return;
    const sys::UniqueFd tree(
        ::open_tree(AT_FDCWD, source.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE));
    Do(tree.valid());
    if (failed()) return;
    mount_attr wanted{};
    wanted.attr_set = attributes;
    Do(::mount_setattr(tree.get(), "", AT_EMPTY_PATH | AT_RECURSIVE, &wanted, sizeof(wanted)) == 0);
    if (!failed())
      Do(::move_mount(tree.get(), "", AT_FDCWD, target.c_str(), MOVE_MOUNT_F_EMPTY_PATH) == 0);
  }

  void MakeReadOnly(const std::string& target) {
    if (failed()) return;
    mount_attr wanted{};
    wanted.attr_set = MOUNT_ATTR_RDONLY;
    Do(::mount_setattr(AT_FDCWD, target.c_str(), 0, &wanted, sizeof(wanted)) == 0);
  }

 private:
  int error_number_ = 0;
};

bool IsDirectory(const std::string& path) {
  struct stat info;
  return ::lstat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

// /bin, /lib and the like: symlinks into /usr on a merged system, directories of their own else.
void AddSystemDirectories(Builder& builder, const std::string& root) {
  builder.MakeDirectory(root + "/usr");
  builder.Bind("/usr", root + "/usr", kInherited);
  for (const char* name : {"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"}) {
    char target[256];
    const ssize_t length = ::readlink(name, target, sizeof(target) - 1);
    if (length > 0) {
      target[length] = '\0';
      builder.Link(target, root + name);
    } else if (IsDirectory(name)) {
      builder.MakeDirectory(root + name);
      builder.Bind(name, root + name, kInherited);
    }
  }
}

void CopyIfThere(Builder& builder, const char* path, const std::string& root) {
  const auto text = sys::ReadFile(path, 4 << 20);
  if (text) builder.MakeFile(root + path, *text);
}

// Nothing of the host's /etc but what programs need to find libraries, names and certificates.
void AddEtc(Builder& builder, const std::string& root) {
  builder.MakeDirectory(root + "/etc");
  builder.MakeFile(root + "/etc/passwd",
                   "root:x:0:0:root:/:/usr/sbin/nologin\n"
                   "agent:x:1000:1000:agent:/home/agent:/bin/sh\n"
                   "nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n");
  builder.MakeFile(root + "/etc/group", "root:x:0:\nagent:x:1000:\nnogroup:x:65534:\n");
  builder.MakeFile(root + "/etc/hosts", "127.0.0.1 localhost sandbox\n::1 localhost sandbox\n");
  builder.MakeFile(root + "/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n");
  CopyIfThere(builder, "/etc/ld.so.cache", root);
  CopyIfThere(builder, "/etc/localtime", root);
  CopyIfThere(builder, "/etc/mime.types", root);
  builder.MakeDirectory(root + "/etc/ssl");
  CopyIfThere(builder, "/etc/ssl/openssl.cnf", root);
  for (const char* name : {"/etc/ssl/certs", "/etc/alternatives"}) {
    if (!IsDirectory(name)) continue;
    builder.MakeDirectory(root + name);
    builder.Bind(name, root + name, kInherited);
  }
}

constexpr struct {
  const char* path;
  unsigned minor_number;
  unsigned major_number;
} kDevices[] = {{"/dev/null", 3, 1},   {"/dev/zero", 5, 1},    {"/dev/full", 7, 1},
                {"/dev/random", 8, 1}, {"/dev/urandom", 9, 1}, {"/dev/tty", 0, 5}};

// Nodes of the tree's own, on a file system on which nodes mean something. A lock or a watch on one
// is no matter of the host's then. Only the superuser can, and not that of every container.
bool MakeNodes(const std::string& root) {
  const std::string directory = root + "/dev";
  if (::geteuid() != 0) return false;
  if (::mount("cofferdam", directory.c_str(), "tmpfs", MS_NOSUID | MS_NOEXEC,
              "mode=0755,size=64k,nr_inodes=64") != 0)
    return false;
  bool made = true;
  for (const auto& [path, minor_number, major_number] : kDevices) {
    const std::string node = root + path;
    made = made &&
           ::mknod(node.c_str(), S_IFCHR | 0666, makedev(major_number, minor_number)) == 0 &&
           ::chmod(node.c_str(), 0666) == 0;
    // Some containers let nodes be made and not be opened.
    if (made && std::string_view(path) != "/dev/tty")
      made = sys::UniqueFd(::open(node.c_str(), O_RDONLY | O_CLOEXEC)).valid();
  }
  if (!made) ::umount2(directory.c_str(), MNT_DETACH);
  return made;
}

void BindNodes(Builder& builder, const std::string& root) {
  for (const auto& [path, minor_number, major_number] : kDevices) {
    builder.MakeFile(root + path, "");
    // Devices must work here, and nothing else can be made of the node.
    builder.Bind(path, root + path, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
  }
}

void AddDevices(Builder& builder, const std::string& root) {
  builder.MakeDirectory(root + "/dev");
  if (builder.failed()) return;
  const bool own_nodes = MakeNodes(root);
  if (!own_nodes) BindNodes(builder, root);
  builder.MakeDirectory(root + "/dev/pts");
  builder.MakeDirectory(root + "/dev/shm");
  builder.Link("pts/ptmx", root + "/dev/ptmx");
  builder.Link("/proc/self/fd", root + "/dev/fd");
  builder.Link("/proc/self/fd/0", root + "/dev/stdin");
  builder.Link("/proc/self/fd/1", root + "/dev/stdout");
  builder.Link("/proc/self/fd/2", root + "/dev/stderr");
  if (own_nodes) builder.MakeReadOnly(root + "/dev");
}

void AddMountPoints(Builder& builder, const std::string& root) {
  for (const char* name :
       {"/proc", "/tmp", "/run", "/mnt", "/var", "/home", "/home/agent", "/workspace"})
    builder.MakeDirectory(root + name);
  builder.Link("/tmp", root + "/var/tmp");
  builder.Link("/run", root + "/var/run");
  builder.MakeFile(root + kLandlockProbePath, "");
}

// A new procfs may be mounted in a user namespace only where one stands in full view. This one
// belongs to a pid namespace that is empty by the time anything runs here, so that it shows no
// process to whoever might uncover it.
void AddEmptyProc(Builder& builder, const std::string& root) {
  if (builder.failed()) return;
  const std::string target = root + "/proc";
  auto child = sys::CloneProcess(CLONE_NEWPID);
  builder.Do(child.has_value());
  if (builder.failed()) return;
  if (child->pid == 0) {
    const bool done =
        ::mount("proc", target.c_str(), "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) == 0;
    ::_exit(done ? 0 : errno);
  }
  const auto status = sys::Reap(child->pid);
  errno = status && WIFEXITED(*status) ? WEXITSTATUS(*status) : EIO;
  builder.Do(errno == 0);
}

int WriteOwnMap(const char* file, unsigned id) {
  const std::string line = std::to_string(id) + " " + std::to_string(id) + " 1\n";
  const auto fd = sys::Open(file, O_WRONLY);
  if (!fd) return fd.error().sys_errno;
  return ::write(fd->get(), line.data(), line.size()) < 0 ? errno : 0;
}

// An ordinary user gets the rights that it needs in a user namespace in which it is itself.
int EnterUserNamespace() {
  const uid_t uid = ::geteuid();
  const gid_t gid = ::getegid();
  if (::unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET) != 0) return errno;
  const auto deny = sys::WriteFileAt(AT_FDCWD, "/proc/self/setgroups", "deny");
  if (!deny) return deny.error().sys_errno;
  if (const int error_number = WriteOwnMap("/proc/self/uid_map", uid)) return error_number;
  return WriteOwnMap("/proc/self/gid_map", gid);
}

int EnterNamespaces(HostHandles& handles) {
  if (::geteuid() != 0) {
    if (const int error_number = EnterUserNamespace()) return error_number;
    // Mounts that the host makes later are to be seen as sources.
    if (::mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) != 0) return errno;
  }
  handles.source_mounts = sys::UniqueFd(::open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC));
  handles.proc = sys::UniqueFd(::open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC));
  handles.launcher = sys::UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0)));
  if (!handles.source_mounts.valid() || !handles.proc.valid() || !handles.launcher.valid())
    return errno;
  if (::unshare(CLONE_NEWNS) != 0) return errno;
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return errno;
  return 0;
}

// Any directory does: what is mounted on it exists in this mount namespace only.
const char* PlaceForRoot() {
  for (const char* path : {"/tmp", "/run", "/mnt", "/var", "/srv", "/opt"})
    if (IsDirectory(path)) return path;
  return nullptr;
}

int EnterRoot(const std::string& root) {
  mount_attr read_only{};
  read_only.attr_set = kInherited;
  if (::mount_setattr(AT_FDCWD, root.c_str(), 0, &read_only, sizeof(read_only)) != 0) return errno;
  if (::chdir(root.c_str()) != 0) return errno;
  if (::syscall(SYS_pivot_root, ".", ".") != 0) return errno;
  // The old root now lies on top of the new one.
  if (::umount2(".", MNT_DETACH) != 0) return errno;
  return ::chdir("/") == 0 ? 0 : errno;
}

}  // namespace

TreeFailure PrepareTree(HostHandles& handles) {
  if (const int error_number = EnterNamespaces(handles))
    return {Step::kLauncherNamespaces, error_number};
  const char* place = PlaceForRoot();
  if (place == nullptr) return {Step::kLauncherTree, ENOENT};
  const std::string root = place;
  if (::mount("cofferdam", place, "tmpfs", MS_NOSUID | MS_NODEV, kRootOptions) != 0)
    return {Step::kLauncherTree, errno};
  ::umask(022);
  Builder builder;
  AddSystemDirectories(builder, root);
  AddEtc(builder, root);
  AddDevices(builder, root);
  AddMountPoints(builder, root);
  AddEmptyProc(builder, root);
  if (builder.failed()) return {Step::kLauncherTree, builder.error_number()};
  if (const int error_number = EnterRoot(root)) return {Step::kLauncherTree, error_number};
  handles.own_mounts =
      sys::UniqueFd(::openat(handles.proc.get(), "self/ns/mnt", O_RDONLY | O_CLOEXEC));
  if (!handles.own_mounts.valid()) return {Step::kLauncherTree, errno};
  return {};
}

}  // namespace cofferdam::sandbox
