#include "worker/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string>
#include <vector>

#include "sys/fd.h"
#include "sys/file.h"
#include "sys/flock.h"
#include "worker/result.h"

namespace cofferdam::worker {
namespace {

namespace v1 = protocol::v1;

// Bounds on one answer; a frame holds 1 MiB.
constexpr int kMaxListEntries = 20'000;
constexpr std::size_t kMaxListBytes = 900 * 1024;
constexpr int kMaxListDepth = 64;

std::string Quoted(const char* what, const std::string& path) {
  return std::string(what) + " '" + path + "'";
}

std::pair<std::string, std::string> SplitPath(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return {".", path};
  return {slash == 0 ? "/" : path.substr(0, slash), path.substr(slash + 1)};
}

v1::FsEntryKind KindOf(mode_t mode) {
  if (S_ISREG(mode)) return v1::FS_ENTRY_FILE;
  if (S_ISDIR(mode)) return v1::FS_ENTRY_DIRECTORY;
  if (S_ISLNK(mode)) return v1::FS_ENTRY_SYMLINK;
  return v1::FS_ENTRY_OTHER;
}

void FillEntry(const std::string& name, const std::string& path, const struct stat& info,
               v1::FsEntry& entry) {
  entry.set_name(name);
  entry.set_path(path);
  entry.set_kind(KindOf(info.st_mode));
  entry.set_size(static_cast<std::uint64_t>(info.st_size));
  entry.set_modified_ms(info.st_mtim.tv_sec * 1000 + info.st_mtim.tv_nsec / 1'000'000);
  entry.set_mode(info.st_mode & 07777);
}

class Lister {
 public:
  explicit Lister(v1::FsListResponse& response) : response_(response) {}

