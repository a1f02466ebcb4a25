#include "sessions/transcript.h"

#include <fcntl.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "base/id.h"
#include "json/fields.h"
#include "storage/line_reader.h"
#include "sys/file.h"

namespace cofferdam::sessions {
namespace {

using json::Json;

constexpr std::string_view kSuffix = ".jsonl";
constexpr std::string_view kHeaderType = "session";

std::unexpected<Error> Corrupt(const Error& error) {
  return Err(ErrorCode::kCorrupt, error.message);
}

Result<TranscriptHeader> ReadHeader(const Json& value) {
  TranscriptHeader header;
  ASSIGN_OR_RETURN(header.id, json::GetString(value, "id"));
  ASSIGN_OR_RETURN(header.workspace, json::GetString(value, "workspace"));
  ASSIGN_OR_RETURN(header.created, json::GetString(value, "created"));
  return header;
}

Result<TranscriptHeader> ParseHeaderLine(std::string_view line, const std::string& id) {
  const Result<Json> value = json::Parse(line, kLineLimits);
  if (!value) return Corrupt(value.error());
  const Result<std::string> type = json::GetString(*value, "type");
  if (!type) return Corrupt(type.error());
  if (*type != kHeaderType) return Err(ErrorCode::kCorrupt, "not the header of a session");
  const Result<std::int64_t> version = json::GetInt(*value, "version");
  if (!version) return Corrupt(version.error());
  if (*version != kTranscriptVersion)
    return Err(ErrorCode::kUnsupported, "a transcript of version " + std::to_string(*version) +
                                            "; this program knows " +
                                            std::to_string(kTranscriptVersion));
  auto header = ReadHeader(*value);
  if (!header) return Corrupt(header.error());
  if (header->id != id) return Err(ErrorCode::kCorrupt, "the header is of another session");
  return header;
}

// An error that says where it happened.
std::unexpected<Error> At(const Error& error, const std::string& id, std::uint64_t line) {
  return std::unexpected(error.With("session '" + id + "', line " + std::to_string(line)));
}

// The whole lines of a transcript, one after the other.
class Lines {
 public:
  static Result<Lines> Open(int directory, const std::string& id) {
    constexpr int kFlags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK;
    ASSIGN_OR_RETURN(sys::UniqueFd fd, sys::OpenAt(directory, TranscriptFileName(id), kFlags));
    return Lines(std::move(fd));
  }

  /// nullopt at the end, which a line that is cut off is too.
  Result<std::optional<storage::Line>> Next() {
    auto next = reader_.Next();
    if (!next && next.error().code == ErrorCode::kTooLarge) return Corrupt(next.error());
    ASSIGN_OR_RETURN(std::optional<storage::Line> line, std::move(next));
    if (line && !line->complete) line.reset();
    return line;
  }

 private:
  explicit Lines(sys::UniqueFd fd)
      : fd_(std::move(fd)), reader_(storage::FileSource(fd_.get()), kLineLimits.max_bytes) {}

  sys::UniqueFd fd_;
  storage::LineReader reader_;
};

// nullopt when not even the header is there.
Result<std::optional<SessionSummary>> Summarise(int directory, const std::string& id) {
  ASSIGN_OR_RETURN(Lines lines, Lines::Open(directory, id));
  ASSIGN_OR_RETURN(const std::optional<storage::Line> first, lines.Next());
  if (!first) return std::nullopt;
  ASSIGN_OR_RETURN(const TranscriptHeader header, ParseHeaderLine(first->text, id));
  SessionSummary summary{
      .id = id, .created = header.created, .entries = 0, .last = header.created, .problem = ""};
  std::string last_line;
  for (;;) {
    ASSIGN_OR_RETURN(const std::optional<storage::Line> line, lines.Next());
    if (!line) break;
    ++summary.entries;
    last_line = line->text;
  }
  if (summary.entries == 0) return summary;
  const auto entry = ParseEntryLine(last_line);
  if (entry)
    summary.last = (*entry)["time"].get_ref<const std::string&>();
  else
    summary.problem = At(entry.error(), id, summary.entries + 1).error().message;
  return summary;
}

}  // namespace

std::string TranscriptFileName(std::string_view id) {
  return std::string(id) + std::string(kSuffix);
}

std::string TranscriptHeaderLine(const TranscriptHeader& header) {
  return json::Dump({{"type", kHeaderType},
                     {"version", kTranscriptVersion},
                     {"id", header.id},
                     {"workspace", header.workspace},
                     {"created", header.created}});
}

Result<Json> ParseEntryLine(std::string_view line) {
  Result<Json> entry = json::Parse(line, kLineLimits);
  if (!entry) return Corrupt(entry.error());
  for (const std::string_view field : {"id", "time", "type"})
    if (const auto value = json::GetString(*entry, field); !value) return Corrupt(value.error());
  return entry;
}

Result<Transcript> ReadTranscript(int directory, const std::string& id) {
  if (!IsName(id)) return Err(ErrorCode::kInvalidArgument, "not a name for a session");
  ASSIGN_OR_RETURN(Lines lines, Lines::Open(directory, id));
  Transcript transcript;
  bool has_header = false;
  for (std::uint64_t number = 1;; ++number) {
    const auto next = lines.Next();
    if (!next) return At(next.error(), id, number);
    const std::optional<storage::Line>& line = *next;
    if (!line) break;
    if (!std::exchange(has_header, true)) {
      auto header = ParseHeaderLine(line->text, id);
      if (!header) return At(header.error(), id, number);
      transcript.header = std::move(*header);
    } else {
      auto entry = ParseEntryLine(line->text);
      if (!entry) return At(entry.error(), id, number);
      transcript.entries.push_back(std::move(*entry));
    }
  }
  if (!has_header) return Err(ErrorCode::kNotFound, "session '" + id + "' has no header yet");
  return transcript;
}

Result<std::vector<SessionSummary>> ListSessions(int directory) {
  ASSIGN_OR_RETURN(std::vector<std::string> names, sys::ListDirectory(directory));
  std::ranges::sort(names);
  std::vector<SessionSummary> sessions;
  for (const std::string& name : names) {
    if (!name.ends_with(kSuffix)) continue;
    const std::string id = name.substr(0, name.size() - kSuffix.size());
    if (!IsName(id)) continue;
    auto result = Summarise(directory, id);
    if (!result)
      sessions.push_back(
          {.id = id, .created = "", .entries = 0, .last = "", .problem = result.error().message});
    else if (std::optional<SessionSummary>& summary = *result; summary)
      sessions.push_back(*std::move(summary));
  }
  return sessions;
}

}  // namespace cofferdam::sessions
