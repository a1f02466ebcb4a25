#include "projects/tree_walk.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/utf8.h"
#include "sys/file.h"

namespace cofferdam::projects {
namespace {

constexpr std::size_t kListingBytes = 64 << 10;
// So many directories of a walk are open at once, however deep it is.
constexpr std::size_t kMaxOpenDirectories = 64;
// What an overlay writes is at most PATH_MAX; redirects of its own it keeps below 256.
constexpr std::size_t kMaxRedirectBytes = PATH_MAX;
constexpr std::size_t kMaxPersonBytes = 4096;
constexpr std::string_view kCut = "...";
constexpr mode_t kPermissionBits = 0777;

std::unexpected<Error> Vanished() {
  return Err(ErrorCode::kNotFound, "the file is not there any more");
}

// What opening a name says when it is another thing by now than what was looked at.
bool IsSwapped(const Error& error) {
  return error.sys_errno == ENOENT || error.sys_errno == ENOTDIR || error.sys_errno == ELOOP ||
         error.sys_errno == ENXIO || error.sys_errno == ESTALE;
}

bool IsSame(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino &&
         (a.st_mode & S_IFMT) == (b.st_mode & S_IFMT);
}

Result<sys::UniqueFd> OpenSame(int parent, const std::string& name, int flags,
                               const struct stat& info) {
  auto opened = sys::OpenEntry(parent, name, flags);
  if (!opened && IsSwapped(opened.error())) return Vanished();
  if (!opened && opened.error().sys_errno == EXDEV)
    return Err(ErrorCode::kBusy, "something is mounted here");
  if (!opened) return opened;
  ASSIGN_OR_RETURN(const struct stat now, sys::Stat(opened->get()));
  if (!IsSame(now, info)) return Vanished();
  return opened;
}

// Anybody may set a time that nanoseconds since 1970 cannot say: the nearest that they can.
std::int64_t Nanos(const struct timespec& time) {
  constexpr std::int64_t kMaxSeconds = INT64_MAX / 1'000'000'000 - 1;
  return std::clamp<std::int64_t>(time.tv_sec, -kMaxSeconds, kMaxSeconds) * 1'000'000'000 +
         time.tv_nsec;
}

// The names of one directory, in one piece of memory.
class Names {
 public:
  static Result<Names> Read(int directory) {
    Names names;
    std::vector<char> buffer(kListingBytes);
    for (;;) {
      const long size = ::syscall(SYS_getdents64, directory, buffer.data(), buffer.size());
      if (size < 0) return ErrnoError(errno, "listing a directory");
      if (size == 0) break;
      names.Append(buffer.data(), buffer.data() + size);
    }
    names.Sort();
    return names;
  }

  bool done() const { return next_ == order_.size(); }
  const char* Next() { return order_[next_++]; }
  void Skip() { next_ = order_.size(); }
  std::size_t size() const { return order_.size(); }

 private:
  void Append(const char* from, const char* end) {
    while (from < end) {
      const auto* entry = reinterpret_cast<const dirent64*>(from);
      const std::size_t length = std::strlen(entry->d_name);
      const std::string_view name(entry->d_name, length);
      if (name != "." && name != "..")
        bytes_.insert(bytes_.end(), name.data(), name.data() + length + 1);
      from += entry->d_reclen;
    }
  }
  void Sort() {
    for (const char* name = bytes_.data(); name < bytes_.data() + bytes_.size();
         name += std::strlen(name) + 1)
      order_.push_back(name);
    std::sort(order_.begin(), order_.end(),
              [](const char* a, const char* b) { return std::strcmp(a, b) < 0; });
  }

  std::vector<char> bytes_;
  std::vector<const char*> order_;
  std::size_t next_ = 0;
};

class Walker {
 public:
  Walker(int root, const TreeVisitor& visit, const std::stop_token& stop,
         const std::function<void(const std::string&)>& unreadable)
      : root_(root), visit_(visit), stop_(stop), unreadable_(unreadable) {}

