#include "agent/search_tools.h"

#include <gtest/gtest.h>

namespace cofferdam::agent {
namespace {

TEST(FormatGrep, PrintsMatchesAsGrepDoes) {
  EXPECT_EQ(FormatGrep({.lines = {{"a.cc", 3, "one", true}, {"b.cc", 1, "two", true}}}, false),
            "a.cc:3:one\nb.cc:1:two\n");
}

TEST(FormatGrep, MarksContextAndSeparatesWhatIsApart) {
  const sandbox::GrepResult result{.lines = {{"a", 1, "before", false},
                                             {"a", 2, "match", true},
                                             {"a", 9, "match", true},
                                             {"b", 10, "match", true}}};
  EXPECT_EQ(FormatGrep(result, true), "a-1-before\na:2:match\n--\na:9:match\n--\nb:10:match\n");
}

TEST(FormatGrep, CutsLongLinesAndRepairsBytesThatAreNoText) {
  const std::string text = FormatGrep({.lines = {{"a", 1, std::string(501, 'x'), true}}}, false);
  EXPECT_EQ(text, "a:1:" + std::string(500, 'x') + " [line cut]\n");
  EXPECT_EQ(FormatGrep({.lines = {{"\xff", 1, "\xff", true}}}, false),
            "\xEF\xBF\xBD:1:\xEF\xBF\xBD\n");
}

}  // namespace
}  // namespace cofferdam::agent
