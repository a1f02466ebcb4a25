#include "agent/arguments.h"

#include <gmock/gmock.h>

namespace cofferdam::agent {
namespace {

using testing::HasSubstr;

const std::vector<Parameter>& Parameters() {
  static const std::vector<Parameter> parameters = {
      {.name = "path", .description = "where", .required = true},
      {.name = "limit",
       .type = ParameterType::kInteger,
       .description = "how many",
       .min = 1,
       .max = 10},
      {.name = "deep", .type = ParameterType::kBoolean, .description = "all of it"}};
  return parameters;
}

std::string Complaint(const json::Json& arguments) {
  const auto checked = Arguments::Check("look", Parameters(), arguments);
  return checked ? "" : checked.error().ToString();
}

TEST(Arguments, GivesWhatWasSentAndTheFallbackForTheRest) {
  const auto arguments =
      Arguments::Check("look", Parameters(), {{"path", "a"}, {"limit", 3.0}, {"deep", nullptr}});
  ASSERT_TRUE(arguments);
  EXPECT_EQ(arguments->String("path"), "a");
  EXPECT_EQ(arguments->IntegerOr("limit", 7), 3);
  EXPECT_TRUE(arguments->BooleanOr("deep", true));
  EXPECT_EQ(arguments->StringOr("other", "x"), "x");
}

TEST(Arguments, NamesEveryProblemAtOnceAndWhatTheToolTakes) {
  const std::string complaint = Complaint({{"file", "a"}, {"limit", "3"}});
  EXPECT_THAT(complaint, HasSubstr("'file' is unknown"));
  EXPECT_THAT(complaint, HasSubstr("'path' is missing"));
  EXPECT_THAT(complaint, HasSubstr("'limit' must be of type integer, not string"));
  EXPECT_THAT(complaint, HasSubstr("look takes path, limit, deep"));
}

TEST(Arguments, HoldsIntegersToTheirBounds) {
  EXPECT_EQ(Complaint({{"path", "a"}, {"limit", 1}}), "");
  EXPECT_EQ(Complaint({{"path", "a"}, {"limit", 10}}), "");
  for (const json::Json& limit : {json::Json(0), json::Json(11), json::Json(UINT64_MAX)})
    EXPECT_THAT(Complaint({{"path", "a"}, {"limit", limit}}), HasSubstr("must be from 1 to 10"));
  for (const json::Json& limit : {json::Json(1.5), json::Json(1e300), json::Json(true)})
    EXPECT_THAT(Complaint({{"path", "a"}, {"limit", limit}}), HasSubstr("of type integer"));
}

TEST(Arguments, ARequiredNullIsMissing) {
  EXPECT_THAT(Complaint({{"path", nullptr}}), HasSubstr("'path' is missing"));
}

TEST(Arguments, AnythingButAnObjectIsRefused) {
  EXPECT_THAT(Complaint(json::Json::array({"path"})), HasSubstr("must be an object"));
  EXPECT_THAT(Complaint(nullptr), HasSubstr("must be an object"));
}

TEST(SchemaOf, SaysTypesBoundsAndWhatIsRequired) {
  EXPECT_EQ(SchemaOf(Parameters()), json::Json::parse(R"({
    "type": "object", "additionalProperties": false, "required": ["path"],
    "properties": {
      "path": {"type": "string", "description": "where"},
      "limit": {"type": "integer", "description": "how many", "minimum": 1, "maximum": 10},
      "deep": {"type": "boolean", "description": "all of it"}}})"));
}

}  // namespace
}  // namespace cofferdam::agent
