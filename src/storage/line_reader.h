// Reading a file of lines with bounded memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"

namespace cofferdam::storage {

/// Fills a part of `room` (which is not empty) with the next bytes and returns how many; 0 at the
/// end, then and ever after.
using ByteSource = std::function<Result<std::size_t>(std::span<char> room)>;

/// The bytes that read(2) gives; `fd` is borrowed for the life of the source.
ByteSource FileSource(int fd);
/// The bytes of `text`, which must outlive the source.
ByteSource TextSource(std::string_view text);

struct Line {
  /// Without its '\n'. Valid until the next call of Next.
  std::string_view text;
  /// From 1.
  std::uint64_t number = 0;
  /// False for bytes after the last '\n': a line that was cut off.
  bool complete = true;
};

/// Splits a source into lines ended by '\n'. Holds one line and one chunk of the source in memory.
/// Belongs to one thread.
class LineReader {
 public:
  /// `max_line_bytes` without the '\n'.
  LineReader(ByteSource source, std::size_t max_line_bytes)
      : source_(std::move(source)), max_line_bytes_(max_line_bytes) {}

  /// The next line; nullopt at the end. ErrorCode::kTooLarge, naming the line, for one that is
  /// longer than allowed; the source's own error when it fails. After an error the reader is of no
  /// more use.
  Result<std::optional<Line>> Next();

 private:
  ByteSource source_;
  std::size_t max_line_bytes_;
  // The bytes read and not yet given away begin at begin_; those before scanned_ hold no '\n'.
  std::string buffer_;
  std::size_t begin_ = 0;
  std::size_t scanned_ = 0;
  std::uint64_t lines_ = 0;
};

}  // namespace cofferdam::storage
