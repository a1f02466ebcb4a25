// The bytes of a run's record: a header and events, each bound to the one before by a hash. Pure
// functions; safe to call from any thread.
//
// Format: docs/formats/events.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"
#include "json/json.h"

namespace cofferdam::record {

/// Names the format and its version, in the header and in every hash.
inline constexpr std::string_view kSchema = "cofferdam.events/1";

/// The longest line, without its '\n'.
inline constexpr std::size_t kMaxLineBytes = std::size_t{4} * 1024 * 1024;

/// Whose record it is: the first line. `time` as FormatUtc writes it.
struct RunHeader {
  std::string platform;
  std::string workspace;
  std::string session;
  std::string run;
  std::string time;

  bool operator==(const RunHeader&) const = default;
};

/// One recorded fact. `hash` covers everything else and the schema; hashes are 64 lower-case
/// hexadecimal digits.
struct Event {
  std::uint64_t seq = 0;
  std::string time;
  std::string type;
  json::Json data = json::Json::object();
  std::string prev;
  std::string hash;
};

/// The header's line, without '\n'. ErrorCode::kInvalidArgument when a field is not UTF-8.
Result<std::string> HeaderLine(const RunHeader& header);
/// `prev` of the first event: the SHA-256 of the header's line.
std::string HeaderHash(std::string_view header_line);

/// What `event.hash` has to be. ErrorCode::kInvalidArgument when the event has no canonical form.
Result<std::string> EventHash(const Event& event);
/// The event's line, without '\n'. Errors as EventHash.
Result<std::string> EventLine(const Event& event);

/// Reads a line back. ErrorCode::kMalformed, saying what is wrong, when the line is not exactly
/// what HeaderLine or EventLine writes. Whether the hash is right is another question.
Result<RunHeader> ParseHeaderLine(std::string_view line);
Result<Event> ParseEventLine(std::string_view line);

/// Makes `data` representable in canonical JSON: whole numbers beyond 2^53 become strings of their
/// digits, invalid UTF-8 in strings becomes U+FFFD. ErrorCode::kInvalidArgument for what remains:
/// numbers that are not finite, too deep a nesting, keys that are not UTF-8.
Status MakePortable(json::Json& data);

}  // namespace cofferdam::record
