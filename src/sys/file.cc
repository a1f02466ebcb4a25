#include "sys/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <memory>

namespace cofferdam::sys {
namespace {

std::string Quoted(std::string_view what, std::string_view path) {
  std::string text(what);
  text += " '";
  text += path;
  text += "'";
  return text;
}

struct DirCloser {
  void operator()(DIR* dir) const { ::closedir(dir); }
};

// A depth that no honest tree has; deeper ones are refused instead of exhausting the stack.
constexpr int kMaxTreeDepth = 4096;

int OpenForRemoval(int directory, const std::string& name) {
  return ::openat(directory, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

Status RemoveTreeAt(int directory, const std::string& name, dev_t device, int depth) {
  if (::unlinkat(directory, name.c_str(), 0) == 0 || errno == ENOENT) return {};
  if (errno != EISDIR && errno != EPERM) return ErrnoError(errno, Quoted("removing", name));
  if (depth > kMaxTreeDepth) return Err(ErrorCode::kTooLarge, Quoted("too deep to remove:", name));
  int raw = OpenForRemoval(directory, name);
  // An agent can take its owner's rights away, but not the right to give them back.
  if (raw < 0 && errno == EACCES &&
      ::fchmodat(directory, name.c_str(), 0700, AT_SYMLINK_NOFOLLOW) == 0)
    raw = OpenForRemoval(directory, name);
  if (raw < 0) return ErrnoError(errno, Quoted("opening to remove", name));
  const UniqueFd child(raw);
  ASSIGN_OR_RETURN(const struct stat info, Stat(child.get()));
  if (info.st_dev != device)
    return Err(ErrorCode::kBusy, Quoted("another file system is mounted on", name));
  ASSIGN_OR_RETURN(const std::vector<std::string> entries, ListDirectory(child.get()));
  for (const std::string& entry : entries)
    RETURN_IF_ERROR(RemoveTreeAt(child.get(), entry, device, depth + 1));
  if (::unlinkat(directory, name.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT)
    return ErrnoError(errno, Quoted("removing", name));
  return {};
}

struct Giving {
  Owner from;
  Owner to;
  dev_t device;
};

Status GiveOne(int directory, const std::string& name, const struct stat& info,
               const Giving& giving) {
  const uid_t uid = info.st_uid == giving.from.uid ? giving.to.uid : static_cast<uid_t>(-1);
  const gid_t gid = info.st_gid == giving.from.gid ? giving.to.gid : static_cast<gid_t>(-1);
  if (::fchownat(directory, name.c_str(), uid, gid, AT_SYMLINK_NOFOLLOW) == 0) return {};
  return ErrnoError(errno, Quoted("changing the owner of", name));
}

Status GiveTreeAt(int directory, const std::string& name, const Giving& giving, int depth) {
  struct stat info;
  if (::fstatat(directory, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0)
    return ErrnoError(errno, Quoted("reading the owner of", name));
  if (!S_ISDIR(info.st_mode)) return GiveOne(directory, name, info, giving);
  if (depth > kMaxTreeDepth) return Err(ErrorCode::kTooLarge, Quoted("too deep to give:", name));
  ASSIGN_OR_RETURN(const UniqueFd child,
                   OpenAt(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  ASSIGN_OR_RETURN(info, Stat(child.get()));
  if (info.st_dev != giving.device)
    return Err(ErrorCode::kBusy, Quoted("another file system is mounted on", name));
  ASSIGN_OR_RETURN(const std::vector<std::string> entries, ListDirectory(child.get()));
  for (const std::string& entry : entries)
    RETURN_IF_ERROR(GiveTreeAt(child.get(), entry, giving, depth + 1));
  return GiveOne(child.get(), ".", info, giving);
}

}  // namespace

Result<UniqueFd> OpenBeneath(int directory, const std::string& path, int flags, Links links,
                             mode_t mode) {
  open_how how{};
  how.flags = static_cast<__u64>(flags | O_CLOEXEC);
  how.mode = (flags & (O_CREAT | __O_TMPFILE)) != 0 ? mode : 0;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  if (links == Links::kRefuse) how.resolve |= RESOLVE_NO_SYMLINKS;
  for (;;) {
    const long fd = ::syscall(SYS_openat2, directory, path.c_str(), &how, sizeof(how));
    if (fd >= 0) return UniqueFd(static_cast<int>(fd));
    // EAGAIN: a rename somewhere raced with the walk, and the kernel could not be sure.
    if (errno == EINTR || errno == EAGAIN) continue;
    if (errno == EXDEV)
      return Err(ErrorCode::kPermissionDenied, Quoted("path leads out of its directory:", path));
    if (errno == ELOOP && links == Links::kRefuse)
      return Err(ErrorCode::kPermissionDenied,
                 Quoted("a symbolic link is not allowed here:", path));
    return ErrnoError(errno, Quoted("opening", path));
  }
}

Result<UniqueFd> OpenAt(int directory, const std::string& path, int flags, mode_t mode) {
  for (;;) {
    const int fd = ::openat(directory, path.c_str(), flags | O_CLOEXEC, mode);
    if (fd >= 0) return UniqueFd(fd);
    if (errno != EINTR) return ErrnoError(errno, Quoted("opening", path));
  }
}

Result<UniqueFd> Open(const std::string& path, int flags, mode_t mode) {
  return OpenAt(AT_FDCWD, path, flags, mode);
}

Status MakeDirectories(const std::string& path, mode_t mode) {
  for (std::size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
    const std::string part = path.substr(0, end);
    if (::mkdir(part.c_str(), mode) != 0 && errno != EEXIST) {
      struct stat info;
      // A parent on a read-only or forbidden mount may exist all the same.
      const int error_number = errno;
      if (::stat(part.c_str(), &info) != 0 || !S_ISDIR(info.st_mode))
        return ErrnoError(error_number, Quoted("making directory", part));
    }
    if (end == std::string::npos) break;
  }
  struct stat info;
  if (::stat(path.c_str(), &info) != 0) return ErrnoError(errno, Quoted("making directory", path));
  if (!S_ISDIR(info.st_mode)) return ErrnoError(ENOTDIR, Quoted("making directory", path));
  return {};
}

Result<std::string> ReadFileAt(int directory, const std::string& path, std::size_t max_bytes) {
  ASSIGN_OR_RETURN(const UniqueFd fd, OpenAt(directory, path, O_RDONLY));
  auto text = ReadAll(fd.get(), max_bytes);
  if (!text) return std::unexpected(text.error().With(Quoted("reading", path)));
  return text;
}

Result<std::string> ReadFile(const std::string& path, std::size_t max_bytes) {
  return ReadFileAt(AT_FDCWD, path, max_bytes);
}

Status WriteFileAt(int directory, const std::string& path, std::string_view text) {
  ASSIGN_OR_RETURN(const UniqueFd fd, OpenAt(directory, path, O_WRONLY));
  auto written = WriteAll(fd.get(), text);
  if (!written) return std::unexpected(written.error().With(Quoted("writing", path)));
  return {};
}

Result<std::vector<std::string>> ListDirectory(int directory) {
  ASSIGN_OR_RETURN(UniqueFd copy, OpenAt(directory, ".", O_RDONLY | O_DIRECTORY));
  const std::unique_ptr<DIR, DirCloser> dir(::fdopendir(copy.get()));
  if (dir == nullptr) return ErrnoError(errno, "listing a directory");
  static_cast<void>(copy.Release());
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(dir.get());
    if (entry == nullptr) break;
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  if (errno != 0) return ErrnoError(errno, "listing a directory");
  return names;
}

Result<struct stat> Stat(int fd) {
  struct stat info;
  if (::fstat(fd, &info) != 0) return ErrnoError(errno, "reading file attributes");
  return info;
}

Status RemoveTree(int directory, const std::string& name) {
  struct stat info;
  if (::fstatat(directory, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return {};
    return ErrnoError(errno, Quoted("removing", name));
  }
  return RemoveTreeAt(directory, name, info.st_dev, 0);
}

Status GiveTree(int directory, const std::string& name, Owner to) {
  struct stat info;
  if (::fstatat(directory, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0)
    return ErrnoError(errno, Quoted("reading the owner of", name));
  return GiveTreeAt(directory, name, {{info.st_uid, info.st_gid}, to, info.st_dev}, 0);
}

}  // namespace cofferdam::sys
