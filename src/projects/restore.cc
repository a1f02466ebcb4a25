#include "projects/restore.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <ranges>
#include <string>
#include <string_view>
#include <utility>

#include "projects/temporary_name.h"
#include "projects/tree_walk.h"
#include "sys/file.h"

namespace cofferdam::projects {
namespace {

constexpr std::string_view kTemporary = ".cofferdam-";
constexpr std::uint64_t kMaxSyncedEach = 256;
constexpr std::int64_t kNanosInSecond = 1'000'000'000;

std::string ParentOf(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? std::string() : path.substr(0, slash);
}
std::string NameOf(const std::string& path) { return path.substr(path.rfind('/') + 1); }

Result<sys::UniqueFd> OpenDirectoryBelow(int root, const std::string& path, int flags) {
  return sys::OpenBeneath(root, path.empty() ? "." : path, flags | O_DIRECTORY,
                          sys::Links::kRefuse);
}

/// The times of a file that is to have this one: who looked at it last is nobody's.
std::array<timespec, 2> TimesOf(std::int64_t modified_nanos) {
  std::int64_t seconds = modified_nanos / kNanosInSecond;
  std::int64_t nanos = modified_nanos % kNanosInSecond;
  if (nanos < 0) {
    --seconds;
    nanos += kNanosInSecond;
  }
  return {timespec{0, UTIME_OMIT}, timespec{seconds, nanos}};
}

Status SetMark(int directory, UpperFormat format, std::string_view mark, std::string_view value) {
  const std::string name =
      (format == UpperFormat::kTrusted ? "trusted.overlay." : "user.overlay.") + std::string(mark);
  const int set = value.empty()
                      ? ::fremovexattr(directory, name.c_str())
                      : ::fsetxattr(directory, name.c_str(), value.data(), value.size(), 0);
  if (set == 0 || (value.empty() && (errno == ENODATA || errno == EOPNOTSUPP))) return {};
  return ErrnoError(errno, "setting an overlay's attribute");
}

class Rewriter {
 public:
  Rewriter(const Upper& upper, KeptTree wanted, const KeptTree& known, const ObjectStore& objects)
      : upper_(upper),
        wanted_(std::move(wanted)),
        known_(known),
        objects_(objects),
        now_(RealTimeNanos()) {}

  Result<Rewritten> Run() {
    ASSIGN_OR_RETURN(const struct stat root, sys::Stat(upper_.root));
    RETURN_IF_ERROR(MakeAccessible(upper_.root, ".", root));
    RETURN_IF_ERROR(WalkTree(upper_.root, [this](const TreeEntry& entry) { return Clear(entry); }));
    for (const auto& [path, want] : wanted_) RETURN_IF_ERROR(Write(path, want));
    RETURN_IF_ERROR(SetDirectoryModes());
    return std::move(done_);
  }

 private:
  // ---- What is there

  /// Removes what is in the way, and takes from `wanted_` what is right or has to be left alone.
  Result<Descend> Clear(const TreeEntry& entry) {
    const auto wanted = wanted_.find(entry.path);
    if (wanted == wanted_.end()) return Remove(entry);
    const Kept& want = wanted->second;
    const Kept* const have = Have(entry);
    if (!IsKept(want)) {
      if (have == nullptr || have->checkpoint != want.checkpoint) LeaveOut(entry.path, want);
      wanted_.erase(wanted);
      return Descend::kNo;
    }
    if (S_ISDIR(entry.info.st_mode) != (want.node.kind == NodeKind::kDirectory))
      return Remove(entry);
    if (S_ISDIR(entry.info.st_mode)) return ClearDirectory(entry, wanted);
    if (have != nullptr && IsSame(*have, want)) wanted_.erase(wanted);
    return Descend::kNo;
  }

  Result<Descend> ClearDirectory(const TreeEntry& entry, KeptTree::iterator wanted) {
    ASSIGN_OR_RETURN(const bool was_changed, MakeAccessible(entry.parent, entry.name, entry.info));
    ASSIGN_OR_RETURN(const sys::UniqueFd opened,
                     OpenDirectory(entry.parent, entry.name, entry.info));
    // A mark that no overlay would have written goes, too.
    auto node = ReadDirectory(opened.get(), entry.info, upper_.format);
    if (!node && node.error().code != ErrorCode::kCorrupt)
      return std::unexpected(std::move(node).error());
    if (node) node->modified_nanos = wanted->second.node.modified_nanos;
    if (node && *node == wanted->second.node && !was_changed) wanted_.erase(wanted);
    return Descend::kYes;
  }

