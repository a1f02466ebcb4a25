#include "record/chain.h"

#include <cmath>
#include <limits>
#include <utility>

#include "base/utf8.h"
#include "crypto/hex.h"
#include "crypto/sha256.h"
#include "json/canonical.h"
#include "json/fields.h"

namespace cofferdam::record {
namespace {

using json::Json;

std::string HexSha256(std::string_view bytes) { return crypto::HexEncode(crypto::Sha256(bytes)); }

Result<Json> ParseLine(std::string_view line) {
  return json::Parse(line, {.max_bytes = kMaxLineBytes, .max_depth = json::kMaxCanonicalDepth});
}

// Fields that the line has and we do not read, another order of keys, white space: none of it would
// change a hash, so none of it is allowed.
Status CheckExact(std::string_view line, const Result<std::string>& expected) {
  RETURN_IF_ERROR(expected);
  if (line != *expected)
    return Err(ErrorCode::kMalformed, "not written in the canonical form of its fields");
  return {};
}

Status MakePortable(Json& value, std::size_t depth) {
  if (depth > json::kMaxCanonicalDepth)
    return Err(ErrorCode::kInvalidArgument, "event data with too deep a nesting");
  if (value.is_structured()) {
    for (Json& element : value) RETURN_IF_ERROR(MakePortable(element, depth + 1));
  } else if (value.is_string()) {
    auto& text = value.get_ref<std::string&>();
    if (!IsValidUtf8(text)) text = ToValidUtf8(text);
  } else if (value.is_number_unsigned()) {
    const auto number = value.get_ref<const std::uint64_t&>();
    if (number > static_cast<std::uint64_t>(json::kMaxExactInteger)) value = std::to_string(number);
  } else if (value.is_number_integer()) {
    const auto number = value.get_ref<const std::int64_t&>();
    if (number < -json::kMaxExactInteger || number > json::kMaxExactInteger)
      value = std::to_string(number);
  } else if (value.is_number_float()) {
    const double number = value.get_ref<const double&>();
    if (std::isfinite(number) && !json::Canonical(value)) value = json::CanonicalNumber(number);
  }
  return {};
}

}  // namespace

Result<std::string> HeaderLine(const RunHeader& header) {
  return json::Canonical({{"schema", kSchema},
                          {"platform", header.platform},
                          {"workspace", header.workspace},
                          {"session", header.session},
                          {"run", header.run},
                          {"time", header.time}});
}

std::string HeaderHash(std::string_view header_line) { return HexSha256(header_line); }

Result<std::string> EventHash(const Event& event) {
  ASSIGN_OR_RETURN(const std::string text, json::Canonical({{"schema", kSchema},
                                                            {"seq", event.seq},
                                                            {"time", event.time},
                                                            {"type", event.type},
                                                            {"data", event.data},
                                                            {"prev", event.prev}}));
  return HexSha256(text);
}

Result<std::string> EventLine(const Event& event) {
  return json::Canonical({{"seq", event.seq},
                          {"time", event.time},
                          {"type", event.type},
                          {"data", event.data},
                          {"prev", event.prev},
                          {"hash", event.hash}});
}

Result<RunHeader> ParseHeaderLine(std::string_view line) {
  ASSIGN_OR_RETURN(const Json value, ParseLine(line));
  ASSIGN_OR_RETURN(const std::string schema, json::GetString(value, "schema"));
  if (schema != kSchema)
    return Err(ErrorCode::kMalformed, "the schema is not " + std::string(kSchema));
  RunHeader header;
  ASSIGN_OR_RETURN(header.platform, json::GetString(value, "platform"));
  ASSIGN_OR_RETURN(header.workspace, json::GetString(value, "workspace"));
  ASSIGN_OR_RETURN(header.session, json::GetString(value, "session"));
  ASSIGN_OR_RETURN(header.run, json::GetString(value, "run"));
  ASSIGN_OR_RETURN(header.time, json::GetString(value, "time"));
  RETURN_IF_ERROR(CheckExact(line, HeaderLine(header)));
  return header;
}

Result<Event> ParseEventLine(std::string_view line) {
  ASSIGN_OR_RETURN(Json value, ParseLine(line));
  Event event;
  ASSIGN_OR_RETURN(const std::int64_t seq,
                   json::GetInt(value, "seq", {.min = 0, .max = json::kMaxExactInteger}));
  event.seq = static_cast<std::uint64_t>(seq);
  ASSIGN_OR_RETURN(event.time, json::GetString(value, "time"));
  ASSIGN_OR_RETURN(event.type, json::GetString(value, "type"));
  RETURN_IF_ERROR(json::GetObject(value, "data"));
  event.data = std::move(value["data"]);
  ASSIGN_OR_RETURN(event.prev, json::GetString(value, "prev"));
  ASSIGN_OR_RETURN(event.hash, json::GetString(value, "hash"));
  RETURN_IF_ERROR(CheckExact(line, EventLine(event)));
  return event;
}

Status MakePortable(json::Json& data) { return MakePortable(data, 0); }

}  // namespace cofferdam::record