  // An error only for the directory that was asked for; what vanished below it, or is closed, is
  // left out.
  Status List(int directory, const std::string& prefix, bool recursive, int depth) {
    auto names = sys::ListDirectory(directory);
    if (!names && depth > 0) return {};
    if (!names) return std::unexpected(names.error());
    std::ranges::sort(*names);
    for (const std::string& name : *names) {
      struct stat info;
      if (::fstatat(directory, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) continue;
      RETURN_IF_ERROR(Add(name, prefix + name, info));
      if (!recursive || !S_ISDIR(info.st_mode) || depth >= kMaxListDepth) continue;
      const auto below = sys::OpenAt(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
      if (below) RETURN_IF_ERROR(List(below->get(), prefix + name + "/", recursive, depth + 1));
    }
    return {};
  }

 private:
  Status Add(const std::string& name, const std::string& path, const struct stat& info) {
    bytes_ += name.size() + path.size() + 40;
    if (response_.entries_size() >= kMaxListEntries || bytes_ > kMaxListBytes)
      return Err(ErrorCode::kTooLarge, "the directory has too many entries for one answer");
    FillEntry(name, path, info, *response_.add_entries());
    return {};
  }

  v1::FsListResponse& response_;
  std::size_t bytes_ = 0;
};

void Set(v1::ControlResponse& response, const Status& status) {
  if (!status) *response.mutable_error() = FromError(status.error());
}

void AnswerList(const v1::FsListRequest& request, v1::ControlResponse& response) {
  const auto directory = sys::OpenNamed(PathOrHere(request.path()), O_RDONLY | O_DIRECTORY);
  if (!directory) return Set(response, std::unexpected(directory.error()));
  const Status listed =
      Lister(*response.mutable_fs_list()).List(directory->get(), "", request.recursive(), 0);
  if (!listed) response.clear_fs_list();
  Set(response, listed);
}

void AnswerStat(const v1::FsStatRequest& request, v1::ControlResponse& response) {
  const std::string path = PathOrHere(request.path());
  struct stat info;
  if (::fstatat(AT_FDCWD, path.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0) {
    response.mutable_fs_stat()->set_exists(true);
    FillEntry(SplitPath(path).second, path, info, *response.mutable_fs_stat()->mutable_entry());
  } else if (errno == ENOENT || errno == ENOTDIR) {
    response.mutable_fs_stat()->set_exists(false);
  } else {
    *response.mutable_error() = MakeOsError(errno, Quoted("looking at", path));
  }
}

void AnswerMkdir(const v1::FsMkdirRequest& request, v1::ControlResponse& response) {
  const mode_t mode = request.mode() == 0 ? 0755 : request.mode() & 07777;
  response.mutable_fs_mkdir();
  Status made;
  if (request.parents()) {
    made = sys::MakeDirectories(request.path(), mode);
  } else if (::mkdir(request.path().c_str(), mode) != 0) {
    made = ErrnoError(errno, Quoted("making directory", request.path()));
  }
  Set(response, made);
}

void AnswerMove(const v1::FsMoveRequest& request, v1::ControlResponse& response) {
  response.mutable_fs_move();
  const unsigned flags = request.overwrite() ? 0 : RENAME_NOREPLACE;
  if (::renameat2(AT_FDCWD, request.from().c_str(), AT_FDCWD, request.to().c_str(), flags) != 0)
    *response.mutable_error() =
        MakeOsError(errno, Quoted("moving", request.from()) + " to '" + request.to() + "'");
}

void AnswerRemove(const v1::FsRemoveRequest& request, v1::ControlResponse& response) {
  response.mutable_fs_remove();
  const std::string& path = request.path();
  if (::unlinkat(AT_FDCWD, path.c_str(), 0) == 0) return;
  if (errno != EISDIR && errno != EPERM) {
    *response.mutable_error() = MakeOsError(errno, Quoted("removing", path));
  } else if (request.recursive()) {
    const auto [parent, name] = SplitPath(path);
    const auto directory = sys::Open(parent, O_PATH | O_DIRECTORY);
    Set(response,
        directory ? sys::RemoveTree(directory->get(), name) : std::unexpected(directory.error()));
  } else if (::unlinkat(AT_FDCWD, path.c_str(), AT_REMOVEDIR) != 0) {
    *response.mutable_error() = MakeOsError(errno, Quoted("removing", path));
  }
}

// Copies up to `length` bytes (0: all) from `from` to `to`.
Status CopyBytes(int from, int to, std::uint64_t length) {
  std::array<char, 64 * 1024> buffer;
  std::uint64_t left = length == 0 ? UINT64_MAX : length;
  while (left > 0) {
    const std::size_t room = static_cast<std::size_t>(std::min<std::uint64_t>(left, buffer.size()));
    ASSIGN_OR_RETURN(const std::size_t size, sys::Read(from, std::span(buffer).first(room)));
    if (size == 0) break;
    RETURN_IF_ERROR(sys::WriteAll(to, {buffer.data(), size}));
    left -= size;
  }
  return {};
}

// A new file for the place of another. It has no name before it is whole, so that a write which is
// killed leaves nothing. To replace a file it needs one for a moment, always the same: what a kill
// leaves there is removed by the next write in that directory. Whoever lives has it locked.
class NewFile {
 public:
  Status Open(const std::string& path, mode_t mode) {
    parent_ = SplitPath(path).first;
    RemoveAbandoned();
    auto fd = sys::Open(parent_, O_WRONLY | O_TMPFILE, mode);
    if (!fd && (fd.error().sys_errno == EOPNOTSUPP || fd.error().sys_errno == EISDIR)) {
      // A file system without nameless files.
      ASSIGN_OR_RETURN(temporary_, RandomName());
      fd = sys::Open(temporary_, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode);
      if (!fd) temporary_.clear();
    }
    ASSIGN_OR_RETURN(fd_, std::move(fd));
    if (::fchmod(fd_.get(), mode) != 0) return ErrnoError(errno, "setting the mode of a new file");
    return {};
  }
  ~NewFile() {
    if (!temporary_.empty()) ::unlink(temporary_.c_str());
  }
  int fd() const { return fd_.get(); }
  Status Commit(const std::string& path) {
    if (::fsync(fd_.get()) != 0) return ErrnoError(errno, Quoted("syncing", path));
    if (temporary_.empty()) {
      const int error_number = Link(path);
      if (error_number == 0) return {};
      if (error_number != EEXIST) return ErrnoError(error_number, Quoted("making", path));
      RETURN_IF_ERROR(TakeName());
    }
    if (::rename(temporary_.c_str(), path.c_str()) != 0)
      return ErrnoError(errno, Quoted("replacing", path));
    temporary_.clear();
    return {};
  }

 private:
  static constexpr char kPrefix[] = "/.cofferdam-";

  std::string CommonName() const { return parent_ + kPrefix + "new"; }
  Result<std::string> RandomName() const {
    std::uint64_t number = 0;
    if (::getrandom(&number, sizeof(number), 0) != sizeof(number))
      return ErrnoError(errno, "choosing a name");
    return parent_ + kPrefix + std::to_string(number);
  }

  // Only who has its lock may remove the file, and what has no name left was removed.
  void RemoveAbandoned() const {
    const auto left = sys::Open(CommonName(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (!left || !sys::Flock(left->get(), LOCK_EX | LOCK_NB)) return;
    const auto info = sys::Stat(left->get());
    if (info && S_ISREG(info->st_mode) && info->st_nlink == 1) ::unlink(CommonName().c_str());
  }

  // 0 or an errno.
  int Link(const std::string& name) const {
    const std::string self = "/proc/self/fd/" + std::to_string(fd_.get());
    return ::linkat(AT_FDCWD, self.c_str(), AT_FDCWD, name.c_str(), AT_SYMLINK_FOLLOW) == 0 ? 0
                                                                                            : errno;
  }

  Status TakeName() {
    RETURN_IF_ERROR(sys::Flock(fd_.get(), LOCK_EX | LOCK_NB));
    std::string name = CommonName();
    int error_number = Link(name);
    if (error_number == EEXIST) {
      // Another write has it at this moment.
      ASSIGN_OR_RETURN(name, RandomName());
      error_number = Link(name);
    }
    if (error_number != 0) return ErrnoError(error_number, "naming a new file");
    temporary_ = std::move(name);
    return {};
  }

  std::string parent_;
  std::string temporary_;  // the name that it has for now
  sys::UniqueFd fd_;
};

// True when the host said that the input is complete.
bool IsCommitted(int control) {
  char byte;
  const auto size = sys::Read(control, {&byte, 1});
  return size && *size == 1;
}

Status Append(const v1::FsWriteBegin& request, const ChildPipes& pipes) {
  const mode_t mode = request.mode() == 0 ? 0644 : request.mode() & 0777;
  ASSIGN_OR_RETURN(
      const sys::UniqueFd fd,
      sys::OpenNamed(request.path(), O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK, mode));
  return CopyBytes(pipes.input, fd.get(), 0);
}

// The path that is replaced: a symlink stays, and what it points to is replaced.
std::string FollowLinks(const std::string& path) {
  char* resolved = ::realpath(path.c_str(), nullptr);
  if (resolved == nullptr) return path;
  std::string text = resolved;
  ::free(resolved);
  return text;
}

Status Replace(const v1::FsWriteBegin& request, const ChildPipes& pipes) {
  const std::string path = FollowLinks(request.path());
  struct stat info;
  mode_t mode = 0644;
  if (::stat(path.c_str(), &info) == 0) {
    if (S_ISDIR(info.st_mode)) return ErrnoError(EISDIR, Quoted("writing", path));
    if (!S_ISREG(info.st_mode)) return ErrnoError(EINVAL, Quoted("not a regular file:", path));
    mode = info.st_mode & 0777;
  }
  if (request.mode() != 0) mode = request.mode() & 0777;
  NewFile file;
  RETURN_IF_ERROR(file.Open(path, mode));
  RETURN_IF_ERROR(CopyBytes(pipes.input, file.fd(), 0));
  if (!IsCommitted(pipes.control)) return Err(ErrorCode::kCancelled, "the write was given up");
  return file.Commit(path);
}

}  // namespace

v1::OpExit ReadFileOp(const v1::FsReadRequest& request, const ChildPipes& pipes) {
  // O_NONBLOCK: the open of a named pipe does not wait for a writer.
  const auto fd = sys::OpenNamed(request.path(), O_RDONLY | O_NONBLOCK | O_NOCTTY);
  if (!fd) return FailedExit(FromError(fd.error()));
  const auto info = sys::Stat(fd->get());
  if (!info) return FailedExit(FromError(info.error()));
  if (S_ISDIR(info->st_mode))
    return FailedExit(MakeOsError(EISDIR, Quoted("reading", request.path())));
  if (!S_ISREG(info->st_mode))
    return FailedExit(MakeOsError(EINVAL, Quoted("not a regular file:", request.path())));
  v1::OpExit exit;
  exit.set_file_size(static_cast<std::uint64_t>(info->st_size));
  if (::lseek(fd->get(), static_cast<off_t>(request.offset()), SEEK_SET) < 0)
    return FailedExit(MakeOsError(errno, Quoted("seeking in", request.path())));
  const Status copied = CopyBytes(fd->get(), pipes.output, request.length());
  if (!copied) return FailedExit(FromError(copied.error()));
  return exit;
}

v1::OpExit WriteFileOp(const v1::FsWriteBegin& request, const ChildPipes& pipes) {
  if (request.create_parents()) {
    const Status made = sys::MakeDirectories(SplitPath(request.path()).first, 0755);
    if (!made) return FailedExit(FromError(made.error()));
  }
  const Status written = request.append() ? Append(request, pipes) : Replace(request, pipes);
  if (!written) return FailedExit(FromError(written.error()));
  return {};
}

v1::ControlResponse AnswerFileRequest(const v1::ControlRequest& request) {
  v1::ControlResponse response;
  response.set_request_id(request.request_id());
  switch (request.op_case()) {
    case v1::ControlRequest::kFsList:
      AnswerList(request.fs_list(), response);
      break;
    case v1::ControlRequest::kFsStat:
      AnswerStat(request.fs_stat(), response);
      break;
    case v1::ControlRequest::kFsMkdir:
      AnswerMkdir(request.fs_mkdir(), response);
      break;
    case v1::ControlRequest::kFsMove:
      AnswerMove(request.fs_move(), response);
      break;
    case v1::ControlRequest::kFsRemove:
      AnswerRemove(request.fs_remove(), response);
      break;
    default:
      *response.mutable_error() = MakeError(v1::ERROR_UNSUPPORTED, "not a file request");
  }
  // Error and result are exclusive.
  if (response.has_error()) {
    v1::ControlResponse failed;
    failed.set_request_id(request.request_id());
    *failed.mutable_error() = response.error();
    return failed;
  }
  return response;
}

}  // namespace cofferdam::worker
