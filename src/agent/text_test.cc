#include "agent/text.h"

#include <gmock/gmock.h>

#include "base/utf8.h"

namespace cofferdam::agent {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

std::string Lines(int from, int to) {
  std::string text;
  for (int i = from; i <= to; ++i) text += "line " + std::to_string(i) + "\n";
  return text;
}

CutText Middle(std::string_view text, TextLimits limits, std::size_t keep = 1 << 20) {
  OutputCollector collector(limits, keep);
  collector.Append(text);
  return collector.Middle("; note");
}

TEST(OutputCollector, ShowsWhatFitsUnchanged) {
  const TextLimits limits{.max_lines = 3, .max_bytes = 21};
  EXPECT_EQ(Middle(Lines(1, 3), limits).text, Lines(1, 3));
  EXPECT_FALSE(Middle(Lines(1, 3), limits).cut());
  EXPECT_EQ(Middle("no line feed", limits).text, "no line feed");
  EXPECT_EQ(Middle("", limits).text, "");
}

TEST(OutputCollector, OneLineOrOneByteMoreIsCutInTheMiddle) {
  EXPECT_EQ(Middle(Lines(1, 5), {.max_lines = 4, .max_bytes = 1000}).text,
            Lines(1, 2) + "[... 1 lines (7 bytes) left out; note ...]\n" + Lines(4, 5));
  EXPECT_EQ(Middle(Lines(1, 3), {.max_lines = 100, .max_bytes = 20}).text,
            Lines(1, 1) + "[... 1 lines (7 bytes) left out; note ...]\n" + Lines(3, 3));
}

TEST(OutputCollector, CutsOneEndlessLineBetweenCharacters) {
  std::string text;
  for (int i = 0; i < 100; ++i) text += "é";
  const CutText cut = Middle(text, {.max_lines = 10, .max_bytes = 31});
  EXPECT_TRUE(IsValidUtf8(cut.text));
  EXPECT_EQ(cut.omitted_bytes, 200U - 14 - 14);
  EXPECT_THAT(cut.text, StartsWith("ééééééé\n[..."));
  EXPECT_THAT(cut.text, EndsWith("]\nééééééé"));
}

TEST(OutputCollector, HoldsStartAndEndOfEndlessOutputInBoundedMemory) {
  OutputCollector collector({.max_lines = 4, .max_bytes = 100}, 1000);
  std::string all;
  for (int i = 0; i < 5000; ++i) {
    const std::string line = "line " + std::to_string(i) + "\n";
    collector.Append(line);
    all += line;
  }
  EXPECT_EQ(collector.total_bytes(), all.size());
  EXPECT_LT(collector.Kept().size(), 1300U);
  EXPECT_THAT(collector.Kept(), StartsWith(all.substr(0, 1000) + "\n[... "));
  EXPECT_THAT(collector.Kept(), EndsWith("line 4998\nline 4999\n"));
  const CutText cut = collector.Middle("");
  EXPECT_THAT(cut.text, StartsWith("line 0\nline 1\n[... 4996 lines ("));
  EXPECT_THAT(cut.text, EndsWith("...]\nline 4998\nline 4999\n"));
  EXPECT_EQ(cut.omitted_bytes, all.size() - 14 - 20);
}

TEST(OutputCollector, KeepsTheBytesAsTheyCameAndShowsThemAsUtf8) {
  OutputCollector collector({}, 100);
  // One character split between two pieces, and one byte that is none.
  collector.Append("\xc3");
  collector.Append("\xa9 \xff");
  EXPECT_EQ(collector.Middle("").text, "é \xEF\xBF\xBD");
  EXPECT_EQ(collector.Kept(), "é \xff");
}

TEST(KeepStart, KeepsWholeLines) {
  const CutText cut = KeepStart(Lines(1, 9), {.max_lines = 9, .max_bytes = 20});
  EXPECT_EQ(cut.text, Lines(1, 2));
  EXPECT_EQ(cut.omitted_lines, 7U);
  EXPECT_FALSE(KeepStart(Lines(1, 9), {.max_lines = 9, .max_bytes = 63}).cut());
}

class LineWindowTest : public testing::Test {
 protected:
  LineWindow Window(std::string_view text, std::uint64_t first, TextLimits limits,
                    std::size_t piece = 3) {
    LineWindow window(first, limits, 10);
    for (std::size_t i = 0; i < text.size(); i += piece) window.Feed(text.substr(i, piece));
    window.Finish();
    return window;
  }
};

TEST_F(LineWindowTest, PicksLinesWhateverThePieces) {
  for (std::size_t piece = 1; piece < 30; ++piece) {
    const LineWindow window =
        Window(Lines(1, 9) + "last", 3, {.max_lines = 4, .max_bytes = 1000}, piece);
    EXPECT_EQ(window.text(), Lines(3, 6));
    EXPECT_EQ(window.shown(), 4U);
    EXPECT_EQ(window.seen(), 10U);
    EXPECT_TRUE(window.full());
  }
}

TEST_F(LineWindowTest, ALastLineWithoutALineFeedIsALine) {
  const LineWindow window = Window("a\nb", 2, {});
  EXPECT_EQ(window.text(), "b\n");
  EXPECT_EQ(window.seen(), 2U);
  EXPECT_FALSE(window.full());
}

TEST_F(LineWindowTest, EmptyLinesCount) {
  const LineWindow window = Window("\n\n\nx\n", 3, {});
  EXPECT_EQ(window.text(), "\nx\n");
  EXPECT_EQ(window.seen(), 4U);
}

TEST_F(LineWindowTest, StopsAtTheByteLimitButShowsAtLeastOneLine) {
  EXPECT_EQ(Window(Lines(1, 9), 1, {.max_lines = 9, .max_bytes = 14}).text(), Lines(1, 2));
  EXPECT_EQ(Window(Lines(1, 9), 1, {.max_lines = 9, .max_bytes = 2}).text(), Lines(1, 1));
}

TEST_F(LineWindowTest, CutsALongLineBetweenCharactersAndSaysItsLength) {
  EXPECT_EQ(Window("0123456789\n", 1, {}).text(), "0123456789\n");
  EXPECT_EQ(Window("0123456789x\n", 1, {}).text(), "0123456789 [line cut: it has 11 bytes]\n");
  EXPECT_EQ(Window("012345678é\n", 1, {}).text(), "012345678 [line cut: it has 11 bytes]\n");
}

}  // namespace
}  // namespace cofferdam::agent
