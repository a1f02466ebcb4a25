#include "json/json.h"

#include <limits>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cofferdam::json {
namespace {

using testing::HasSubstr;
using namespace std::string_literals;

void ExpectMalformed(std::string_view text, std::string_view what, const Limits& limits = {}) {
  const Result<Json> value = Parse(text, limits);
  ASSERT_FALSE(value) << text;
  EXPECT_EQ(value.error().code, ErrorCode::kMalformed);
  EXPECT_THAT(value.error().message, HasSubstr(what));
}

std::string Nested(std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); }

TEST(Parse, ReadsEveryKindOfValue) {
  const Json value =
      *Parse(R"( {"a":[null,true,-1,18446744073709551615,1.5,"\u00e4\ud83d\ude00"],"b":{}} )");
  EXPECT_EQ(value["a"][2].get<std::int64_t>(), -1);
  EXPECT_EQ(value["a"][3].get<std::uint64_t>(), 18446744073709551615u);
  EXPECT_EQ(value["a"][4].get<double>(), 1.5);
  EXPECT_EQ(value["a"][5], "ä😀");
  EXPECT_TRUE(value["b"].is_object());
  EXPECT_EQ(*Parse("3"), 3);
}

TEST(Parse, RefusesADuplicateKeyAtAnyDepthEvenWhenWrittenOtherwise) {
  ExpectMalformed(R"({"a":1,"a":1})", "duplicate key at byte 9");
  ExpectMalformed(R"([{"x":{"a":1,"\u0061":2}}])", "duplicate key");
  EXPECT_TRUE(Parse(R"({"a":{"a":1},"b":{"a":1}})"));
}

TEST(Parse, RefusesWhatFollowsTheValue) {
  ExpectMalformed("1 2", "at byte 2");
  ExpectMalformed("{}}", "at byte 2");
  ExpectMalformed("{}\0"s, "NUL at byte 2");
  ExpectMalformed("1\0 garbage"s, "NUL at byte 1");
}

TEST(Parse, RefusesWhatIsNotUnicode) {
  ExpectMalformed("\"\xC3\x28\"", "ill-formed UTF-8 byte at byte 2");
  ExpectMalformed("\"\xED\xA0\x80\"", "UTF-8");
  ExpectMalformed(R"("\ud800")", "surrogate");
  ExpectMalformed(R"("\udc00")", "surrogate");
  ExpectMalformed(R"("\ud800\u0041")", "surrogate");
  ExpectMalformed("\xEF\xBB\xBF{}", "byte order mark at byte 0");
}

TEST(Parse, RefusesNumbersThatWouldNotKeepTheirValue) {
  for (const char* text : {"NaN", "Infinity", "-Infinity", "01", "+1", ".5", "1.", "0x10"})
    EXPECT_FALSE(Parse(text)) << text;
  ExpectMalformed("[1e400]", "a number beyond a double");
  ExpectMalformed("[-1e400]", "a number beyond a double");
  ExpectMalformed("[18446744073709551616]", "an integer beyond 64 bits");
  ExpectMalformed("[-9223372036854775809]", "an integer beyond 64 bits");
  EXPECT_EQ(*Parse("1e-400"), 0.0);
}

TEST(Parse, SaysWhatIsWrongAndWhereWithoutQuotingTheText) {
  ExpectMalformed("[1,hunter2]", "invalid literal at byte 3");
  ExpectMalformed("[1,]", "unexpected ']'; expected '[', '{', or a literal at byte 3");
  ExpectMalformed("[1", "unexpected end of input");
  ExpectMalformed("", "at byte 0");
  ExpectMalformed("'a'", "at byte 0");
  const Error error = Parse("{\"password\": hunter2}").error();
  EXPECT_THAT(error.message, testing::Not(HasSubstr("hunt")));
}

TEST(Parse, HoldsItsLimitsToTheByteAndTheLevel) {
  EXPECT_TRUE(Parse("12345", {.max_bytes = 5}));
  ExpectMalformed("123456", "more than 5 bytes", {.max_bytes = 5});
  EXPECT_TRUE(Parse(Nested(128)));
  ExpectMalformed(Nested(129), "too deep a nesting at byte 128");
  ExpectMalformed(R"({"a":{"b":{}}})", "too deep", {.max_depth = 2});
  ExpectMalformed("[]", "too deep", {.max_depth = 0});
  EXPECT_TRUE(Parse("1", {.max_depth = 0}));
}

TEST(Dump, IsCompactAndSurvivesWhatJsonCannotHold) {
  EXPECT_EQ(Dump({{"b", 1}, {"a", "ä\n"}}), "{\"a\":\"ä\\n\",\"b\":1}");
  EXPECT_EQ(Dump(Json("a\xFFz")), "\"a\xEF\xBF\xBDz\"");
  EXPECT_EQ(Dump(Json(std::numeric_limits<double>::quiet_NaN())), "null");
}

}  // namespace
}  // namespace cofferdam::json
