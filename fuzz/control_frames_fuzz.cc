// Frames come out the same however their bytes are split, and what parses as a message is written
// as an equal one. The first byte is the size of the pieces.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "protocol/control.pb.h"
#include "protocol/framing.h"

namespace {

using namespace cofferdam;

constexpr std::size_t kMaxFrameBytes = 4096;

struct Decoded {
  bool good = true;
  std::vector<std::string> frames;
};

Decoded Decode(std::string_view bytes, std::size_t step) {
  protocol::FrameDecoder decoder(kMaxFrameBytes);
  Decoded decoded;
  for (std::size_t at = 0; at < bytes.size() && decoded.good; at += step) {
    decoded.good = decoder.Feed(bytes.substr(at, step)).has_value();
    while (auto frame = decoder.Next()) decoded.frames.push_back(std::move(*frame));
  }
  return decoded;
}

template <typename Message>
void CheckMessage(const std::string& bytes) {
  Message message;
  if (!message.ParseFromString(bytes)) return;
  Message again;
  CHECK(again.ParseFromString(message.SerializeAsString()));
  CHECK(again.ByteSizeLong() == message.ByteSizeLong());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data + 1), size - 1);
  const Decoded whole = Decode(bytes, std::max<std::size_t>(bytes.size(), 1));
  const Decoded pieces = Decode(bytes, std::size_t{data[0]} + 1);
  CHECK(pieces.good == whole.good);
  CHECK(pieces.frames == whole.frames);
  for (const std::string& frame : whole.frames) {
    CHECK(!frame.empty() && frame.size() <= kMaxFrameBytes);
    CheckMessage<protocol::v1::HostFrame>(frame);
    CheckMessage<protocol::v1::WorkerFrame>(frame);
  }
  return 0;
}
