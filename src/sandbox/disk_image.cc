#include "sandbox/disk_image.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <sched.h>
#include <spawn.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "sys/file.h"
#include "sys/flock.h"
#include "sys/process.h"

namespace cofferdam::sandbox {
namespace {

constexpr char kRemedy[] =
    "run as root where /dev/loop-control and loop devices can be opened, with the package "
    "e2fsprogs "
    "installed; or put the state directory on a file system with project quota";
constexpr char kLoopControl[] = "/dev/loop-control";
/// Another program may take a free device before us.
constexpr int kTries = 64;
/// Where tools find the image.
constexpr char kImageOfTool[] = "/proc/self/fd/3";

std::optional<std::string> FindTool(const std::string& name) {
  for (const char* directory : {"/usr/sbin/", "/sbin/", "/usr/bin/", "/bin/"})
    if (::access((directory + name).c_str(), X_OK) == 0) return directory + name;
  return std::nullopt;
}

/// The exit code of a tool that works on the image. It runs as the image's owner, without a
/// capability or a way to one, without environment, and has no descriptor but the image.
Result<int> RunTool(int image, std::vector<std::string> tool) {
  ASSIGN_OR_RETURN(const struct stat info, sys::Stat(image));
  std::vector<std::string> words = {"setpriv",
                                    "--reuid=" + std::to_string(info.st_uid),
                                    "--regid=" + std::to_string(info.st_gid),
                                    "--clear-groups",
                                    "--no-new-privs",
                                    "--inh-caps=-all",
                                    "--bounding-set=-all"};
  const auto setpriv = FindTool(words.front());
  const auto program = FindTool(tool.front());
  if (!setpriv || !program)
    return Err(ErrorCode::kUnsupported, "there is no " + (setpriv ? tool : words).front(), kRemedy);
  tool.front() = *program;
  words.insert(words.end(), tool.begin(), tool.end());
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  char* environment[] = {nullptr};

  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDWR, 0);
  ::posix_spawn_file_actions_adddup2(&actions, STDIN_FILENO, STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, STDIN_FILENO, STDERR_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, image, 3);
  ::posix_spawn_file_actions_addclosefrom_np(&actions, 4);
  pid_t pid = -1;
  const int error_number =
      ::posix_spawn(&pid, setpriv->c_str(), &actions, nullptr, arguments.data(), environment);
  ::posix_spawn_file_actions_destroy(&actions);
  if (error_number != 0) return ErrnoError(error_number, "starting " + *program);
  ASSIGN_OR_RETURN(const int status, sys::Reap(pid));
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

Status MakeFileSystem(int image) {
  ASSIGN_OR_RETURN(const int code,
                   RunTool(image, {"mkfs.ext4", "-q", "-F", "-m", "0", "-E",
                                   "nodiscard,lazy_itable_init=1,root_owner=0:0", kImageOfTool}));
  if (code == 0) return {};
  return Err(ErrorCode::kOs, "mkfs.ext4 failed with exit code " + std::to_string(code));
}

Status Repair(int image, std::vector<std::string> how) {
  constexpr int kUncorrected = 4;
  ASSIGN_OR_RETURN(const int code, RunTool(image, std::move(how)));
  if (code < kUncorrected) return {};
  return Err(ErrorCode::kCorrupt,
             "the image of the workspace's files is damaged: e2fsck ended with exit code " +
                 std::to_string(code),
             "it was left as it is; repair it with e2fsck, or restore it from a backup");
}

/// The size of the file system, which is the file's unless growing it was interrupted.
Result<std::uint64_t> FileSystemBytes(int image) {
  struct Superblock {
    std::uint32_t inodes;
    std::uint32_t blocks;
    std::array<std::uint32_t, 4> unused;
    std::uint32_t log_block_size;
  };
  static_assert(std::endian::native == std::endian::little);
  constexpr off_t kSuperblock = 1024;
  constexpr off_t kBlocksHigh = kSuperblock + 0x150;
  constexpr std::uint32_t kMaxLogBlockSize = 6;
  Superblock block{};
  std::uint32_t high = 0;
  if (::pread(image, &block, sizeof(block), kSuperblock) != sizeof(block) ||
      ::pread(image, &high, sizeof(high), kBlocksHigh) != sizeof(high) ||
      block.log_block_size > kMaxLogBlockSize)
    return Err(ErrorCode::kCorrupt, "the image of the workspace's files has no file system");
  const std::uint64_t blocks = (std::uint64_t{high} << 32) | block.blocks;
  return blocks << (10 + block.log_block_size);
}

Status Grow(int image, std::uint64_t bytes) {
  ASSIGN_OR_RETURN(const std::uint64_t has, FileSystemBytes(image));
  if (has >= bytes) return {};
  RETURN_IF_ERROR(Repair(image, {"e2fsck", "-p", "-f", kImageOfTool}));
  ASSIGN_OR_RETURN(const int code,
                   RunTool(image, {"resize2fs", kImageOfTool, std::to_string(bytes >> 10) + "K"}));
  if (code == 0) return {};
  return Err(ErrorCode::kOs, "resize2fs failed with exit code " + std::to_string(code));
}

struct Loop {
  sys::UniqueFd device;  // keeps it attached until something is mounted
  std::string path;
};

bool Shows(int device, const struct stat& file) {
  loop_info64 info{};
  return ::ioctl(device, LOOP_GET_STATUS64, &info) == 0 && info.lo_inode == file.st_ino &&
         info.lo_device == file.st_dev;
}

/// The device that shows the image already, if there is one.
Result<std::optional<Loop>> FindLoop(int image) {
  ASSIGN_OR_RETURN(const struct stat file, sys::Stat(image));
  ASSIGN_OR_RETURN(const sys::UniqueFd block, sys::Open("/sys/block", O_RDONLY | O_DIRECTORY));
  ASSIGN_OR_RETURN(const std::vector<std::string> names, sys::ListDirectory(block.get()));
  for (const std::string& name : names) {
    if (!name.starts_with("loop")) continue;
    auto device = sys::Open("/dev/" + name, O_RDWR);
    if (device && Shows(device->get(), file)) return Loop{std::move(*device), "/dev/" + name};
  }
  return std::nullopt;
}

Result<Loop> AttachLoop(int image) {
  ASSIGN_OR_RETURN(const sys::UniqueFd control, sys::Open(kLoopControl, O_RDWR));
  loop_config config{};
  config.fd = static_cast<__u32>(image);
  config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
  for (int attempt = 0; attempt < kTries; ++attempt) {
    const int number = ::ioctl(control.get(), LOOP_CTL_GET_FREE);
    if (number < 0) return ErrnoError(errno, "asking for a loop device", kRemedy);
    std::string path = "/dev/loop" + std::to_string(number);
    auto device = sys::Open(path, O_RDWR);
    if (!device) return std::unexpected(device.error());
    if (::ioctl(device->get(), LOOP_CONFIGURE, &config) == 0)
      return Loop{std::move(*device), std::move(path)};
    if (errno != EBUSY) return ErrnoError(errno, "setting up " + path, kRemedy);
  }
  return Err(ErrorCode::kBusy, "every free loop device was taken by somebody else");
}

/// The whole file system, attached nowhere.
Result<sys::UniqueFd> MountWhole(const std::string& device) {
  const sys::UniqueFd context(::fsopen("ext4", FSOPEN_CLOEXEC));
  if (!context.valid()) return ErrnoError(errno, "preparing to mount an image");
  // With discard what is deleted inside is given back to the host's disk.
  if (::fsconfig(context.get(), FSCONFIG_SET_STRING, "source", device.c_str(), 0) != 0 ||
      ::fsconfig(context.get(), FSCONFIG_SET_STRING, "errors", "remount-ro", 0) != 0 ||
      ::fsconfig(context.get(), FSCONFIG_SET_FLAG, "discard", nullptr, 0) != 0 ||
      ::fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0)
    return ErrnoError(errno, "mounting an image");
  sys::UniqueFd mount(
      ::fsmount(context.get(), FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV));
  if (!mount.valid()) return ErrnoError(errno, "mounting an image");
  return mount;
}

Result<std::shared_ptr<const sys::UniqueFd>> Part(int mount, const char* name) {
  auto fd = std::make_shared<sys::UniqueFd>(
      ::open_tree(mount, name, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW));
  if (!fd->valid()) return ErrnoError(errno, std::string("opening an image's ") + name);
  return fd;
}

/// In a mount namespace of the calling thread's own: before Linux 6.15 a part can be taken only of
/// what is attached.
Result<DiskMounts> MountParts(const std::string& device) {
  if (::unshare(CLONE_NEWNS) != 0) return ErrnoError(errno, "making a mount namespace");
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    return ErrnoError(errno, "making mounts private");
  ASSIGN_OR_RETURN(const sys::UniqueFd whole, MountWhole(device));
  if (::move_mount(whole.get(), "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) != 0)
    return ErrnoError(errno, "attaching an image");
  DiskMounts mounts;
  ASSIGN_OR_RETURN(mounts.work, Part(whole.get(), "work"));
  ASSIGN_OR_RETURN(mounts.home, Part(whole.get(), "home"));
  return mounts;
}

Status MakeParts(int image, HostIdentity owner) {
  ASSIGN_OR_RETURN(const Loop loop, AttachLoop(image));
  ASSIGN_OR_RETURN(const sys::UniqueFd whole, MountWhole(loop.path));
  for (const char* name : {"work", "home"})
    if (::mkdirat(whole.get(), name, 0700) != 0 ||
        ::fchownat(whole.get(), name, owner.uid, owner.gid, AT_SYMLINK_NOFOLLOW) != 0)
      return ErrnoError(errno, "making the directories of an image");
  return {};
}

/// Keeps everybody else from attaching the image until it is closed. An open file of its own: what
/// a loop device was given stays open, and locked, as long as the device shows it.
Result<sys::UniqueFd> Lock(int folder) {
  ASSIGN_OR_RETURN(sys::UniqueFd lock,
                   sys::OpenBeneath(folder, kImageName, O_RDONLY, sys::Links::kRefuse));
  RETURN_IF_ERROR(sys::Flock(lock.get(), LOCK_EX));
  return lock;
}

}  // namespace

Status CheckDiskImage() {
  const auto missing = [](const std::string& what) {
    return Err(ErrorCode::kUnsupported, "there can be no image here: " + what, kRemedy);
  };
  if (::geteuid() != 0) return missing("only root can mount one");
  for (const char* tool : {"mkfs.ext4", "e2fsck", "resize2fs", "setpriv"})
    if (!FindTool(tool)) return missing(std::string("there is no ") + tool);
  const auto control = sys::Open(kLoopControl, O_RDWR);
  if (!control) return missing(control.error().message);
  return {};
}

Result<std::optional<DiskImage>> FindDiskImage(int folder) {
  constexpr std::uint64_t kBlockBytes = 512;
  struct stat info;
  if (::fstatat(folder, kImageName, &info, AT_SYMLINK_NOFOLLOW) == 0)
    return DiskImage{static_cast<std::uint64_t>(info.st_size),
                     static_cast<std::uint64_t>(info.st_blocks) * kBlockBytes};
  if (errno == ENOENT) return std::nullopt;
  return ErrnoError(errno, "looking for an image");
}

Status MakeDiskImage(int folder, std::uint64_t bytes, HostIdentity owner) {
  if (bytes < kMinImageBytes)
    return Err(ErrorCode::kInvalidArgument, "an image needs a limit of 16 MiB or more",
               "raise disk_mib");
  // Without a name until it is whole.
  ASSIGN_OR_RETURN(const sys::UniqueFd image, sys::OpenAt(folder, ".", O_RDWR | O_TMPFILE, 0600));
  if (::fchown(image.get(), owner.uid, owner.gid) != 0 ||
      ::ftruncate(image.get(), static_cast<off_t>(bytes)) != 0)
    return ErrnoError(errno, "making an image");
  RETURN_IF_ERROR(MakeFileSystem(image.get()));
  RETURN_IF_ERROR(MakeParts(image.get(), owner));
  if (::fsync(image.get()) != 0) return ErrnoError(errno, "making an image");
  const std::string link = "/proc/self/fd/" + std::to_string(image.get());
  if (::linkat(AT_FDCWD, link.c_str(), folder, kImageName, AT_SYMLINK_FOLLOW) != 0)
    return ErrnoError(errno, "naming an image");
  return {};
}

Result<DiskMounts> MountDiskImage(int folder, std::uint64_t bytes) {
  ASSIGN_OR_RETURN(const sys::UniqueFd image,
                   sys::OpenBeneath(folder, kImageName, O_RDWR, sys::Links::kRefuse));
  ASSIGN_OR_RETURN(const sys::UniqueFd lock, Lock(folder));
  ASSIGN_OR_RETURN(std::optional<Loop> loop, FindLoop(image.get()));
  if (!loop) {
    RETURN_IF_ERROR(Repair(image.get(), {"e2fsck", "-p", kImageOfTool}));
    RETURN_IF_ERROR(Grow(image.get(), bytes));
    ASSIGN_OR_RETURN(loop, AttachLoop(image.get()));
  }
  Result<DiskMounts> mounts = DiskMounts{};
  std::jthread([&] { mounts = MountParts(loop->path); }).join();
  return mounts;
}

}  // namespace cofferdam::sandbox
