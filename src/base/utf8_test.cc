#include "base/utf8.h"

#include <gtest/gtest.h>

namespace cofferdam {
namespace {

TEST(Utf8, AcceptsWellFormedText) {
  for (const char* good : {"", "abc", "é", "部署", "🚀", "\xF4\x8F\xBF\xBF"})
    EXPECT_TRUE(IsValidUtf8(good)) << good;
}

TEST(Utf8, RefusesOverlongSurrogatesAndOutOfRange) {
  for (const char* bad :
       {"\xC0\x80", "\xE0\x80\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xFF", "\x80", "\xE2\x82"})
    EXPECT_FALSE(IsValidUtf8(bad));
}

TEST(Utf8, RepairsEachIllFormedPartWithOneReplacement) {
  EXPECT_EQ(ToValidUtf8("a\xFF"
                        "b"),
            "a\xEF\xBF\xBD"
            "b");
  EXPECT_EQ(ToValidUtf8("\xE2\x82"), "\xEF\xBF\xBD");
  EXPECT_EQ(ToValidUtf8("\xE2\x82z"), "\xEF\xBF\xBDz");
  EXPECT_EQ(ToValidUtf8("é"), "é");
}

TEST(Utf8, CutsBetweenCharactersOnly) {
  EXPECT_EQ(Utf8Prefix("aé", 2), "a");
  EXPECT_EQ(Utf8Prefix("aé", 3), "aé");
  EXPECT_EQ(Utf8Suffix("éa", 2), "a");
  EXPECT_EQ(Utf8Suffix("éa", 3), "éa");
  EXPECT_EQ(Utf8Prefix("🚀", 3), "");
}

TEST(Utf8, KnowsHowManyBytesOfACutOffCharacterEndAChunk) {
  EXPECT_EQ(Utf8IncompleteTail("abc"), 0u);
  EXPECT_EQ(Utf8IncompleteTail("ab\xC3"), 1u);
  EXPECT_EQ(Utf8IncompleteTail("ab\xE9\x83"), 2u);
  EXPECT_EQ(Utf8IncompleteTail("\xF0\x9F\x9A"), 3u);
  EXPECT_EQ(Utf8IncompleteTail("é"), 0u);
  EXPECT_EQ(Utf8IncompleteTail("\xFF"), 0u);
  EXPECT_EQ(Utf8IncompleteTail("\x80\x80\x80\x80"), 0u);
}

}  // namespace
}  // namespace cofferdam
