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
  /// as the length is known; the decoder is of no use after that.
  Status Feed(std::string_view bytes);

  /// The next whole frame, if one is there. Frames that came before a bad length are not returned.
  std::optional<std::string> Next();

 private:
  Status CheckLength() const;
  std::size_t max_frame_bytes_;
  std::string buffer_;
  std::size_t begin_ = 0;
};

}  // namespace cofferdam::protocol
