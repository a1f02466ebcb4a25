#include "projects/tree_copy.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "projects/object_store.h"
#include "projects/tree_walk.h"
#include "sys/fd.h"

namespace cofferdam::projects {
namespace {

// What the kernel has at most for one file.
constexpr std::size_t kMaxAttributeNames = 64 << 10;
constexpr std::size_t kMaxAttributeBytes = 64 << 10;
// A path in one call; longer ones are opened in steps.
constexpr std::size_t kMaxStep = 4000;

bool IsSuperuser() { return ::geteuid() == 0; }

std::string_view Parent(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? std::string_view() : path.substr(0, slash);
}

/// A directory below `root`, however long its path is.
Result<sys::UniqueFd> OpenBelow(int root, std::string_view path) {
  constexpr int kFlags = O_RDONLY | O_DIRECTORY;
  if (path.empty()) return sys::OpenAt(root, ".", kFlags);
  sys::UniqueFd directory;
  while (path.size() > kMaxStep) {
    const std::size_t slash = path.rfind('/', kMaxStep);
    const std::string step(path.substr(0, slash));
    path.remove_prefix(slash + 1);
    ASSIGN_OR_RETURN(directory, sys::OpenBeneath(directory.valid() ? directory.get() : root, step,
                                                 kFlags, sys::Links::kRefuse));
  }
  return sys::OpenBeneath(directory.valid() ? directory.get() : root, std::string(path), kFlags,
                          sys::Links::kRefuse);
}

/// Whether an attribute belongs to the copy: what users set, and of a directory what the format
/// makes an overlay's own.
bool IsCopied(std::string_view name, UpperFormat format, bool is_directory) {
  if (name.starts_with("trusted.overlay."))
    return format == UpperFormat::kTrusted && is_directory &&
           (name == "trusted.overlay.opaque" || name == "trusted.overlay.redirect");
  if (name.starts_with("user.overlay."))
    return format == UpperFormat::kUser && is_directory && name == "user.overlay.opaque";
  return name.starts_with("user.");
}

Status CopyAttributes(int from, int to, UpperFormat format, bool is_directory) {
  std::array<char, kMaxAttributeNames> names;
  const ssize_t length = ::flistxattr(from, names.data(), names.size());
  if (length < 0 && errno == ENOTSUP) return {};
  if (length < 0) return ErrnoError(errno, "listing the attributes of a file");
  std::string value;
  for (std::string_view rest(names.data(), static_cast<std::size_t>(length)); !rest.empty();) {
    const std::string name(rest.substr(0, rest.find('\0')));
    rest.remove_prefix(name.size() + 1);
    if (!IsCopied(name, format, is_directory)) continue;
    value.resize(kMaxAttributeBytes);
    const ssize_t bytes = ::fgetxattr(from, name.c_str(), value.data(), value.size());
    if (bytes < 0 && errno == ENODATA) continue;
    if (bytes < 0) return ErrnoError(errno, "reading an attribute of a file");
    if (::fsetxattr(to, name.c_str(), value.data(), static_cast<std::size_t>(bytes), 0) != 0)
      return ErrnoError(errno, "copying an attribute of a file");
  }
  return {};
}

/// What one entry is copied from.
struct Source {
  const std::string& path;
  int parent;
  const std::string& name;
  const struct stat& info;
  UpperFormat format;
  const NewOwner& owner;
};

class TreeCopier {
 public:
  explicit TreeCopier(int root) : root_(root) {}

  void LeaveOut(const std::string& path, LeftOut::Why why, std::uint64_t size = 0) {
    left_out_.push_back({path, why, size});
  }

  Status Add(const Source& source) {
    ASSIGN_OR_RETURN(const int parent, Enter(Parent(source.path)));
    switch (source.info.st_mode & S_IFMT) {
      case S_IFDIR:
        return AddDirectory(source, parent);
      case S_IFREG:
        return AddFile(source, parent);
      case S_IFLNK:
        return AddSymlink(source, parent);
      default:
        return AddSpecial(source, parent);
    }
  }

  /// The root itself, and what has to wait until nothing more comes into a directory.
  Result<std::vector<LeftOut>> Finish(const struct stat& root, const NewOwner& owner) {
    for (auto directory = directories_.rbegin(); directory != directories_.rend(); ++directory) {
      ASSIGN_OR_RETURN(const sys::UniqueFd fd, OpenBelow(root_, directory->first));
      RETURN_IF_ERROR(Dress(fd.get(), directory->second));
    }
    RETURN_IF_ERROR(Dress(root_, LookOf(root, owner)));
    return std::move(left_out_);
  }

 private:
  struct Look {
    sys::Owner owner;
    mode_t mode;
    timespec modified;
  };

  static Look LookOf(const struct stat& info, const NewOwner& owner) {
    return {.owner = {info.st_uid == owner.from.uid ? owner.to.uid : info.st_uid,
                      info.st_gid == owner.from.gid ? owner.to.gid : info.st_gid},
            .mode = info.st_mode & 0777,
            .modified = info.st_mtim};
  }

  // The owner first: changing it takes bits away.
  static Status Dress(int fd, const Look& look) {
    if (IsSuperuser() && ::fchown(fd, look.owner.uid, look.owner.gid) != 0)
      return ErrnoError(errno, "giving a copy to its owner");
    if (::fchmod(fd, look.mode) != 0) return ErrnoError(errno, "setting the mode of a copy");
    const std::array<timespec, 2> times = {look.modified, look.modified};
    if (::futimens(fd, times.data()) != 0) return ErrnoError(errno, "setting the time of a copy");
    return {};
  }

