// Frames on the local channel: a 4-byte big-endian length and so many bytes. Pure functions of
// bytes; both sides bound what they accept before they store it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace cofferdam::protocol {

/// No frame is larger, in either direction.
inline constexpr std::size_t kMaxFrameBytes = 1 << 20;
/// Bytes of output or input in one data frame.
inline constexpr std::size_t kMaxDataBytes = 64 * 1024;
/// The output window an operation starts with.
inline constexpr std::uint64_t kDefaultWindowBytes = 1 << 20;

/// `payload` with its length in front. `payload` has at most kMaxFrameBytes (CHECKed).
std::string EncodeFrame(std::string_view payload);

/// Cuts a byte stream into frames. Not thread-safe.
class FrameDecoder {
 public:
  explicit FrameDecoder(std::size_t max_frame_bytes = kMaxFrameBytes)
      : max_frame_bytes_(max_frame_bytes) {}

  /// Takes bytes as they come. ErrorCode::kProtocol when a length is 0 or above the limit, as soon
  /// as the length is known, however the bytes are split; no more may be fed after that.
  Status Feed(std::string_view bytes);

  /// The next whole frame, if one is there.
  std::optional<std::string> Next();

  /// Bytes that were fed and not returned; a caller that feeds without taking bounds them.
  std::size_t pending_bytes() const { return buffer_.size() - begin_; }

 private:
  std::size_t max_frame_bytes_;
  std::string buffer_;
  std::size_t begin_ = 0;
  std::size_t unchecked_ = 0;  // where the next length that was not looked at stands, or will
};

}  // namespace cofferdam::protocol
