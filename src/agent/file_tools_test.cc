#include "agent/file_tools.h"

#include <gmock/gmock.h>

namespace cofferdam::agent {
namespace {

using testing::HasSubstr;

std::string Refusal(std::string_view text, std::string_view old, std::string_view replacement) {
  const auto edited = ApplyEdit(text, old, replacement, false);
  return edited ? "" : edited.error().ToString();
}

TEST(ApplyEdit, ReplacesTheOnlyOccurrence) {
  const auto edited = ApplyEdit("one two three", "two", "2", false);
  ASSERT_TRUE(edited);
  EXPECT_EQ(edited->text, "one 2 three");
  EXPECT_EQ(edited->replacements, 1U);
  EXPECT_EQ(ApplyEdit("x", "x", "", false)->text, "");
}

TEST(ApplyEdit, SaysHowOftenAndWhereAnAmbiguousTextOccurs) {
  const std::string refusal = Refusal("a\nb\na\n\na", "a", "c");
  EXPECT_THAT(refusal, HasSubstr("occurs 3 times, on lines 1, 3, 5"));
  EXPECT_THAT(refusal, HasSubstr("replace_all"));
  EXPECT_THAT(Refusal(std::string(13, 'a'), "a", "c"),
              HasSubstr("1, 1, 1, 1, 1, 1, 1, 1, 1, 1 and 3 more"));
}

TEST(ApplyEdit, ReplacesEveryOccurrenceWhenAsked) {
  const auto edited = ApplyEdit("aXaXa", "a", "bb", true);
  ASSERT_TRUE(edited);
  EXPECT_EQ(edited->text, "bbXbbXbb");
  EXPECT_EQ(edited->replacements, 3U);
}

TEST(ApplyEdit, OccurrencesDoNotOverlap) {
  EXPECT_EQ(ApplyEdit("aaaa", "aa", "b", true)->text, "bb");
  EXPECT_EQ(ApplyEdit("aaa", "aa", "b", false)->text, "ba");
}

TEST(ApplyEdit, DoesNotTakeTheReplacementForMoreOfTheOld) {
  EXPECT_EQ(ApplyEdit("a a", "a", "aa", true)->text, "aa aa");
}

TEST(ApplyEdit, SaysWhatMayBeWrongWithATextThatDoesNotOccur) {
  EXPECT_THAT(Refusal("one\r\ntwo\r\n", "one\ntwo", "x"), HasSubstr("ends its lines with \\r\\n"));
  EXPECT_THAT(Refusal("one  two", "one two", "x"), HasSubstr("white space"));
}

TEST(ApplyEdit, RefusesWhatWouldChangeNothing) {
  EXPECT_THAT(Refusal("a", "", "x"), HasSubstr("old_string is empty"));
  EXPECT_THAT(Refusal("a", "a", "a"), HasSubstr("the same"));
}

}  // namespace
}  // namespace cofferdam::agent
