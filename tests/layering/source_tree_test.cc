#include "layering/source_tree.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cofferdam::layering {
namespace {

using testing::ElementsAre;

TEST(CmakeCalls, FindsArgumentsAcrossLinesAndNotInComments) {
  constexpr char kText[] =
      "# f(no)\n"
      "f(a DEPS b c\n  SOURCES d.cc)  # f(no)\n"
      "f(e)\nendf(no)\n";
  const auto calls = CmakeCalls(kText, "f");
  ASSERT_EQ(calls.size(), 2u);
  EXPECT_THAT(calls[0], ElementsAre("a", "DEPS", "b", "c", "SOURCES", "d.cc"));
  EXPECT_THAT(CmakeKeyword(calls[0], "DEPS"), ElementsAre("b", "c"));
  EXPECT_THAT(CmakeKeyword(calls[0], "SOURCES"), ElementsAre("d.cc"));
  EXPECT_THAT(CmakeKeyword(calls[1], "DEPS"), ElementsAre());
}

TEST(Includes, TellsQuotesFromBrackets) {
  EXPECT_EQ(QuotedInclude("#include \"base/id.h\""), "base/id.h");
  EXPECT_EQ(QuotedInclude("#include <vector>"), "");
  EXPECT_EQ(BracketInclude("#include <sys/stat.h>"), "sys/stat.h");
  EXPECT_EQ(QuotedInclude("// #include \"x.h\""), "");
}

TEST(SourceTree, HasItsOwnFoldersAndFiles) {
  EXPECT_EQ(FolderOrder().front(), "base");
  EXPECT_TRUE(FolderDependencies().at("worker").of_library.contains("protocol"));
  EXPECT_GT(SourceFiles({"src/base"}).size(), 5u);
}

}  // namespace
}  // namespace cofferdam::layering