  /// What is known of something, when it is still that.
  const Kept* Have(const TreeEntry& entry) const {
    const auto known = known_.find(entry.path);
    if (known == known_.end() || !StampsFit(known->second.stamp, StampOf(entry.info, now_)))
      return nullptr;
    return &known->second;
  }

  Result<Descend> Remove(const TreeEntry& entry) {
    RETURN_IF_ERROR(sys::RemoveTree(entry.parent, entry.name));
    done_.directories.insert(ParentOf(entry.path));
    ++done_.paths;
    return Descend::kNo;
  }

  /// An agent can take its own rights on a directory away, and with them ours. True when it had.
  static Result<bool> MakeAccessible(int parent, const std::string& name, const struct stat& info) {
    if ((info.st_mode & S_IRWXU) == S_IRWXU) return false;
    if (::fchmodat(parent, name.c_str(), (info.st_mode & 0777) | S_IRWXU, AT_SYMLINK_NOFOLLOW) != 0)
      return ErrnoError(errno, "making a directory accessible");
    return true;
  }

  void LeaveOut(const std::string& path, const Kept& want) {
    const bool is_special = want.node.kind != NodeKind::kFile;
    done_.left_out.push_back({path,
                              is_special            ? LeftOut::Why::kSpecial
                              : want.object.empty() ? LeftOut::Why::kTooLarge
                                                    : LeftOut::Why::kUnreadable,
                              want.node.size});
  }

  // ---- What is to be there

  Status Write(const std::string& path, const Kept& want) {
    const bool means_nothing =
        want.node.kind == NodeKind::kWhiteout && upper_.format == UpperFormat::kPlain;
    if (!IsKept(want) || means_nothing) {
      LeaveOut(path, want);
      return {};
    }
    RETURN_IF_ERROR(OpenParent(path));
    const Status written = WriteNode(NameOf(path), want);
    if (!written && want.node.kind == NodeKind::kFile && IsLost(written.error())) {
      LeaveOut(path, want);
      return {};
    }
    if (!written) return std::unexpected(written.error().With(PathForPerson(path)));
    ++done_.paths;
    done_.directories.insert(parent_path_);
    if (want.node.kind != NodeKind::kDirectory) return Remember(path, want);
    done_.directories.insert(path);
    return {};
  }

  static bool IsLost(const Error& error) {
    return error.code == ErrorCode::kNotFound || error.code == ErrorCode::kCorrupt;
  }

  /// The next path is mostly in the same directory.
  Status OpenParent(const std::string& path) {
    std::string wanted = ParentOf(path);
    if (parent_.valid() && wanted == parent_path_) return {};
    ASSIGN_OR_RETURN(parent_, OpenDirectoryBelow(upper_.root, wanted, O_PATH));
    parent_path_ = std::move(wanted);
    return {};
  }

