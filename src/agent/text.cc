#include "agent/text.h"

#include <algorithm>

#include "base/utf8.h"

namespace cofferdam::agent {
namespace {

std::uint64_t CountLineFeeds(std::string_view text) {
  return static_cast<std::uint64_t>(std::ranges::count(text, '\n'));
}

/// Lines as a person counts them: a last one without a line feed is one too.
std::uint64_t CountLines(std::string_view text) {
  return CountLineFeeds(text) + (!text.empty() && text.back() != '\n' ? 1 : 0);
}

/// The first `max_lines` lines within `max_bytes`; a first line that is too long is cut.
std::string_view Start(std::string_view text, const TextLimits& limits) {
  std::size_t end = 0;
  for (std::size_t lines = 0; lines < limits.max_lines && end < text.size(); ++lines) {
    const std::size_t feed = text.find('\n', end);
    const std::size_t next = feed == std::string_view::npos ? text.size() : feed + 1;
    if (next > limits.max_bytes)
      return lines > 0 ? text.substr(0, end) : Utf8Prefix(text, limits.max_bytes);
    end = next;
  }
  return text.substr(0, end);
}

/// The same from the end.
std::string_view End(std::string_view text, const TextLimits& limits) {
  std::size_t begin = text.size();
  for (std::size_t lines = 0; lines < limits.max_lines && begin > 0; ++lines) {
    const std::size_t feed = begin > 1 ? text.rfind('\n', begin - 2) : std::string_view::npos;
    const std::size_t next = feed == std::string_view::npos ? 0 : feed + 1;
    if (text.size() - next > limits.max_bytes)
      return lines > 0 ? text.substr(begin) : Utf8Suffix(text, limits.max_bytes);
    begin = next;
  }
  return text.substr(begin);
}

bool Fits(std::string_view text, const TextLimits& limits) {
  return text.size() <= limits.max_bytes && CountLines(text) <= limits.max_lines;
}

}  // namespace

CutText KeepStart(std::string_view text, const TextLimits& limits) {
  const std::string_view kept = Fits(text, limits) ? text : Start(text, limits);
  const std::string_view rest = text.substr(kept.size());
  return {std::string(kept), CountLines(rest), rest.size()};
}

void OutputCollector::Append(std::string_view piece) {
  total_bytes_ += piece.size();
  const std::size_t room = keep_bytes_ - head_.size();
  head_ += piece.substr(0, room);
  if (piece.size() <= room) return;
  tail_ += piece.substr(room);
  // Trimmed only at twice its size, so that small pieces do not each move the whole tail.
  if (tail_.size() <= 2 * limits_.max_bytes) return;
  const std::size_t excess = tail_.size() - limits_.max_bytes;
  dropped_lines_ += CountLineFeeds(std::string_view(tail_).substr(0, excess));
  tail_.erase(0, excess);
}

CutText OutputCollector::Middle(std::string_view note) const {
  const std::string text = ToValidUtf8(head_ + tail_);
  if (dropped_bytes() == 0 && Fits(text, limits_)) return {text, 0, 0};
  const TextLimits half{limits_.max_lines / 2, limits_.max_bytes / 2};
  const std::string_view start = Start(text, half);
  const std::string_view rest = std::string_view(text).substr(start.size());
  const std::string_view end = End(rest, half);
  const std::string_view middle = rest.substr(0, rest.size() - end.size());
  CutText cut{.text = std::string(start),
              .omitted_lines = CountLines(middle) + dropped_lines_,
              .omitted_bytes = middle.size() + dropped_bytes()};
  if (!cut.text.empty() && cut.text.back() != '\n') cut.text += '\n';
  cut.text += "[... " + std::to_string(cut.omitted_lines) + " lines (" +
              std::to_string(cut.omitted_bytes) + " bytes) left out" + std::string(note) +
              " ...]\n";
  cut.text += end;
  return cut;
}

std::string OutputCollector::Kept() const {
  if (dropped_bytes() == 0) return head_ + tail_;
  return head_ + "\n[... " + std::to_string(dropped_bytes()) + " bytes were not kept ...]\n" +
         tail_;
}

void LineWindow::Feed(std::string_view piece) {
  while (!piece.empty()) {
    const std::size_t feed = piece.find('\n');
    const std::string_view part = piece.substr(0, feed);
    line_bytes_ += part.size();
    // Four bytes more than is shown tell a line that just fits from one that does not, whatever
    // character stands at the border.
    if (line_.size() < max_line_bytes_ + 4)
      line_ += part.substr(0, max_line_bytes_ + 4 - line_.size());
    if (feed == std::string_view::npos) return;
    EndLine();
    piece.remove_prefix(feed + 1);
  }
}

void LineWindow::Finish() {
  if (line_bytes_ > 0) EndLine();
}

void LineWindow::EndLine() {
  ++seen_;
  std::string line = ToValidUtf8(line_);
  const std::uint64_t bytes = line_bytes_;
  line_.clear();
  line_bytes_ = 0;
  if (seen_ < first_ || full_) return;
  if (bytes > max_line_bytes_)
    line = std::string(Utf8Prefix(line, max_line_bytes_)) + " [line cut: it has " +
           std::to_string(bytes) + " bytes]";
  line += '\n';
  if (shown_ >= limits_.max_lines ||
      (shown_ > 0 && text_.size() + line.size() > limits_.max_bytes)) {
    full_ = true;
    return;
  }
  text_ += line;
  ++shown_;
}

}  // namespace cofferdam::agent
