#include "sessions/rewind.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cofferdam::sessions {
namespace {

using json::Json;
using testing::ElementsAre;

Json Message(const std::string& id) { return {{"type", "message"}, {"id", id}, {"time", "t"}}; }

Json Rewind(const std::string& id, const std::string& keep) {
  Json entry = RewindEntry("r", keep, 1);
  entry["id"] = id;
  return entry;
}

std::vector<std::string> IdsOf(const std::vector<Json>& entries) {
  const auto effective = EffectiveEntries(entries);
  EXPECT_TRUE(effective) << effective.error().ToString();
  std::vector<std::string> ids;
  for (const Json& entry : effective.value_or(std::vector<Json>()))
    ids.push_back(entry.at("id").get<std::string>());
  return ids;
}

TEST(EffectiveEntries, AreAllWhereNothingWasTakenBack) {
  EXPECT_THAT(IdsOf({Message("1"), Message("2")}), ElementsAre("1", "2"));
}

TEST(EffectiveEntries, EndWithTheOneThatARewindKeepsAndGoOnAfterIt) {
  EXPECT_THAT(IdsOf({Message("1"), Message("2"), Message("3"), Rewind("4", "1"), Message("5")}),
              ElementsAre("1", "5"));
}

TEST(EffectiveEntries, OfARewindThatKeepsNothingAreThoseAfterIt) {
  EXPECT_THAT(IdsOf({Message("1"), Message("2"), Rewind("3", ""), Message("4")}), ElementsAre("4"));
}

TEST(EffectiveEntries, RewindsComeOneAfterTheOther) {
  EXPECT_THAT(IdsOf({Message("1"), Message("2"), Message("3"), Rewind("4", "2"), Message("5"),
                     Rewind("6", "1"), Message("7")}),
              ElementsAre("1", "7"));
}

TEST(EffectiveEntries, KeepTypesThatAreNotKnown) {
  Json other = {{"type", "compaction"}, {"id", "2"}};
  EXPECT_THAT(IdsOf({Message("1"), other}), ElementsAre("1", "2"));
}

TEST(EffectiveEntries, ARewindToWhatDoesNotCountIsDamage) {
  for (const std::vector<Json>& entries : std::vector<std::vector<Json>>{
           {Message("1"), Rewind("2", "9")},
           {Message("1"), Message("2"), Rewind("3", "1"), Rewind("4", "2")},
           {Message("1"), {{"type", "rewind"}, {"id", "2"}}},
       })
    EXPECT_EQ(EffectiveEntries(entries).error().code, ErrorCode::kCorrupt);
}

}  // namespace
}  // namespace cofferdam::sessions
