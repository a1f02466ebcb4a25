// Writing a session's transcript.
#pragma once

#include <cstdint>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/deadline.h"
#include "base/error.h"
#include "json/json.h"
#include "sessions/transcript.h"
#include "storage/append_log.h"
#include "storage/file_lock.h"

namespace cofferdam::sessions {

/// A session that one run has for itself, from Open to destruction: two runs in one session come
/// one after the other, whichever threads or processes they are in. Belongs to one thread.
///
///   ASSIGN_OR_RETURN(Session session, Session::Open(directory, "main", "alice", clock, deadline,
///   stop)); RETURN_IF_ERROR(session.Append({{{"type", "message"}, {"run", run}, {"message",
///   message}}}));
class Session {
 public:
  /// Waits for the session's lock ("<id>.lock", which stays) and reads its transcript; begins one
  /// when there is none. A torn last line, which was never acknowledged, is cut off.
  ///
  /// `directory` may be O_PATH; the clock outlives the session. ErrorCode::kInvalidArgument for an
  /// id that does not pass IsName; kTimeout and kCancelled while waiting. ErrorCode::kCorrupt,
  /// naming the line, for a damaged transcript or one of another workspace, and kUnsupported for
  /// another version: the file is left untouched.
  static Result<Session> Open(int directory, const std::string& id, const std::string& workspace,
                              const Clock& clock, Deadline deadline, const std::stop_token& stop);

  const TranscriptHeader& header() const { return transcript_.header; }
  /// Everything on disk, in order.
  const std::vector<json::Json>& Entries() const { return transcript_.entries; }
  /// How many bytes of a torn line Open cut off.
  std::uint64_t torn_bytes() const { return torn_bytes_; }

  /// Appends entries, which are on disk when it returns, all or (after an error) none. Each is an
  /// object with a `type`; its `id` (NewId) and `time` are put in here. Invalid UTF-8 becomes
  /// U+FFFD. ErrorCode::kInvalidArgument for an entry without a type or with an id or a time of its
  /// own, and for one that could not be read back (kLineLimits).
  Status Append(std::vector<json::Json> entries);

 private:
  Session(storage::FileLock lock, storage::AppendLog log, const Clock& clock)
      : lock_(std::move(lock)),
        log_(std::move(log)),
        clock_(&clock),
        torn_bytes_(log_.torn_bytes()) {}
  Status Begin(TranscriptHeader header);

  // First, so that it is let go last.
  storage::FileLock lock_;
  storage::AppendLog log_;
  const Clock* clock_;
  std::uint64_t torn_bytes_;
  Transcript transcript_;
};

}  // namespace cofferdam::sessions