  /// The copy of the directory `path`, which is there.
  Result<int> Enter(std::string_view path) {
    if (!current_.valid() || current_path_ != path) {
      ASSIGN_OR_RETURN(current_, OpenBelow(root_, path));
      current_path_ = path;
    }
    return current_.get();
  }

  Status AddDirectory(const Source& source, int parent) {
    if (::mkdirat(parent, source.name.c_str(), 0700) != 0)
      return ErrnoError(errno, "making a directory of a copy");
    directories_.emplace_back(source.path, LookOf(source.info, source.owner));
    const auto from = OpenDirectory(source.parent, source.name, source.info);
    // Vanished, or closed to us: the walk finds nothing in it either, and says so.
    if (!from) return {};
    ASSIGN_OR_RETURN(const sys::UniqueFd to,
                     sys::OpenAt(parent, source.name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    return CopyAttributes(from->get(), to.get(), source.format, true);
  }

  Status AddFile(const Source& source, int parent) {
    const auto from = OpenFile(source.parent, source.name, source.info);
    if (!from) return LeaveOut(source, from.error());
    constexpr int kFlags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;
    ASSIGN_OR_RETURN(const sys::UniqueFd to, sys::OpenAt(parent, source.name, kFlags, 0600));
    RETURN_IF_ERROR(CopyContent(from->get(), to.get()));
    RETURN_IF_ERROR(CopyAttributes(from->get(), to.get(), source.format, false));
    return Dress(to.get(), LookOf(source.info, source.owner));
  }

  Status AddSymlink(const Source& source, int parent) {
    const auto node = ReadNode(source.parent, source.name, source.info, source.format);
    if (!node) return LeaveOut(source, node.error());
    if (::symlinkat(node->target.c_str(), parent, source.name.c_str()) != 0)
      return ErrnoError(errno, "copying a symbolic link");
    const Look look = LookOf(source.info, source.owner);
    if (IsSuperuser() && ::fchownat(parent, source.name.c_str(), look.owner.uid, look.owner.gid,
                                    AT_SYMLINK_NOFOLLOW) != 0)
      return ErrnoError(errno, "giving a copy to its owner");
    const std::array<timespec, 2> times = {look.modified, look.modified};
    if (::utimensat(parent, source.name.c_str(), times.data(), AT_SYMLINK_NOFOLLOW) != 0)
      return ErrnoError(errno, "setting the time of a copy");
    return {};
  }

  Status AddSpecial(const Source& source, int parent) {
    const auto node = ReadNode(source.parent, source.name, source.info, source.format);
    if (!node) return LeaveOut(source, node.error());
    if (node->kind != NodeKind::kWhiteout) {
      LeaveOut(source.path, LeftOut::Why::kSpecial);
      return {};
    }
    if (::mknodat(parent, source.name.c_str(), S_IFCHR, makedev(0, 0)) != 0)
      return ErrnoError(errno, "copying a whiteout");
    return {};
  }

  /// What has vanished meanwhile was never there.
  Status LeaveOut(const Source& source, const Error& error) {
    if (error.code == ErrorCode::kNotFound) return {};
    if (error.code != ErrorCode::kPermissionDenied) return std::unexpected(error);
    LeaveOut(source.path, LeftOut::Why::kUnreadable,
             static_cast<std::uint64_t>(source.info.st_size));
    return {};
  }

  int root_;
  std::string current_path_;
  sys::UniqueFd current_;
  std::vector<std::pair<std::string, Look>> directories_;
  std::vector<LeftOut> left_out_;
};

}  // namespace

Result<std::vector<LeftOut>> CopyTree(const LayerView& from, int to, const NewOwner& owner,
                                      const std::stop_token& stop) {
  ASSIGN_OR_RETURN(const struct stat root, sys::Stat(from.root));
  TreeCopier copier(to);
  const TreeVisitor copy = [&](const TreeEntry& entry) -> Result<Descend> {
    RETURN_IF_ERROR(
        copier.Add({entry.path, entry.parent, entry.name, entry.info, from.format, owner}));
    return Descend::kYes;
  };
  RETURN_IF_ERROR(WalkTree(from.root, copy, stop, [&copier](const std::string& path) {
    copier.LeaveOut(path, LeftOut::Why::kUnreadable);
  }));
  return copier.Finish(root, owner);
}

Result<std::vector<LeftOut>> CopyMergedTree(const std::vector<LayerView>& layers, int to,
                                            const std::vector<NewOwner>& owners,
                                            const std::stop_token& stop) {
  CHECK(!layers.empty() && owners.size() == layers.size());
  ASSIGN_OR_RETURN(const struct stat root, sys::Stat(layers.front().root));
  TreeCopier copier(to);
  const auto copy = [&](const std::string& path, const Found& found) -> Result<Descend> {
    RETURN_IF_ERROR(copier.Add({path, found.parent.get(), found.name, found.info,
                                UpperFormat::kPlain, owners[found.layer]}));
    return Descend::kYes;
  };
  const auto leave_out = [&copier](const std::string& path) {
    copier.LeaveOut(path, LeftOut::Why::kUnreadable);
  };
  RETURN_IF_ERROR(MergedTree(layers).Walk("", copy, stop, leave_out));
  return copier.Finish(root, owners.front());
}

}  // namespace cofferdam::projects