  Status Remember(const std::string& path, const Kept& want) {
    struct stat info;
    if (::fstatat(parent_.get(), NameOf(path).c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0)
      return ErrnoError(errno, "reading file attributes");
    Kept kept = want;
    kept.stamp = StampOf(info, RealTimeNanos());
    done_.written.emplace_hint(done_.written.end(), path, std::move(kept));
    return {};
  }

  Status WriteNode(const std::string& name, const Kept& want) {
    if (want.node.kind == NodeKind::kDirectory) return WriteDirectory(name, want.node);
    TemporaryName temporary(parent_.get(), kTemporary);
    if (want.node.kind == NodeKind::kFile)
      RETURN_IF_ERROR(WriteFile(temporary.name(), want));
    else
      RETURN_IF_ERROR(WriteSpecial(temporary.name(), want.node));
    return temporary.Rename(name);
  }

  Status WriteFile(const std::string& name, const Kept& want) {
    ASSIGN_OR_RETURN(
        const sys::UniqueFd file,
        sys::OpenAt(parent_.get(), name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
    RETURN_IF_ERROR(objects_.CopyTo(want.object, file.get()));
    const auto times = TimesOf(want.node.modified_nanos);
    if (::fchown(file.get(), upper_.owner.uid, upper_.owner.gid) != 0 ||
        ::fchmod(file.get(), want.node.mode) != 0 || ::futimens(file.get(), times.data()) != 0)
      return ErrnoError(errno, "setting a file's attributes");
    return {};
  }

  /// A symlink or a whiteout.
  Status WriteSpecial(const std::string& name, const Node& node) {
    const int made = node.kind == NodeKind::kSymlink
                         ? ::symlinkat(node.target.c_str(), parent_.get(), name.c_str())
                         : ::mknodat(parent_.get(), name.c_str(), S_IFCHR, ::makedev(0, 0));
    if (made != 0) return ErrnoError(errno, "making a link or a whiteout");
    const auto times = TimesOf(node.modified_nanos);
    if (::fchownat(parent_.get(), name.c_str(), upper_.owner.uid, upper_.owner.gid,
                   AT_SYMLINK_NOFOLLOW) != 0 ||
        ::utimensat(parent_.get(), name.c_str(), times.data(), AT_SYMLINK_NOFOLLOW) != 0)
      return ErrnoError(errno, "setting a link's or a whiteout's attributes");
    return {};
  }

  Status WriteDirectory(const std::string& name, const Node& node) {
    const bool is_new = ::mkdirat(parent_.get(), name.c_str(), 0700) == 0;
    if (!is_new && errno != EEXIST) return ErrnoError(errno, "making a directory");
    ASSIGN_OR_RETURN(const sys::UniqueFd directory,
                     sys::OpenEntry(parent_.get(), name, O_RDONLY | O_DIRECTORY));
    if (is_new && ::fchown(directory.get(), upper_.owner.uid, upper_.owner.gid) != 0)
      return ErrnoError(errno, "setting a directory's owner");
    if (upper_.format == UpperFormat::kPlain) return {};
    RETURN_IF_ERROR(SetMark(directory.get(), upper_.format, "opaque", node.opaque ? "y" : ""));
    return SetMark(directory.get(), upper_.format, "redirect", node.redirect);
  }

  /// Last, and what is below before what is above: some do not let anybody in.
  Status SetDirectoryModes() {
    for (const auto& [path, want] : std::views::reverse(wanted_)) {
      if (want.node.kind != NodeKind::kDirectory) continue;
      ASSIGN_OR_RETURN(const sys::UniqueFd directory,
                       OpenDirectoryBelow(upper_.root, path, O_RDONLY));
      if (::fchmod(directory.get(), want.node.mode) != 0)
        return ErrnoError(errno, "setting a directory's permissions");
    }
    return {};
  }

  const Upper& upper_;
  KeptTree wanted_;
  const KeptTree& known_;
  const ObjectStore& objects_;
  const std::int64_t now_;
  std::string parent_path_;
  sys::UniqueFd parent_;
  Rewritten done_;
};

Status SyncEach(const Upper& upper, const Rewritten& rewritten) {
  const auto sync = [&](const std::string& path, int flags) -> Status {
    ASSIGN_OR_RETURN(const sys::UniqueFd opened,
                     sys::OpenBeneath(upper.root, path.empty() ? "." : path, O_RDONLY | flags,
                                      sys::Links::kRefuse));
    if (::fsync(opened.get()) != 0) return ErrnoError(errno, "syncing what was restored");
    return {};
  };
  for (const auto& [path, kept] : rewritten.written)
    if (kept.node.kind == NodeKind::kFile) RETURN_IF_ERROR(sync(path, O_NOFOLLOW));
  for (const std::string& path : rewritten.directories) RETURN_IF_ERROR(sync(path, O_DIRECTORY));
  return {};
}

Status SyncFileSystem(int directory) {
  ASSIGN_OR_RETURN(const sys::UniqueFd opened, sys::OpenAt(directory, ".", O_RDONLY | O_DIRECTORY));
  if (::syncfs(opened.get()) != 0) return ErrnoError(errno, "syncing what was restored");
  return {};
}

}  // namespace

Result<Rewritten> RewriteUpper(const Upper& upper, KeptTree wanted, const KeptTree& known,
                               const ObjectStore& objects) {
  return Rewriter(upper, std::move(wanted), known, objects).Run();
}

Status SyncRewritten(const Upper& upper, const Rewritten& rewritten) {
  // The file system as a whole may have much to write for others, but many files are slow, too.
  if (rewritten.paths <= kMaxSyncedEach) {
    const Status synced = SyncEach(upper, rewritten);
    // What the agent let nobody read can be synced only so.
    if (synced || synced.error().code != ErrorCode::kPermissionDenied) return synced;
  }
  return SyncFileSystem(upper.root);
}

}  // namespace cofferdam::projects
