// Decoder for server-sent events: bytes in, events out, with no connection of its own.
// Format: WHATWG HTML, section 9.2 "Server-sent events".
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace cofferdam::net {

/// One event. All text is valid UTF-8.
struct SseEvent {
  /// The event's type; empty when the stream named none, which means "message".
  std::string type = {};
  /// The data lines, joined by line feeds.
  std::string data = {};
  /// The last id that the stream has given, which outlives the event that brought it.
  std::string id = {};
  bool operator==(const SseEvent&) const = default;
};

/// Decodes one stream. What comes out does not depend on how the bytes are cut into pieces. Lines
/// end with LF, CR or CRLF; a byte order mark at the start is skipped; ill-formed UTF-8 becomes
/// U+FFFD; an event that the end of the stream cuts off is not an event. Belongs to one thread.
///
///   SseDecoder decoder;
///   std::vector<SseEvent> events;
///   RETURN_IF_ERROR(decoder.Feed(bytes, events));
class SseDecoder {
 public:
  static constexpr std::size_t kDefaultMaxEventBytes = 16 << 20;

  /// `max_event_bytes` bounds what is held for one event: its fields and the line in progress.
  explicit SseDecoder(std::size_t max_event_bytes = kDefaultMaxEventBytes)
      : max_event_bytes_(max_event_bytes) {}

  /// Appends the events that `bytes` complete to `events`. A larger event than allowed is
  /// kTooLarge, after the events before it; the stream is then useless and every further call says
  /// the same.
  Status Feed(std::string_view bytes, std::vector<SseEvent>& events);

  /// The last id given, for a Last-Event-ID header.
  const std::string& last_event_id() const { return last_event_id_; }
  /// How long the stream wants its readers to wait before they connect again.
  std::optional<std::uint32_t> retry_millis() const { return retry_millis_; }

 private:
  Status EndLine(std::vector<SseEvent>& events);
  void TakeField(std::string_view line);
  void Dispatch(std::vector<SseEvent>& events);
  Status CheckSize() const;

  std::size_t max_event_bytes_;
  std::string line_;
  bool first_line_ = true;
  bool skip_line_feed_ = false;  // the last byte was a CR, which has ended its line already
  std::string type_;
  std::string data_;
  std::string last_event_id_;
  std::optional<std::uint32_t> retry_millis_;
};

}  // namespace cofferdam::net
