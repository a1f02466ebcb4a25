#include "sys/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
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

// So many directories are open at once, however deep a tree is.
constexpr int kMaxOpenDepth = 64;
// Every level of a tree that is given away is open; a deeper one stays as it is.
constexpr int kMaxGivenDepth = 500;
// More than anybody can make while we remove, unless they make it for that.
constexpr int kMaxHoisted = 1 << 20;

int OpenForRemoval(int directory, const std::string& name) {
  return ::openat(directory, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

// What lies deeper than we may hold open is moved to the top of the tree, and its turn comes later.
class TreeRemover {
 public:
  TreeRemover(int directory, const std::string& name, dev_t device)
      : directory_(directory), name_(name), device_(device) {}

  Status Run() {
    if (Unlinked(directory_, name_)) return {};
    if (errno != EISDIR && errno != EPERM) return ErrnoError(errno, Quoted("removing", name_));
    ASSIGN_OR_RETURN(top_, OpenDirectory(directory_, name_));
    for (int hoisted = -1; hoisted != hoisted_;) {
      hoisted = hoisted_;
      RETURN_IF_ERROR(RemoveContents(top_.get(), 0));
    }
    return RemoveEmpty(directory_, name_);
  }

 private:
  static bool Unlinked(int directory, const std::string& name) {
    return ::unlinkat(directory, name.c_str(), 0) == 0 || errno == ENOENT;
  }
  static Status RemoveEmpty(int directory, const std::string& name) {
    if (::unlinkat(directory, name.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT) return {};
    return ErrnoError(errno, Quoted("removing", name));
  }

  // An agent can take its owner's rights away, but not the right to give them back.
  Result<UniqueFd> OpenDirectory(int parent, const std::string& name) const {
    int raw = OpenForRemoval(parent, name);
    if (raw < 0 && errno == EACCES &&
        ::fchmodat(parent, name.c_str(), 0700, AT_SYMLINK_NOFOLLOW) == 0)
      raw = OpenForRemoval(parent, name);
    if (raw < 0) return ErrnoError(errno, Quoted("opening to remove", name));
    UniqueFd opened(raw);
    ASSIGN_OR_RETURN(const struct stat info, Stat(raw));
    if (info.st_dev != device_)
      return Err(ErrorCode::kBusy, Quoted("another file system is mounted on", name));
    if ((info.st_mode & S_IRWXU) != S_IRWXU && ::fchmod(raw, S_IRWXU) != 0)
      return ErrnoError(errno, Quoted("opening to remove", name));
    return opened;
  }

  Status RemoveContents(int directory, int depth) {
    ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory(directory));
    for (const std::string& name : names) RETURN_IF_ERROR(Remove(directory, name, depth));
    return {};
  }

  Status Remove(int directory, const std::string& name, int depth) {
    if (Unlinked(directory, name)) return {};
    if (errno != EISDIR && errno != EPERM) return ErrnoError(errno, Quoted("removing", name));
    ASSIGN_OR_RETURN(const UniqueFd child, OpenDirectory(directory, name));
    if (depth == kMaxOpenDepth) return Hoist(directory, name);
    RETURN_IF_ERROR(RemoveContents(child.get(), depth + 1));
    return RemoveEmpty(directory, name);
  }

  Status Hoist(int directory, const std::string& name) {
    while (++hoisted_ < kMaxHoisted) {
      const std::string place = ".deeper-" + std::to_string(hoisted_);
      if (::renameat2(directory, name.c_str(), top_.get(), place.c_str(), RENAME_NOREPLACE) == 0 ||
          errno == ENOENT)
        return {};
      if (errno != EEXIST) return ErrnoError(errno, Quoted("moving to remove", name));
    }
    return Err(ErrorCode::kTooLarge, Quoted("too much to remove in", name_));
  }

  int directory_;
  const std::string& name_;
  dev_t device_;
  UniqueFd top_;
  int hoisted_ = 0;
};

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
  if (depth > kMaxGivenDepth) return Err(ErrorCode::kTooLarge, Quoted("too deep to give:", name));
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

Result<UniqueFd> OpenEntry(int directory, const std::string& name, int flags) {
  open_how how{};
  how.flags = static_cast<__u64>(flags | O_NOFOLLOW | O_CLOEXEC);
  if ((flags & O_PATH) == 0) how.flags |= O_NONBLOCK | O_NOCTTY;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;
  for (;;) {
    const long fd = ::syscall(SYS_openat2, directory, name.c_str(), &how, sizeof(how));
    if (fd >= 0) return UniqueFd(static_cast<int>(fd));
    if (errno != EINTR && errno != EAGAIN) return ErrnoError(errno, Quoted("opening", name));
  }
}

Result<UniqueFd> OpenNamed(const std::string& path, int flags, mode_t mode) {
  open_how how{};
  how.flags = static_cast<__u64>(flags | O_CLOEXEC);
  how.mode = (flags & O_CREAT) != 0 ? mode : 0;
  how.resolve = RESOLVE_NO_MAGICLINKS;
  for (;;) {
    const long fd = ::syscall(SYS_openat2, AT_FDCWD, path.c_str(), &how, sizeof(how));
    if (fd >= 0) return UniqueFd(static_cast<int>(fd));
    if (errno != EINTR && errno != EAGAIN) return ErrnoError(errno, Quoted("opening", path));
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
  return TreeRemover(directory, name, info.st_dev).Run();
}

Status GiveTree(int directory, const std::string& name, Owner to) {
  struct stat info;
  if (::fstatat(directory, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0)
    return ErrnoError(errno, Quoted("reading the owner of", name));
  return GiveTreeAt(directory, name, {{info.st_uid, info.st_gid}, to, info.st_dev}, 0);
}

}  // namespace cofferdam::sys
