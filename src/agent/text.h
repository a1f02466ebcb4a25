// How much of a text the model gets to see: rules that cut a long text and say what was cut. Sizes
// are bytes, texts are UTF-8, and no rule cuts inside a character.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace cofferdam::agent {

/// What one tool result may hold.
struct TextLimits {
  std::size_t max_lines = 2000;
  std::size_t max_bytes = std::size_t{50} * 1024;
};

/// A text after a rule was applied to it.
struct CutText {
  std::string text;
  /// What is not shown; both 0 when everything is.
  std::uint64_t omitted_lines = 0;
  std::uint64_t omitted_bytes = 0;
  bool cut() const { return omitted_bytes > 0; }
};

/// The beginning of a text, whole lines where possible.
CutText KeepStart(std::string_view text, const TextLimits& limits);

/// Output that arrives in pieces and may be endless: holds its beginning and its end within a fixed
/// amount of memory. Belongs to one thread.
class OutputCollector {
 public:
  /// Keeps the first `keep_bytes` whole, and of what follows the end that `limits` can show.
  OutputCollector(TextLimits limits, std::size_t keep_bytes)
      : limits_(limits), keep_bytes_(keep_bytes) {}

  void Append(std::string_view piece);

  std::uint64_t total_bytes() const { return total_bytes_; }

  /// Start and end of what came, half of the limits each, as valid UTF-8; between them, when
  /// something is left out, one line that says how much and ends in `note`.
  CutText Middle(std::string_view note) const;

  /// What is held, as it came: everything, or with a line in place of what memory did not allow.
  std::string Kept() const;

 private:
  std::uint64_t dropped_bytes() const { return total_bytes_ - head_.size() - tail_.size(); }

  TextLimits limits_;
  std::size_t keep_bytes_;
  std::string head_;
  std::string tail_;
  std::uint64_t total_bytes_ = 0;
  std::uint64_t dropped_lines_ = 0;
};

/// Picks some lines of a text that is fed in pieces, for reading a file part by part. Belongs to
/// one thread.
class LineWindow {
 public:
  /// Lines `first` (counted from 1) and after, at most `limits`; a line longer than
  /// `max_line_bytes` is cut and says so.
  LineWindow(std::uint64_t first, TextLimits limits, std::size_t max_line_bytes)
      : first_(first), limits_(limits), max_line_bytes_(max_line_bytes) {}

  void Feed(std::string_view piece);
  /// After the last piece: a last line without a line feed counts as a line.
  void Finish();

  const std::string& text() const { return text_; }
  /// Lines shown, and lines seen up to now.
  std::uint64_t shown() const { return shown_; }
  std::uint64_t seen() const { return seen_; }
  /// A line that was asked for did not fit.
  bool full() const { return full_; }

 private:
  void EndLine();

  std::uint64_t first_;
  TextLimits limits_;
  std::size_t max_line_bytes_;
  std::string line_;              // the beginning of the current line
  std::uint64_t line_bytes_ = 0;  // its whole length up to now
  std::string text_;
  std::uint64_t shown_ = 0;
  std::uint64_t seen_ = 0;
  bool full_ = false;
};

}  // namespace cofferdam::agent
