#include "model/yaml.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cofferdam::model {
namespace {

using json::Json;

std::string Parsed(std::string_view text) {
  const auto value = ParseYaml(text);
  return value ? json::Dump(*value) : value.error().ToString();
}

TEST(Yaml, ReadsMapsListsAndBlockTexts) {
  EXPECT_EQ(
      Parsed("a: 1\nb:\n  - x\n  - {y: z, w: [1, 2]}\nc: |\n  one\n  two\nd: >\n  one\n  two\n"),
      R"({"a":1,"b":["x",{"w":[1,2],"y":"z"}],"c":"one\ntwo\n","d":"one two\n"})");
}

TEST(Yaml, GivesPlainScalarsTheirType) {
  EXPECT_EQ(Parsed("[null, ~, true, False, 12, -3, 1.5, 1e3, yes, 0x10, .inf, nan, 1.2.3, '', -]"),
            R"([null,null,true,false,12,-3,1.5,1000.0,"yes","0x10",".inf","nan","1.2.3","","-"])");
}

TEST(Yaml, LeavesQuotedScalarsTexts) {
  EXPECT_EQ(Parsed("['12', \"true\", 'null', \"a\\nb\"]"), R"(["12","true","null","a\nb"])");
}

TEST(Yaml, ReadsNothingAsNull) {
  EXPECT_EQ(Parsed(""), "null");
  EXPECT_EQ(Parsed("# only a comment\n"), "null");
  EXPECT_EQ(Parsed("a:\n"), R"({"a":null})");
}

TEST(Yaml, RefusesWhatCanSurprise) {
  for (const char* text :
       {"a: &x 1\n", "a: [&x 1, *x]\n", "a: *x\n", "a: !!str 1\n", "!mine {a: 1}\n",
        "a: !!set {b}\n", "a: 1\na: 2\n", "{[1]: 2}\n", "? {a: 1}\n: 2\n", "---\na: 1\n---\nb: 1\n",
        "a: [1\n", "\t- a\n", "a: \xFF\n", "&x {a: 1}\n"}) {
    const auto value = ParseYaml(text);
    ASSERT_FALSE(value) << text << " gave " << json::Dump(*value);
    EXPECT_EQ(value.error().code, ErrorCode::kMalformed) << text;
  }
}

TEST(Yaml, RefusesControlCharactersWhichWouldChangeTheEncoding) {
  using std::string_view_literals::operator""sv;
  for (const std::string_view text : {"\1\0\0\0 a"sv, "a\0"sv, "a: \x1b"sv})
    EXPECT_EQ(ParseYaml(text).error().code, ErrorCode::kMalformed);
  EXPECT_EQ(Parsed("a: \"\\0\\e\"\r\n"), R"({"a":"\u0000\u001b"})");
}

TEST(Yaml, RefusesEscapesThatItsParserTurnsIntoIllFormedUtf8) {
  EXPECT_EQ(ParseYaml("a: \"\\N\"").error().code, ErrorCode::kMalformed);
  EXPECT_EQ(Parsed("a: \"\\u00e9\""), R"({"a":"é"})");
}

TEST(Yaml, NamesTheLine) {
  EXPECT_EQ(Parsed("a: 1\nb: 2\na: 3\n"), "malformed: YAML, line 3: the key 'a' is there twice");
}

TEST(Yaml, BoundsDepthAndSize) {
  const auto nested = [](std::size_t depth) {
    return std::string(depth, '[') + std::string(depth, ']');
  };
  EXPECT_TRUE(ParseYaml(nested(64)));
  EXPECT_EQ(ParseYaml(nested(65)).error().code, ErrorCode::kMalformed);
  EXPECT_EQ(ParseYaml(nested(100'000)).error().code, ErrorCode::kMalformed);
  EXPECT_TRUE(ParseYaml("# " + std::string(kMaxYamlBytes - 2, 'x')));
  EXPECT_EQ(ParseYaml("# " + std::string(kMaxYamlBytes - 1, 'x')).error().code,
            ErrorCode::kTooLarge);
}

}  // namespace
}  // namespace cofferdam::model
