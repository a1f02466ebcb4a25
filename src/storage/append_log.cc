#include "storage/append_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string_view>
#include <utility>

#include "storage/atomic_file.h"
#include "sys/file.h"

namespace cofferdam::storage {
namespace {

// The length of `fd` up to and with its last '\n'; `size` is its whole length.
Result<std::uint64_t> LengthOfWholeLines(int fd, std::uint64_t size) {
  constexpr std::size_t kChunkBytes = std::size_t{64} * 1024;
  std::array<char, kChunkBytes> chunk;
  for (std::uint64_t end = size; end > 0;) {
    const std::uint64_t length = std::min<std::uint64_t>(end, chunk.size());
    const std::uint64_t begin = end - length;
    const ssize_t n = ::pread(fd, chunk.data(), length, static_cast<off_t>(begin));
    if (n < 0) {
      if (errno == EINTR) continue;
      return ErrnoError(errno, "reading the end of a log");
    }
    if (static_cast<std::uint64_t>(n) != length)
      return Err(ErrorCode::kCorrupt, "a log became shorter while it was opened");
    const std::size_t newline = std::string_view(chunk.data(), length).rfind('\n');
    if (newline != std::string_view::npos) return begin + newline + 1;
    end = begin;
  }
  return 0;
}

Status Truncate(int fd, std::uint64_t size) {
  if (::ftruncate(fd, static_cast<off_t>(size)) != 0) return ErrnoError(errno, "cutting a log");
  if (::fdatasync(fd) != 0) return ErrnoError(errno, "syncing a log");
  return {};
}

}  // namespace

Result<AppendLog> AppendLog::Open(int directory, const std::string& name) {
  constexpr int kFlags = O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK;
  ASSIGN_OR_RETURN(sys::UniqueFd fd, sys::OpenAt(directory, name, kFlags, 0600));
  AppendLog log(std::move(fd), name);
  if (const Status cut = log.CutTornLine(); !cut)
    return std::unexpected(cut.error().With("opening '" + name + "'"));
  RETURN_IF_ERROR(SyncDirectory(directory));
  return log;
}

Status AppendLog::CutTornLine() {
  ASSIGN_OR_RETURN(const struct stat info, sys::Stat(fd_.get()));
  if (!S_ISREG(info.st_mode)) return Err(ErrorCode::kInvalidArgument, "not a regular file");
  const auto size = static_cast<std::uint64_t>(info.st_size);
  ASSIGN_OR_RETURN(size_, LengthOfWholeLines(fd_.get(), size));
  torn_bytes_ = size - size_;
  // Also without a torn line: the writer before may have died between its write and its sync.
  return Truncate(fd_.get(), size_);
}

Status AppendLog::AppendLines(const std::vector<std::string>& lines) {
  std::size_t bytes = 0;
  for (const std::string& line : lines) {
    if (line.contains('\n'))
      return Err(ErrorCode::kInvalidArgument, "a line of a log with a line break in it");
    bytes += line.size() + 1;
  }
  std::string group;
  group.reserve(bytes);
  for (const std::string& line : lines) (group += line) += '\n';

  if (needs_cut_) RETURN_IF_ERROR(CutBack());
  RETURN_IF_ERROR(CheckUnchanged());
  needs_cut_ = true;
  Status written = sys::WriteAll(fd_.get(), group);
  if (written && ::fdatasync(fd_.get()) != 0) written = ErrnoError(errno, "syncing a log");
  if (!written) {
    // When the cut fails too, the next append tries it again before anything else.
    needs_cut_ = !Truncate(fd_.get(), size_);
    return std::unexpected(written.error().With("appending to '" + name_ + "'"));
  }
  needs_cut_ = false;
  size_ += group.size();
  return {};
}

Status AppendLog::CheckUnchanged() {
  ASSIGN_OR_RETURN(const struct stat info, sys::Stat(fd_.get()));
  if (info.st_nlink == 0) return Err(ErrorCode::kCorrupt, "'" + name_ + "' was removed");
  if (static_cast<std::uint64_t>(info.st_size) != size_)
    return Err(ErrorCode::kCorrupt, "'" + name_ + "' was changed by somebody else");
  return {};
}

Status AppendLog::CutBack() {
  if (const Status cut = Truncate(fd_.get(), size_); !cut)
    return std::unexpected(cut.error().With("appending to '" + name_ + "'"));
  needs_cut_ = false;
  return {};
}

}  // namespace cofferdam::storage