  Status Run() {
    ASSIGN_OR_RETURN(sys::UniqueFd top, sys::OpenAt(root_, ".", O_RDONLY | O_DIRECTORY));
    ASSIGN_OR_RETURN(const struct stat info, sys::Stat(top.get()));
    RETURN_IF_ERROR(Enter(std::move(top), info));
    while (!levels_.empty()) {
      if (stop_.stop_requested()) return Err(ErrorCode::kCancelled, "the walk was cancelled");
      if (levels_.back().names.done())
        Leave();
      else
        RETURN_IF_ERROR(VisitNext());
    }
    return {};
  }

 private:
  struct Level {
    sys::UniqueFd directory;  // closed while the walk is far below it
    struct stat info;
    std::size_t path_size;  // of the directory's path, in path_
    Names names;
  };

  Status Enter(sys::UniqueFd directory, const struct stat& info) {
    auto names = Names::Read(directory.get());
    // A directory that was removed while it was open.
    if (!names && names.error().sys_errno == ENOENT) return {};
    if (!names) return std::unexpected(std::move(names).error());
    levels_.push_back({std::move(directory), info, path_.size(), std::move(*names)});
    if (levels_.size() > kMaxOpenDirectories)
      levels_[levels_.size() - 1 - kMaxOpenDirectories].directory.Reset();
    return {};
  }

  Status VisitNext() {
    Level& level = levels_.back();
    name_ = level.names.Next();
    path_.resize(level.path_size);
    struct stat info;
    if (::fstatat(level.directory.get(), name_.c_str(), &info,
                  AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) != 0) {
      if (errno == ENOENT) return {};
      if (errno != EACCES) return ErrnoError(errno, "reading file attributes");
      level.names.Skip();
      return MayNotRead();
    }
    if (!path_.empty()) path_ += '/';
    path_ += name_;
    const int parent = level.directory.get();
    ASSIGN_OR_RETURN(const Descend descend, visit_({path_, parent, name_, info}));
    if (descend == Descend::kNo || !S_ISDIR(info.st_mode)) return {};
    auto directory = OpenDirectory(parent, name_, info);
    if (directory) return Enter(std::move(*directory), info);
    const ErrorCode code = directory.error().code;
    if (code == ErrorCode::kNotFound || code == ErrorCode::kBusy) return {};
    if (code == ErrorCode::kPermissionDenied) return MayNotRead();
    return std::unexpected(std::move(directory).error());
  }

  Status MayNotRead() {
    if (!unreadable_)
      return Err(ErrorCode::kPermissionDenied,
                 "directory '" + PathForPerson(path_) + "' may not be read");
    unreadable_(path_);
    return {};
  }

  void Leave() {
    const sys::UniqueFd left = std::move(levels_.back().directory);
    levels_.pop_back();
    if (levels_.empty() || levels_.back().directory.valid()) return;
    sys::UniqueFd above = OpenAbove(left, levels_.back().info);
    if (!above.valid()) above = OpenFromRoot();
    // It was moved away: as if it had never been there.
    if (!above.valid()) levels_.back().names.Skip();
    levels_.back().directory = std::move(above);
  }

