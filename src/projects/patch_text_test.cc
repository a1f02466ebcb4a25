#include "projects/patch_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cofferdam::projects {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Node File(std::uint32_t mode, std::uint64_t size = 0) {
  return {.kind = NodeKind::kFile, .mode = mode, .size = size};
}

TEST(PatchText, QuotesPathsAsGitDoes) {
  EXPECT_EQ(QuotedPath("a/", "src/x y.c"), "a/src/x y.c");
  EXPECT_EQ(QuotedPath("b/", "q\"\\"), R"("b/q\"\\")");
  EXPECT_EQ(QuotedPath("", "n\nt\tr\ra\ab\bv\vf\f"), R"("n\nt\tr\ra\ab\bv\vf\f")");
  EXPECT_EQ(QuotedPath("a/", "\xff\x01\x7f"), R"("a/\377\001\177")");
}

TEST(PatchText, SaysOfARenameWhereFromAndWhereTo) {
  const Change change{.kind = ChangeKind::kRenamed,
                      .path = "new name",
                      .old_path = "old\n",
                      .before = File(0644),
                      .after = File(0755)};
  EXPECT_EQ(SectionWithoutContent(change),
            "diff --git \"a/old\\n\" b/new name\nold mode 100644\nnew mode 100755\n"
            "similarity index 100%\nrename from \"old\\n\"\nrename to new name\n");
}

TEST(PatchText, SaysOfWhatIsNotShownThatItDiffers) {
  Change change{.kind = ChangeKind::kModified,
                .path = "big",
                .before = File(0644, 1),
                .after = File(0600, 2)};
  EXPECT_EQ(SectionWithoutContent(change),
            "diff --git a/big b/big\nBinary files a/big and b/big differ\n");
  change.before.reset();
  EXPECT_EQ(SectionWithoutContent(change),
            "diff --git a/big b/big\nnew file mode 100644\nBinary files /dev/null and b/big "
            "differ\n");
  std::swap(change.before, change.after);
  EXPECT_EQ(SectionWithoutContent(change),
            "diff --git a/big b/big\ndeleted file mode 100644\nBinary files a/big and /dev/null "
            "differ\n");
}

TEST(PatchText, SaysOfAChangedModeOnlyWhatGitKnowsOfIt) {
  Change change{.kind = ChangeKind::kModified,
                .path = "run",
                .before = File(0644),
                .after = File(0744),
                .before_sha256 = "same",
                .after_sha256 = "same"};
  EXPECT_EQ(SectionWithoutContent(change),
            "diff --git a/run b/run\nold mode 100644\nnew mode 100755\n");
  change.after = File(0600);
  EXPECT_EQ(SectionWithoutContent(change), "");
}

TEST(PatchText, HasNoWordsForDirectories) {
  const Node directory{.kind = NodeKind::kDirectory, .mode = 0755};
  EXPECT_EQ(SectionWithoutContent({.kind = ChangeKind::kAdded, .path = "d", .after = directory}),
            "");
}

TEST(PatchText, GivesBothSidesTheirUsualPrefix) {
  EXPECT_EQ(WithUsualPrefixes("diff --git b/x b/x\nnew file mode 100644\n"),
            "diff --git a/x b/x\nnew file mode 100644\n");
  EXPECT_EQ(WithUsualPrefixes("diff --git \"a/\\n\" \"a/\\n\"\n"),
            "diff --git \"a/\\n\" \"b/\\n\"\n");
  EXPECT_EQ(WithUsualPrefixes("diff --git a/b b/b b/b b/b"), "diff --git a/b b/b b/b b/b");
  EXPECT_EQ(WithUsualPrefixes("diff --git a/s /x b/s /x\nold mode 100644\n"),
            "diff --git \"a/s /x\" \"b/s /x\"\nold mode 100644\n");
  EXPECT_EQ(WithUsualPrefixes("+diff --git b/x b/x\n"), "+diff --git b/x b/x\n");
  for (const char* odd : {"", "\n", "diff --git ", "diff --git  ", "diff --git a a"})
    EXPECT_EQ(WithUsualPrefixes(odd), odd);
}

TEST(Numstat, CountsByPathWhateverIsInIt) {
  using namespace std::string_literals;
  const auto counts = ParseNumstat(
      "1\t2\t\0a/x\ty\0b/x\ty\0"
      "-\t-\t\0/dev/null\0b/bin\0"
      "0\t1\t\0a/kind\0/dev/null\0"
      "1\t0\t\0/dev/null\0b/kind\0"s);
  ASSERT_TRUE(counts) << counts.error().ToString();
  ASSERT_EQ(counts->size(), 3U);
  EXPECT_EQ(counts->at("x\ty"), (LineCount{.path = "x\ty", .added = 1, .removed = 2}));
  EXPECT_EQ(counts->at("bin"), (LineCount{.path = "bin", .binary = true}));
  EXPECT_EQ(counts->at("kind"), (LineCount{.path = "kind", .added = 1, .removed = 1}));
}

TEST(Numstat, RefusesWhatGitDoesNotPrint) {
  using namespace std::string_literals;
  for (const std::string& odd :
       {"x"s, "1\t2\t\0a/x\0"s, "1\t2\tx\0a/x\0b/x\0"s, "1\t-\t\0a/x\0b/x\0"s,
        "1\t2\t\0a/x\0c/x\0"s, "1\t2\t\0a/x\0b/\0"s, "1\t+2\t\0a/x\0b/x\0"s, "\t\t\0a/x\0b/x\0"s,
        "99999999999999999999999\t2\t\0a/x\0b/x\0"s})
    EXPECT_FALSE(ParseNumstat(odd)) << odd;
}

TEST(StatTable, FitsTheTerminalAndKeepsTheEndOfALongPath) {
  const std::vector<LineCount> counts = {
      {.path = std::string(200, 'd') + "/end.c", .added = 1000, .removed = 1},
      {.path = "b", .binary = true},
      {.path = "c\x1b[2J", .added = 1}};
  const std::string table = StatTable(counts, 60);
  std::size_t begin = 0;
  for (std::size_t end; (end = table.find('\n', begin)) != std::string::npos; begin = end + 1)
    EXPECT_LE(end - begin, 60U) << table;
  EXPECT_THAT(table, HasSubstr("/end.c | 1001 +"));
  EXPECT_THAT(table, HasSubstr("+-\n")) << "a single line is seen beside a thousand";
  EXPECT_THAT(table, HasSubstr("|  Bin\n"));
  EXPECT_THAT(table, testing::Not(HasSubstr("\x1b")));
  EXPECT_THAT(table, HasSubstr(" 3 files changed, 1001 insertions(+), 1 deletion(-)\n"));
}

TEST(StatTable, OfNothingIsNothing) { EXPECT_EQ(StatTable({}, 80), ""); }

TEST(StatTable, LooksAsGitsWhereEverythingFits) {
  EXPECT_EQ(StatTable({{.path = "a", .added = 2, .removed = 1}, {.path = "long", .added = 1}}, 80),
            " a    |   3 ++-\n long |   1 +\n 2 files changed, 3 insertions(+), 1 deletion(-)\n");
}

}  // namespace
}  // namespace cofferdam::projects
