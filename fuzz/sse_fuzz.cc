// The events of a stream do not depend on how it is cut into pieces, and all their text is UTF-8.
// The first byte of the input chooses the size of the pieces.
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "base/utf8.h"
#include "net/sse.h"

namespace {

using namespace cofferdam;

struct Decoded {
  std::vector<net::SseEvent> events;
  bool refused = false;
  bool operator==(const Decoded&) const = default;
};

Decoded Decode(std::string_view bytes, std::size_t piece) {
  constexpr std::size_t kMaxEventBytes = 64;  // small, so that inputs reach it
  net::SseDecoder decoder(kMaxEventBytes);
  Decoded decoded;
  for (std::size_t at = 0; at < bytes.size() && !decoded.refused; at += piece)
    decoded.refused = !decoder.Feed(bytes.substr(at, piece), decoded.events);
  return decoded;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const Decoded whole = Decode(bytes, size);
  CHECK(Decode(bytes, 1) == whole);
  CHECK(Decode(bytes, std::size_t{1} + data[0]) == whole);
  for (const net::SseEvent& event : whole.events)
    CHECK(IsValidUtf8(event.type) && IsValidUtf8(event.data) && IsValidUtf8(event.id));
  return 0;
}