  static sys::UniqueFd OpenIfSame(int from, const char* name, const struct stat& info) {
    sys::UniqueFd opened(::openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    struct stat now;
    if (opened.valid() && (::fstat(opened.get(), &now) != 0 || !IsSame(now, info))) opened.Reset();
    return opened;
  }

  static sys::UniqueFd OpenAbove(const sys::UniqueFd& below, const struct stat& info) {
    return below.valid() ? OpenIfSame(below.get(), "..", info) : sys::UniqueFd();
  }

  // The last level's directory, by the names that led to it.
  sys::UniqueFd OpenFromRoot() const {
    sys::UniqueFd directory = OpenIfSame(root_, ".", levels_.front().info);
    for (std::size_t i = 1; i < levels_.size() && directory.valid(); ++i) {
      const std::size_t above = levels_[i - 1].path_size;
      const std::size_t begin = above == 0 ? 0 : above + 1;
      const std::string name = path_.substr(begin, levels_[i].path_size - begin);
      directory = OpenIfSame(directory.get(), name.c_str(), levels_[i].info);
    }
    return directory;
  }

  int root_;
  const TreeVisitor& visit_;
  const std::stop_token& stop_;
  const std::function<void(const std::string&)>& unreadable_;
  std::vector<Level> levels_;
  std::string path_;
  std::string name_;
};

Result<std::string> ReadLink(int parent, const std::string& name, const struct stat& info) {
  ASSIGN_OR_RETURN(const sys::UniqueFd link, OpenSame(parent, name, O_PATH, info));
  std::array<char, PATH_MAX> target;
  const ssize_t size = ::readlinkat(link.get(), "", target.data(), target.size());
  if (size < 0) return ErrnoError(errno, "reading a symbolic link");
  return std::string(target.data(), static_cast<std::size_t>(size));
}

// The value of an attribute of a directory; empty when it has none.
Result<std::string> ReadMark(int directory, UpperFormat format, std::string_view mark) {
  std::string name = format == UpperFormat::kTrusted ? "trusted.overlay." : "user.overlay.";
  name += mark;
  std::array<char, kMaxRedirectBytes> value;
  const ssize_t size = ::fgetxattr(directory, name.c_str(), value.data(), value.size());
  if (size >= 0) return std::string(value.data(), static_cast<std::size_t>(size));
  if (errno == ENODATA || errno == EOPNOTSUPP) return std::string();
  if (errno == ERANGE) return Err(ErrorCode::kCorrupt, "an overlay's attribute is too long");
  return ErrnoError(errno, "reading an overlay's attribute");
}

// What the kernel looks up below: a name, or a path of names that begins with a slash.
bool IsRedirect(std::string_view redirect) {
  if (redirect.front() != '/') return IsName(redirect);
  while (!redirect.empty()) {
    redirect.remove_prefix(1);
    const std::size_t length = std::min(redirect.find('/'), redirect.size());
    if (!IsName(redirect.substr(0, length))) return false;
    redirect.remove_prefix(length);
  }
  return true;
}

// The bytes at the beginning of `text` that a terminal or a reader must not get as they are.
std::size_t UnsafeLength(std::string_view text) {
  const auto first = static_cast<unsigned char>(text[0]);
  if (first < 0x20 || first == 0x7F || first == '\\') return 1;
  // C1 controls; marks and overrides of the direction; separators of lines.
  if (first == 0xC2 && text.size() > 1 && static_cast<unsigned char>(text[1]) < 0xA0) return 2;
  if (text.starts_with("\xD8\x9C")) return 2;
  if (text.size() < 3 || first != 0xE2) return 0;
  const auto third = static_cast<unsigned char>(text[2]);
  if (text[1] == '\x80' && (third == 0x8E || third == 0x8F || (third >= 0xA8 && third <= 0xAE)))
    return 3;
  if (text[1] == '\x81' && third >= 0xA6 && third <= 0xA9) return 3;
  return 0;
}

// The length of the character at the beginning of `text`, or 0.
std::size_t CharacterLength(std::string_view text) {
  for (std::size_t length = 1; length <= 4 && length <= text.size(); ++length)
    if (IsValidUtf8(text.substr(0, length))) return length;
  return 0;
}

void AppendEscaped(std::string& text, std::string_view bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    text.append("\\x").append(1, kDigits[byte >> 4]).append(1, kDigits[byte & 15]);
  }
}

}  // namespace

Status WalkTree(int root, const TreeVisitor& visit, const std::stop_token& stop,
                const std::function<void(const std::string& path)>& unreadable) {
  return Walker(root, visit, stop, unreadable).Run();
}

Result<Node> ReadNode(int parent, const std::string& name, const struct stat& info,
                      UpperFormat format) {
  Node node;
  node.modified_nanos = Nanos(info.st_mtim);
  switch (info.st_mode & S_IFMT) {
    case S_IFREG:
      node.kind = NodeKind::kFile;
      node.mode = info.st_mode & kPermissionBits;
      node.size = static_cast<std::uint64_t>(info.st_size);
      return node;
    case S_IFLNK: {
      node.kind = NodeKind::kSymlink;
      ASSIGN_OR_RETURN(node.target, ReadLink(parent, name, info));
      return node;
    }
    case S_IFDIR: {
      if (format == UpperFormat::kPlain) return ReadDirectory(-1, info, format);
      ASSIGN_OR_RETURN(const sys::UniqueFd directory, OpenDirectory(parent, name, info));
      return ReadDirectory(directory.get(), info, format);
    }
    case S_IFCHR:
      if (info.st_rdev == 0 && format != UpperFormat::kPlain) node.kind = NodeKind::kWhiteout;
      return node;
    default:
      return node;
  }
}

Result<Node> ReadDirectory(int directory, const struct stat& info, UpperFormat format) {
  Node node;
  node.kind = NodeKind::kDirectory;
  node.mode = info.st_mode & kPermissionBits;
  node.modified_nanos = Nanos(info.st_mtim);
  if (format == UpperFormat::kPlain) return node;
  // "x", which announces whiteouts that are attributes, is written by no overlay, only by hand.
  ASSIGN_OR_RETURN(const std::string opaque, ReadMark(directory, format, "opaque"));
  node.opaque = opaque == "y";
  ASSIGN_OR_RETURN(node.redirect, ReadMark(directory, format, "redirect"));
  if (!node.redirect.empty() && !IsRedirect(node.redirect))
    return Err(ErrorCode::kCorrupt, "an overlay's directory has a redirect that leads nowhere");
  return node;
}

Result<sys::UniqueFd> OpenFile(int parent, const std::string& name, const struct stat& info) {
  if (!S_ISREG(info.st_mode)) return Vanished();
  return OpenSame(parent, name, O_RDONLY, info);
}

Result<sys::UniqueFd> OpenDirectory(int parent, const std::string& name, const struct stat& info) {
  if (!S_ISDIR(info.st_mode)) return Vanished();
  return OpenSame(parent, name, O_RDONLY | O_DIRECTORY, info);
}

Result<std::vector<std::string>> SortedNames(int directory) {
  if (::lseek(directory, 0, SEEK_SET) < 0) return ErrnoError(errno, "listing a directory");
  ASSIGN_OR_RETURN(Names names, Names::Read(directory));
  std::vector<std::string> sorted;
  sorted.reserve(names.size());
  while (!names.done()) sorted.emplace_back(names.Next());
  return sorted;
}

bool IsName(std::string_view name) {
  return !name.empty() && name.size() <= NAME_MAX && name != "." && name != ".." &&
         name.find_first_of(std::string_view("/\0", 2)) == std::string_view::npos;
}

std::int64_t RealTimeNanos() {
  struct timespec now;
  ::clock_gettime(CLOCK_REALTIME, &now);
  return Nanos(now);
}

Stamp StampOf(const struct stat& info, std::int64_t now_nanos) {
  Stamp stamp{info.st_ino, static_cast<std::uint64_t>(info.st_size), Nanos(info.st_ctim)};
  if (stamp.changed_nanos > now_nanos - kStampSettleNanos) stamp.changed_nanos = 0;
  return stamp;
}

bool StampsFit(const Stamp& a, const Stamp& b) { return a == b && a.changed_nanos != 0; }

std::string PathForPerson(const std::string& path) {
  std::string text;
  std::string_view rest = path;
  while (!rest.empty()) {
    const std::size_t before = text.size();
    const std::size_t character = CharacterLength(rest);
    const std::size_t unsafe = character == 0 ? 1 : UnsafeLength(rest);
    if (unsafe != 0)
      AppendEscaped(text, rest.substr(0, unsafe));
    else
      text += rest.substr(0, character);
    if (text.size() > kMaxPersonBytes - kCut.size()) return text.substr(0, before).append(kCut);
    rest.remove_prefix(unsafe != 0 ? unsafe : character);
  }
  return text;
}

}  // namespace cofferdam::projects
