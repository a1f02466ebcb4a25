#include "storage/line_reader.h"

#include <algorithm>
#include <utility>

#include "sys/fd.h"

namespace cofferdam::storage {
namespace {

constexpr std::size_t kChunkBytes = std::size_t{64} * 1024;

}  // namespace

ByteSource FileSource(int fd) {
  return [fd](std::span<char> room) { return sys::Read(fd, room); };
}

ByteSource TextSource(std::string_view text) {
  return [text](std::span<char> room) mutable -> Result<std::size_t> {
    const std::size_t n = text.copy(room.data(), room.size());
    text.remove_prefix(n);
    return n;
  };
}

Result<std::optional<Line>> LineReader::Next() {
  for (;;) {
    const std::size_t newline = buffer_.find('\n', scanned_);
    scanned_ = newline == std::string::npos ? buffer_.size() : newline;
    if (scanned_ - begin_ > max_line_bytes_)
      return Err(ErrorCode::kTooLarge, "line " + std::to_string(lines_ + 1) + " is longer than " +
                                           std::to_string(max_line_bytes_) + " bytes");
    if (newline != std::string::npos) {
      const Line line{std::string_view(buffer_).substr(begin_, newline - begin_), ++lines_, true};
      begin_ = scanned_ = newline + 1;
      return line;
    }
    // What was given away is dropped only here, so that the line before stayed valid until now.
    buffer_.erase(0, std::exchange(begin_, 0));
    const std::size_t used = scanned_ = buffer_.size();
    buffer_.resize(used + kChunkBytes);
    auto n = source_(std::span(buffer_).subspan(used));
    buffer_.resize(used + n.value_or(0));
    RETURN_IF_ERROR(n);
    if (*n > 0) continue;
    if (used == 0) return std::nullopt;
    begin_ = scanned_ = used;
    return Line{std::string_view(buffer_), ++lines_, false};
  }
}

}  // namespace cofferdam::storage
