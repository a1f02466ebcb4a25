#include "sandbox/disk_usage.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstring>
#include <optional>
#include <string_view>

#include "base/split.h"
#include "sys/file.h"

namespace cofferdam::sandbox {
namespace {

constexpr std::uint64_t kBlockBytes = 512;  // the unit of st_blocks, whatever the file system
constexpr std::size_t kOpenLevels = 64;
constexpr std::size_t kBatchBytes = 8 << 10;
// What a node of a set costs beside its value.
constexpr std::uint64_t kNodeBytes = 48;

bool IsVanished(int error_number) {
  return error_number == ENOENT || error_number == ENOTDIR || error_number == ELOOP ||
         error_number == EXDEV || error_number == ESRCH;
}

int OpenDirectory(int directory, const char* name) {
  open_how how{};
  how.flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  for (;;) {
    const long fd = ::syscall(SYS_openat2, directory, name, &how, sizeof(how));
    if (fd >= 0 || (errno != EINTR && errno != EAGAIN)) return static_cast<int>(fd);
  }
}

// An agent can take its owner's rights away, but not the right to give them back. The superuser
// needs none.
int OpenClosed(int directory, const char* name) {
  const sys::UniqueFd path(
      ::openat(directory, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  struct stat info;
  if (!path.valid() || ::fstat(path.get(), &info) != 0) return -1;
  const std::string link = "/proc/self/fd/" + std::to_string(path.get());
  if (::chmod(link.c_str(), (info.st_mode & 07777) | S_IRUSR | S_IXUSR) != 0) return -1;
  return OpenDirectory(directory, name);
}

// A directory whose names can be read and looked at.
int OpenSearchable(int directory, const char* name) {
  const int fd = OpenDirectory(directory, name);
  const bool closed =
      fd < 0 ? errno == EACCES : ::faccessat(fd, ".", X_OK, AT_EACCESS) != 0 && errno == EACCES;
  if (!closed) return fd;
  if (fd >= 0) ::close(fd);
  return OpenClosed(directory, name);
}

// Calls `handle` with each name of one batch; false when there was none left.
template <typename Handler>
Result<bool> ReadBatch(int directory, const Handler& handle) {
  alignas(dirent64) std::array<char, kBatchBytes> batch;
  const long length = ::syscall(SYS_getdents64, directory, batch.data(), batch.size());
  if (length < 0 && IsVanished(errno)) return false;
  if (length < 0) return ErrnoError(errno, "listing a directory");
  for (long at = 0; at < length;) {
    const auto* entry = reinterpret_cast<const dirent64*>(batch.data() + at);
    at += entry->d_reclen;
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") RETURN_IF_ERROR(handle(entry->d_name));
  }
  return length > 0;
}

std::optional<pid_t> ParsePid(std::string_view text) {
  pid_t pid = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), pid);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return pid;
}

std::vector<pid_t> ChildrenOf(pid_t pid) {
  std::vector<pid_t> children;
  const std::string tasks = "/proc/" + std::to_string(pid) + "/task";
  const auto directory = sys::Open(tasks, O_RDONLY | O_DIRECTORY);
  const auto names =
      directory ? sys::ListDirectory(directory->get()) : std::unexpected(directory.error());
  if (!names) return children;  // it has ended
  for (const std::string& name : *names) {
    const auto text = sys::ReadFileAt(directory->get(), name + "/children");
    if (!text) continue;
    for (const std::string_view word : SplitNonEmpty(*text, ' '))
      if (const auto child = ParsePid(word)) children.push_back(*child);
  }
  return children;
}

}  // namespace

std::vector<pid_t> DescendantsOf(pid_t ancestor) {
  std::vector<pid_t> found;
  // One that gets another parent meanwhile is met twice.
  std::set<pid_t> known = {ancestor};
  std::vector<pid_t> next = {ancestor};
  while (!next.empty()) {
    const pid_t pid = next.back();
    next.pop_back();
    for (const pid_t child : ChildrenOf(pid)) {
      if (!known.insert(child).second) continue;
      found.push_back(child);
      next.push_back(child);
    }
  }
  return found;
}

Result<DiskCount> DiskCount::Begin(const std::vector<std::string>& roots,
                                   std::vector<pid_t> workers, std::uint64_t enough) {
  DiskCount count(enough);
  for (const std::string& root : roots) {
    ASSIGN_OR_RETURN(sys::UniqueFd fd, sys::Open(root, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    ASSIGN_OR_RETURN(const struct stat info, sys::Stat(fd.get()));
    count.devices_.insert(info.st_dev);
    count.roots_.push_back(std::move(fd));
  }
  count.processes_ = std::move(workers);
  for (std::size_t i = 0, direct = count.processes_.size(); i < direct; ++i) {
    const std::vector<pid_t> descendants = DescendantsOf(count.processes_[i]);
    count.processes_.insert(count.processes_.end(), descendants.begin(), descendants.end());
  }
  return count;
}

Result<bool> DiskCount::GoOn(Deadline deadline) {
  while (!Enough() && !(levels_.empty() && roots_.empty() && processes_.empty())) {
    if (deadline.Expired()) return false;
    RETURN_IF_ERROR(Step());
  }
  return true;
}

// The open files first: they are few, and gone soon.
Status DiskCount::Step() {
  if (!processes_.empty()) {
    const pid_t pid = processes_.back();
    processes_.pop_back();
    RETURN_IF_ERROR(CountOpenFiles(pid, "fd"));
    return CountOpenFiles(pid, "map_files");
  }
  if (levels_.empty()) {
    ASSIGN_OR_RETURN(const struct stat info, sys::Stat(roots_.back().get()));
    RETURN_IF_ERROR(CountOnce(info, nullptr));
    levels_.push_back({std::move(roots_.back()), info.st_dev, info.st_ino});
    roots_.pop_back();
    return {};
  }
  Level& level = levels_.back();
  if (!level.read) return ReadSome(level);
  if (level.directories.empty()) return Leave();
  std::string name = std::move(level.directories.back());
  level.directories.pop_back();
  return Enter(std::move(name));
}

Status DiskCount::Need(std::uint64_t bytes) {
  memory_ += bytes;
  if (memory_ <= kMaxCountMemory) return {};
  return Err(ErrorCode::kTooLarge, "there are too many directories or names to be counted",
             "remove some of them");
}

Status DiskCount::CountOnce(const struct stat& info, std::uint64_t* also) {
  const bool may_come_again = info.st_nlink != 1 && !S_ISDIR(info.st_mode);
  if (may_come_again) {
    if (!seen_.emplace(info.st_dev, info.st_ino).second) return {};
    RETURN_IF_ERROR(Need(kNodeBytes));
  }
  const std::uint64_t bytes =
      static_cast<std::uint64_t>(info.st_blocks) * kBlockBytes + kBytesPerFile;
  usage_.bytes += bytes;
  ++usage_.files;
  if (also != nullptr) *also += bytes;
  return {};
}

Status DiskCount::ReadSome(Level& level) {
  ASSIGN_OR_RETURN(const bool more, ReadBatch(level.fd.get(), [&](const char* name) {
                     return CountEntry(level, name);
                   }));
  level.read = !more;
  return {};
}

Status DiskCount::CountEntry(Level& level, const char* name) {
  struct stat info;
  if (::fstatat(level.fd.get(), name, &info, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) != 0) {
    if (IsVanished(errno)) return {};
    return ErrnoError(errno, "looking at a file");
  }
  RETURN_IF_ERROR(CountOnce(info, nullptr));
  if (!S_ISDIR(info.st_mode)) return {};
  RETURN_IF_ERROR(Need(sizeof(std::string) + std::strlen(name)));
  level.directories.emplace_back(name);
  return {};
}

Status DiskCount::Enter(std::string name) {
  const int parent = levels_.back().fd.get();
  const int raw = OpenSearchable(parent, name.c_str());
  memory_ -= sizeof(std::string) + name.size();
  if (raw < 0 && IsVanished(errno)) return {};
  if (raw < 0) return ErrnoError(errno, "opening a directory");
  sys::UniqueFd fd(raw);
  ASSIGN_OR_RETURN(const struct stat info, sys::Stat(fd.get()));
  RETURN_IF_ERROR(Need(sizeof(Level)));
  levels_.push_back({std::move(fd), info.st_dev, info.st_ino});
  if (levels_.size() > kOpenLevels) levels_[levels_.size() - 1 - kOpenLevels].fd.Reset();
  return {};
}

Status DiskCount::Leave() {
  const sys::UniqueFd left = std::move(levels_.back().fd);
  levels_.pop_back();
  if (levels_.empty()) return {};
  memory_ -= sizeof(Level);
  Level& level = levels_.back();
  if (level.fd.valid()) return {};
  // Where ".." leads is the tenant's to change, so it is looked at before it is believed.
  ASSIGN_OR_RETURN(level.fd, sys::OpenAt(left.get(), "..", O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  ASSIGN_OR_RETURN(const struct stat info, sys::Stat(level.fd.get()));
  if (info.st_dev == level.device && info.st_ino == level.inode) return {};
  return Err(ErrorCode::kBusy, "directories were moved while they were counted");
}

Status DiskCount::CountOpenFiles(pid_t pid, const char* directory) {
  const std::string path = "/proc/" + std::to_string(pid) + "/" + directory;
  const sys::UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  // It has ended, or is not for this user to see: docs/disk.md says what that means.
  if (!fd.valid() && (IsVanished(errno) || errno == EACCES || errno == EPERM)) return {};
  if (!fd.valid()) return ErrnoError(errno, "looking at a process's open files");
  const auto count = [&](const char* name) -> Status {
    struct stat info;
    if (::fstatat(fd.get(), name, &info, AT_NO_AUTOMOUNT) != 0) return {};  // closed meanwhile
    if (!S_ISREG(info.st_mode) || info.st_nlink != 0 || !devices_.contains(info.st_dev)) return {};
    return CountOnce(info, &usage_.deleted_bytes);
  };
  for (bool more = true; more && !Enough();) {
    ASSIGN_OR_RETURN(more, ReadBatch(fd.get(), count));
  }
  return {};
}

}  // namespace cofferdam::sandbox
