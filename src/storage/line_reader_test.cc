#include "storage/line_reader.h"

#include <algorithm>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace cofferdam::storage {
namespace {

using Lines = std::vector<std::pair<std::string, bool>>;

Lines ReadAllLines(ByteSource source, std::size_t max_line_bytes = 1000) {
  LineReader reader(std::move(source), max_line_bytes);
  Lines lines;
  for (;;) {
    const auto line = reader.Next();
    EXPECT_TRUE(line);
    if (!line || !*line) return lines;
    EXPECT_EQ((*line)->number, lines.size() + 1);
    lines.emplace_back((*line)->text, (*line)->complete);
  }
}

// Gives one byte at a time.
ByteSource SlowSource(std::string_view text) {
  return [text](std::span<char> room) mutable -> Result<std::size_t> {
    if (text.empty()) return 0;
    room[0] = text[0];
    text.remove_prefix(1);
    return 1;
  };
}

TEST(LineReader, GivesEveryLineAndMarksTheOneThatWasCutOff) {
  constexpr std::string_view kText = "one\n\nthree\nfo";
  const Lines expected = {{"one", true}, {"", true}, {"three", true}, {"fo", false}};
  EXPECT_EQ(ReadAllLines(TextSource(kText)), expected);
  EXPECT_EQ(ReadAllLines(SlowSource(kText)), expected);
  EXPECT_EQ(ReadAllLines(TextSource("one\n")), (Lines{{"one", true}}));
  EXPECT_EQ(ReadAllLines(TextSource("")), Lines{});
}

TEST(LineReader, FindsLinesAcrossItsChunks) {
  std::string text;
  Lines expected;
  for (int i = 0; i < 500; ++i) {
    const std::string line(static_cast<std::size_t>(i * 7 % 997), static_cast<char>('a' + i % 26));
    text += line + "\n";
    expected.emplace_back(line, true);
  }
  EXPECT_EQ(ReadAllLines(TextSource(text)), expected);
}

TEST(LineReader, HoldsLinesToTheirLimitToTheByte) {
  EXPECT_EQ(ReadAllLines(TextSource("12345\n"), 5), (Lines{{"12345", true}}));
  EXPECT_EQ(ReadAllLines(TextSource("12345"), 5), (Lines{{"12345", false}}));
  for (const std::string_view text : {"ok\n123456\n", "ok\n123456"}) {
    LineReader reader(TextSource(text), 5);
    ASSERT_TRUE(reader.Next());
    const auto line = reader.Next();
    ASSERT_FALSE(line);
    EXPECT_EQ(line.error().code, ErrorCode::kTooLarge);
    EXPECT_EQ(line.error().message, "line 2 is longer than 5 bytes");
  }
}

TEST(LineReader, StopsReadingALineThatNeverEnds) {
  std::size_t read = 0;
  LineReader reader(
      [&read](std::span<char> room) -> Result<std::size_t> {
        std::ranges::fill(room, 'x');
        read += room.size();
        return room.size();
      },
      1'000'000);
  EXPECT_EQ(reader.Next().error().code, ErrorCode::kTooLarge);
  EXPECT_LT(read, 1'200'000u);
}

TEST(LineReader, PassesTheErrorOfItsSourceOn) {
  LineReader reader([](std::span<char>) { return Err(ErrorCode::kOs, "broken disk"); }, 5);
  EXPECT_EQ(reader.Next().error().message, "broken disk");
}

}  // namespace
}  // namespace cofferdam::storage
