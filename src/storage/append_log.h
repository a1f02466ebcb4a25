// An append-only file of lines, such as JSON Lines, that survives crashes and full disks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "sys/fd.h"

namespace cofferdam::storage {

/// One writer of one file. What a successful AppendLines was given survives a crash; a crash during
/// the call may leave none, some or all of its lines, and at most one of them torn. Whoever opens
/// the file makes sure that there is no second writer (FileLock). Belongs to one thread.
///
/// Format: lines of any bytes but '\n', each ended by '\n'. Bytes after the last '\n' are a torn
/// line and count as never written.
class AppendLog {
 public:
  /// Opens or makes (0600) the file `name` in `directory` (O_PATH is enough) and cuts off a torn
  /// line. Symbolic links are refused. The file and its name are on disk when this returns.
  static Result<AppendLog> Open(int directory, const std::string& name);

  /// How many bytes of a torn line Open cut off.
  std::uint64_t torn_bytes() const { return torn_bytes_; }
  /// The length of the file, in bytes, with everything that was appended.
  std::uint64_t size() const { return size_; }

  /// Appends the lines (given without '\n') in one write and syncs them. A line that contains '\n'
  /// is ErrorCode::kInvalidArgument and nothing is written.
  ///
  /// After any error the file is as long as before, and later appends work once the cause (a full
  /// disk, say) is gone. ErrorCode::kCorrupt when somebody else changed the length of the file or
  /// removed it: then nothing is written.
  Status AppendLines(const std::vector<std::string>& lines);

 private:
  AppendLog(sys::UniqueFd fd, std::string name) : fd_(std::move(fd)), name_(std::move(name)) {}
  Status CutTornLine();
  Status CheckUnchanged();
  Status CutBack();

  sys::UniqueFd fd_;
  std::string name_;
  std::uint64_t torn_bytes_ = 0;
  std::uint64_t size_ = 0;
  // A failed write may have left bytes beyond size_.
  bool needs_cut_ = false;
};

}  // namespace cofferdam::storage
