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

Status FrameDecoder::Feed(std::string_view bytes) {
  buffer_ += bytes;
  while (buffer_.size() >= unchecked_ + kHeaderBytes) {
    const std::size_t length = LengthAt(std::string_view(buffer_).substr(unchecked_));
    if (length == 0 || length > max_frame_bytes_)
      return Err(ErrorCode::kProtocol, "a frame claims " + std::to_string(length) +
                                           " bytes; allowed are 1 to " +
                                           std::to_string(max_frame_bytes_));
    unchecked_ += kHeaderBytes + length;
  }
  return {};
}

std::optional<std::string> FrameDecoder::Next() {
  // What is below unchecked_ has a length that was found good.
  const std::string_view rest = std::string_view(buffer_).substr(begin_);
  if (begin_ == unchecked_ || rest.size() < kHeaderBytes + LengthAt(rest)) return std::nullopt;
  const std::size_t length = LengthAt(rest);
  std::string frame(rest.substr(kHeaderBytes, length));
  begin_ += kHeaderBytes + length;
  if (begin_ >= buffer_.size() / 2) {
    buffer_.erase(0, begin_);
    unchecked_ -= begin_;
    begin_ = 0;
  }
  return frame;
}

}  // namespace cofferdam::protocol
