// Reading the transcripts of sessions. Nothing here locks or changes a file, so it works beside a
// run that is writing: what was acknowledged before the call is seen, a line that is being written
// is not. Safe to call from any thread.
//
// Format: docs/formats/transcript.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "json/json.h"

namespace cofferdam::sessions {

/// The version that is written and the only one that is read.
inline constexpr std::int64_t kTranscriptVersion = 1;

/// The longest line of a transcript, without its '\n', and its deepest nesting. An entry can hold
/// what the default limits of json::Parse let in.
inline constexpr json::Limits kLineLimits = {.max_bytes = std::size_t{32} * 1024 * 1024,
                                             .max_depth = 256};

/// Whose transcript it is: the first line. `created` as FormatUtc writes it.
struct TranscriptHeader {
  std::string id;
  std::string workspace;
  std::string created;
};

struct Transcript {
  TranscriptHeader header;
  /// Objects, each with the strings `id`, `time` and `type`; the rest belongs to the type.
  std::vector<json::Json> entries;
};

/// The file of session `id`: "<id>.jsonl". `id` passes IsName.
std::string TranscriptFileName(std::string_view id);

/// The header's line, without '\n'.
std::string TranscriptHeaderLine(const TranscriptHeader& header);

/// An entry's line read back. ErrorCode::kCorrupt, saying what is wrong, when it is not one.
Result<json::Json> ParseEntryLine(std::string_view line);

/// The transcript of session `id` in `directory` (O_PATH is enough). ErrorCode::kInvalidArgument
/// for an id that does not pass IsName, kNotFound when there is no such session or not even its
/// header was written whole, kUnsupported for another version, kCorrupt, naming the line, for
/// anything else that is wrong with it.
Result<Transcript> ReadTranscript(int directory, const std::string& id);

/// One session in a list.
struct SessionSummary {
  std::string id;
  std::string created;
  std::uint64_t entries = 0;
  /// When the last entry was written; `created` when there is none.
  std::string last;
  /// What is wrong with the file, if the list came upon it (only its first and last line are looked
  /// at): then `created`, `entries` and `last` say what could be read. Empty when all is well.
  std::string problem;
};

/// The sessions in `directory` by id. Files that are not called like a transcript, and those of a
/// writer that has not finished its header, are left out.
Result<std::vector<SessionSummary>> ListSessions(int directory);

}  // namespace cofferdam::sessions
