#include "json/fields.h"

#include <gtest/gtest.h>

namespace cofferdam::json {
namespace {

const Json kObject = {
    {"s", "text"},
    {"b", true},
    {"i", 7},
    {"whole", 7.0},
    {"half", 7.5},
    {"n", nullptr},
    {"o", {{"x", 1}}},
    {"a", Json::array({1})},
    {"big", 18446744073709551615u},
    {"huge", 1e300},
};

template <typename T>
std::string MessageOf(const Result<T>& result) {
  EXPECT_FALSE(result);
  if (result) return "";
  EXPECT_EQ(result.error().code, ErrorCode::kMalformed);
  return result.error().message;
}

TEST(Fields, ReturnWhatIsThere) {
  EXPECT_EQ(*GetString(kObject, "s"), "text");
  EXPECT_EQ(*GetBool(kObject, "b"), true);
  EXPECT_EQ(*GetInt(kObject, "i"), 7);
  EXPECT_EQ(*GetInt(kObject, "whole"), 7);
  EXPECT_EQ(**GetObject(kObject, "o"), Json({{"x", 1}}));
  EXPECT_EQ(**GetArray(kObject, "a"), Json::array({1}));
}

TEST(Fields, SayWhichOneIsMissingOrOfTheWrongType) {
  EXPECT_EQ(MessageOf(GetString(kObject, "t")), "field 't' is missing");
  EXPECT_EQ(MessageOf(GetString(kObject, "i")), "field 'i' is not a string");
  EXPECT_EQ(MessageOf(GetBool(kObject, "i")), "field 'i' is not true or false");
  EXPECT_EQ(MessageOf(GetInt(kObject, "s")), "field 's' is not a whole number");
  EXPECT_EQ(MessageOf(GetInt(kObject, "half")), "field 'half' is not a whole number");
  EXPECT_EQ(MessageOf(GetInt(kObject, "b")), "field 'b' is not a whole number");
  EXPECT_EQ(MessageOf(GetObject(kObject, "a")), "field 'a' is not an object");
  EXPECT_EQ(MessageOf(GetArray(kObject, "o")), "field 'o' is not an array");
  EXPECT_EQ(MessageOf(GetString(kObject, "n")), "field 'n' is not a string");
  EXPECT_EQ(MessageOf(GetString(Json::array(), "s")),
            "no object where one with the field 's' should be");
}

TEST(Fields, HoldIntegersToTheirRange) {
  EXPECT_EQ(*GetInt(kObject, "i", {.min = 7, .max = 7}), 7);
  EXPECT_EQ(MessageOf(GetInt(kObject, "i", {.min = 8, .max = 9})),
            "field 'i' is not between 8 and 9");
  EXPECT_FALSE(GetInt(kObject, "i", {.min = 0, .max = 6}));
  EXPECT_FALSE(GetInt(kObject, "big"));
  EXPECT_FALSE(GetInt(kObject, "huge"));
}

TEST(Fields, OptionalOnesMayBeAbsentOrNullButNotOfAnotherType) {
  EXPECT_EQ(*GetOptionalString(kObject, "s"), "text");
  EXPECT_EQ(*GetOptionalString(kObject, "missing"), std::nullopt);
  EXPECT_EQ(*GetOptionalString(kObject, "n"), std::nullopt);
  EXPECT_EQ(*GetOptionalBool(kObject, "b"), true);
  EXPECT_EQ(*GetOptionalBool(kObject, "missing"), std::nullopt);
  EXPECT_EQ(*GetOptionalInt(kObject, "i"), 7);
  EXPECT_EQ(*GetOptionalInt(kObject, "n"), std::nullopt);
  EXPECT_FALSE(GetOptionalString(kObject, "i"));
  EXPECT_FALSE(GetOptionalBool(kObject, "s"));
  EXPECT_FALSE(GetOptionalInt(kObject, "i", {.min = 8}));
}

}  // namespace
}  // namespace cofferdam::json
