#include "json/canonical.h"

#include <bit>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <random>
#include <string>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cofferdam::json {
namespace {

using testing::HasSubstr;

void ExpectRefused(const Json& value, std::string_view what) {
  const Result<std::string> text = Canonical(value);
  ASSERT_FALSE(text) << *text;
  EXPECT_EQ(text.error().code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(text.error().message, HasSubstr(what));
}

// RFC 8785, appendix B: the bits of a double and its text.
TEST(CanonicalNumber, WritesTheNumbersOfTheRfcsAppendixB) {
  constexpr std::pair<std::uint64_t, std::string_view> kNumbers[] = {
      {0x0000000000000000, "0"},
      {0x8000000000000000, "0"},
      {0x0000000000000001, "5e-324"},
      {0x8000000000000001, "-5e-324"},
      {0x7fefffffffffffff, "1.7976931348623157e+308"},
      {0xffefffffffffffff, "-1.7976931348623157e+308"},
      {0x4340000000000000, "9007199254740992"},
      {0xc340000000000000, "-9007199254740992"},
      {0x4430000000000000, "295147905179352830000"},
      {0x44b52d02c7e14af5, "9.999999999999997e+22"},
      {0x44b52d02c7e14af6, "1e+23"},
      {0x44b52d02c7e14af7, "1.0000000000000001e+23"},
      {0x444b1ae4d6e2ef4e, "999999999999999700000"},
      {0x444b1ae4d6e2ef4f, "999999999999999900000"},
      {0x444b1ae4d6e2ef50, "1e+21"},
      {0x3eb0c6f7a0b5ed8c, "9.999999999999997e-7"},
      {0x3eb0c6f7a0b5ed8d, "0.000001"},
      {0x41b3de4355555553, "333333333.3333332"},
      {0x41b3de4355555554, "333333333.33333325"},
      {0x41b3de4355555555, "333333333.3333333"},
      {0x41b3de4355555556, "333333333.3333334"},
      {0x41b3de4355555557, "333333333.33333343"},
      {0xbecbf647612f3696, "-0.0000033333333333333333"},
      {0x43143ff3c1cb0959, "1424953923781206.2"},
  };
  for (const auto& [bits, text] : kNumbers)
    EXPECT_EQ(CanonicalNumber(std::bit_cast<double>(bits)), text) << std::hex << bits;
}

TEST(CanonicalNumber, ReadsBackAsTheSameNumber) {
  std::mt19937_64 random(8785);
  for (int i = 0; i < 20'000; ++i) {
    const auto value = std::bit_cast<double>(random());
    if (!std::isfinite(value)) continue;
    const std::string text = CanonicalNumber(value);
    EXPECT_EQ(std::strtod(text.c_str(), nullptr), value) << text;
  }
}

// RFC 8785, section 3.2.2 and 3.2.3.
TEST(Canonical, WritesTheRfcsSample) {
  const Json value = *Parse(R"({
    "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
    "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
    "literals": [null, true, false]
  })");
  EXPECT_EQ(*Canonical(value),
            R"({"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],)"
            R"("string":"€$\u000f\nA'B\"\\\\\"/"})");
}

TEST(Canonical, SortsKeysByUtf16UnitsAsTheRfcsSampleDoes) {
  const Json value = *Parse(R"({
    "\u20ac": "Euro Sign",
    "\r": "Carriage Return",
    "\ufb33": "Hebrew Letter Dalet With Dagesh",
    "1": "One",
    "\ud83d\ude00": "Emoji: Grinning Face",
    "\u0080": "Control",
    "\u00f6": "Latin Small Letter O With Diaeresis"
  })");
  EXPECT_EQ(*Canonical(value),
            "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u0080\":\"Control\","
            "\"ö\":\"Latin Small Letter O With Diaeresis\",\"€\":\"Euro Sign\","
            "\"😀\":\"Emoji: Grinning Face\",\"\uFB33\":\"Hebrew Letter Dalet With Dagesh\"}");
}

TEST(Canonical, PutsAPrefixBeforeTheLongerKey) {
  EXPECT_EQ(*Canonical({{"ab", 1}, {"a", 2}, {"", 3}}), R"({"":3,"a":2,"ab":1})");
}

TEST(Canonical, EscapesOnlyWhatItMust) {
  std::string text;
  for (char c = 0; c < 0x20; ++c) text += c;
  text += "\x7f/";
  EXPECT_EQ(*Canonical(Json(text)),
            "\"\\u0000\\u0001\\u0002\\u0003\\u0004\\u0005\\u0006\\u0007\\b\\t\\n\\u000b\\f\\r"
            "\\u000e\\u000f\\u0010\\u0011\\u0012\\u0013\\u0014\\u0015\\u0016\\u0017\\u0018\\u0019"
            "\\u001a\\u001b\\u001c\\u001d\\u001e\\u001f\x7f/\"");
}

TEST(Canonical, RefusesIntegersThatADoubleCannotTellApart) {
  EXPECT_EQ(*Canonical(kMaxExactInteger), "9007199254740992");
  EXPECT_EQ(*Canonical(-kMaxExactInteger), "-9007199254740992");
  ExpectRefused(kMaxExactInteger + 1, "beyond 2^53");
  ExpectRefused(-kMaxExactInteger - 1, "beyond 2^53");
  ExpectRefused(std::numeric_limits<std::uint64_t>::max(), "beyond 2^53");
  ExpectRefused(1e16, "beyond 2^53");  // Its text would be read back as an integer.
  EXPECT_EQ(*Canonical(1e21), "1e+21");
}

TEST(Canonical, RefusesWhatJsonCannotHold) {
  ExpectRefused(std::numeric_limits<double>::quiet_NaN(), "not finite");
  ExpectRefused({{"a", {std::numeric_limits<double>::infinity()}}}, "not finite");
  ExpectRefused("\xFF", "UTF-8");
  ExpectRefused({{"\xED\xA0\x80", 1}}, "UTF-8");
  ExpectRefused(Json::binary({1, 2}), "does not have");
}

TEST(Canonical, GoesAsDeepAsItSaysAndNoDeeper) {
  Json value = 1;
  for (std::size_t i = 0; i < kMaxCanonicalDepth; ++i) value = Json::array({std::move(value)});
  EXPECT_TRUE(Canonical(value));
  ExpectRefused(Json{{"one more", value}}, "nesting");
}

TEST(Canonical, WritesMinusZeroAsZero) { EXPECT_EQ(*Canonical({-0.0, 0}), "[0,0]"); }

}  // namespace
}  // namespace cofferdam::json
