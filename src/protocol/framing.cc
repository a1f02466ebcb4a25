#include "protocol/framing.h"

#include "base/check.h"

namespace cofferdam::protocol {
namespace {

constexpr std::size_t kHeaderBytes = 4;

std::size_t LengthAt(std::string_view header) {
  std::size_t length = 0;
  for (std::size_t i = 0; i < kHeaderBytes; ++i)
    length = length << 8 | static_cast<std::uint8_t>(header[i]);
  return length;
}

}  // namespace

std::string EncodeFrame(std::string_view payload) {
  CHECK(!payload.empty() && payload.size() <= kMaxFrameBytes);
  std::string frame;
  frame.reserve(kHeaderBytes + payload.size());
  for (int shift = 24; shift >= 0; shift -= 8)
    frame += static_cast<char>(payload.size() >> shift & 0xff);
  frame += payload;
  return frame;
}

Status FrameDecoder::CheckLength() const {
  if (buffer_.size() - begin_ < kHeaderBytes) return {};
  const std::size_t length = LengthAt(std::string_view(buffer_).substr(begin_));
  if (length == 0 || length > max_frame_bytes_)
    return Err(ErrorCode::kProtocol, "a frame claims " + std::to_string(length) +
                                         " bytes; allowed are 1 to " +
                                         std::to_string(max_frame_bytes_));
  return {};
}

Status FrameDecoder::Feed(std::string_view bytes) {
  buffer_ += bytes;
  return CheckLength();
}

std::optional<std::string> FrameDecoder::Next() {
  const std::string_view rest = std::string_view(buffer_).substr(begin_);
  if (rest.size() < kHeaderBytes) return std::nullopt;
  const std::size_t length = LengthAt(rest);
  if (length == 0 || length > max_frame_bytes_ || rest.size() < kHeaderBytes + length)
    return std::nullopt;
  std::string frame(rest.substr(kHeaderBytes, length));
  begin_ += kHeaderBytes + length;
  if (begin_ >= buffer_.size() / 2) {
    buffer_.erase(0, begin_);
    begin_ = 0;
  }
  return frame;
}

}  // namespace cofferdam::protocol
