#include "sessions/session.h"

#include <optional>
#include <utility>

#include "base/id.h"

namespace cofferdam::sessions {
namespace {

using json::Json;

// nullopt for a session that does not exist or whose first writer died in its header.
Result<std::optional<Transcript>> ReadIfThere(int directory, const std::string& id,
                                              const std::string& workspace) {
  auto transcript = ReadTranscript(directory, id);
  if (!transcript && transcript.error().code == ErrorCode::kNotFound) return std::nullopt;
  RETURN_IF_ERROR(transcript);
  if (transcript->header.workspace != workspace)
    return Err(ErrorCode::kCorrupt, "session '" + id + "' is of another workspace");
  return std::move(*transcript);
}

Status CheckNewEntry(const Json& entry) {
  if (!entry.is_object()) return Err(ErrorCode::kInvalidArgument, "an entry is not an object");
  const auto type = entry.find("type");
  if (type == entry.end() || !type->is_string())
    return Err(ErrorCode::kInvalidArgument, "an entry without a type");
  if (entry.contains("id") || entry.contains("time"))
    return Err(ErrorCode::kInvalidArgument, "an entry with an id or a time of its own");
  return {};
}

}  // namespace

Result<Session> Session::Open(int directory, const std::string& id, const std::string& workspace,
                              const Clock& clock, Deadline deadline, const std::stop_token& stop) {
  if (!IsName(id)) return Err(ErrorCode::kInvalidArgument, "not a name for a session");
  auto lock = storage::FileLock::Acquire(directory, id + ".lock", deadline, stop);
  if (!lock) return std::unexpected(lock.error().With("session '" + id + "'"));
  // Read before the log is opened, which may cut it: a damaged transcript stays as it is.
  ASSIGN_OR_RETURN(std::optional<Transcript> transcript, ReadIfThere(directory, id, workspace));
  ASSIGN_OR_RETURN(storage::AppendLog log,
                   storage::AppendLog::Open(directory, TranscriptFileName(id)));
  Session session(std::move(*lock), std::move(log), clock);
  if (transcript)
    session.transcript_ = std::move(*transcript);
  else
    RETURN_IF_ERROR(session.Begin(
        {.id = id, .workspace = workspace, .created = FormatUtc(clock.UnixMillis())}));
  return session;
}

Status Session::Begin(TranscriptHeader header) {
  RETURN_IF_ERROR(log_.AppendLines({TranscriptHeaderLine(header)}));
  transcript_.header = std::move(header);
  return {};
}

Status Session::Append(std::vector<Json> entries) {
  const std::string time = FormatUtc(clock_->UnixMillis());
  std::vector<std::string> lines;
  std::vector<Json> written;
  for (Json& entry : entries) {
    RETURN_IF_ERROR(CheckNewEntry(entry));
    entry["id"] = NewId(*clock_);
    entry["time"] = time;
    lines.push_back(json::Dump(entry));
    // What a later run will read, so that this one and that one see the same.
    auto again = ParseEntryLine(lines.back());
    if (!again)
      return Err(ErrorCode::kInvalidArgument,
                 "an entry that could not be read back: " + again.error().message);
    written.push_back(std::move(*again));
  }
  RETURN_IF_ERROR(log_.AppendLines(lines));
  for (Json& entry : written) transcript_.entries.push_back(std::move(entry));
  return {};
}

}  // namespace cofferdam::sessions
