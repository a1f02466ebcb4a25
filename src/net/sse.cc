#include "net/sse.h"

#include <charconv>
#include <utility>

#include "base/utf8.h"

namespace cofferdam::net {
namespace {

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

std::optional<std::uint32_t> ParseDigits(std::string_view text) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

Status SseDecoder::Feed(std::string_view bytes, std::vector<SseEvent>& events) {
  RETURN_IF_ERROR(CheckSize());
  while (!bytes.empty()) {
    if (std::exchange(skip_line_feed_, false) && bytes.front() == '\n') {
      bytes.remove_prefix(1);
      continue;
    }
    const std::size_t end = bytes.find_first_of("\r\n");
    line_.append(bytes.substr(0, end));
    RETURN_IF_ERROR(CheckSize());
    if (end == std::string_view::npos) break;
    skip_line_feed_ = bytes[end] == '\r';
    bytes.remove_prefix(end + 1);
    RETURN_IF_ERROR(EndLine(events));
  }
  return {};
}

Status SseDecoder::CheckSize() const {
  if (line_.size() + type_.size() + data_.size() <= max_event_bytes_) return {};
  return Err(ErrorCode::kTooLarge,
             "a server-sent event has more than " + std::to_string(max_event_bytes_) + " bytes");
}

Status SseDecoder::EndLine(std::vector<SseEvent>& events) {
  std::string line = std::exchange(line_, {});
  if (std::exchange(first_line_, false) && line.starts_with(kByteOrderMark))
    line.erase(0, kByteOrderMark.size());
  if (line.empty()) {
    Dispatch(events);
    return {};
  }
  if (!IsValidUtf8(line)) line = ToValidUtf8(line);
  TakeField(line);
  return CheckSize();
}

void SseDecoder::TakeField(std::string_view line) {
  const std::size_t colon = line.find(':');
  const std::string_view name = line.substr(0, colon);
  std::string_view value =
      colon == std::string_view::npos ? std::string_view() : line.substr(colon + 1);
  if (value.starts_with(' ')) value.remove_prefix(1);
  if (name == "data") {
    data_.append(value);
    data_.push_back('\n');
  } else if (name == "event") {
    type_ = value;
  } else if (name == "id") {
    if (!value.contains('\0')) last_event_id_ = value;
  } else if (name == "retry") {
    if (const auto millis = ParseDigits(value)) retry_millis_ = millis;
  }
}

void SseDecoder::Dispatch(std::vector<SseEvent>& events) {
  std::string type = std::exchange(type_, {});
  std::string data = std::exchange(data_, {});
  if (data.empty()) return;
  data.pop_back();
  events.push_back({.type = std::move(type), .data = std::move(data), .id = last_event_id_});
}

}  // namespace cofferdam::net
