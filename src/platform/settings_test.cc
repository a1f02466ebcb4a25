#include "platform/settings.h"

#include <gmock/gmock.h>

namespace cofferdam::platform {
namespace {

using testing::HasSubstr;

/// A value for each key, as text.
std::string Sample(const SettingKey& key) {
  if (std::holds_alternative<NumberKey>(key.value)) return "64";
  if (std::holds_alternative<MountsKey>(key.value)) return "/data:/mnt/data:rw,/opt/x:/mnt/x";
  if (std::holds_alternative<NamesKey>(key.value)) return "cgroup,landlock";
  const std::string_view words = std::get<TextKey>(key.value).words;
  return words.empty() ? "text" : std::string(words.substr(0, words.find(' ')));
}

TEST(Settings, EveryKeySurvivesTheWayThroughTextAndJson) {
  for (const SettingKey& key : SettingTable()) {
    Settings settings;
    ASSERT_TRUE(SetSetting(settings, std::string(key.name), Sample(key))) << key.name;
    EXPECT_NE(settings, Settings()) << key.name;
    EXPECT_EQ(*SettingsFromJson(ToJson(settings)), settings) << key.name;
    EXPECT_EQ(Overlay({}, settings), settings) << key.name;
    ASSERT_TRUE(SetSetting(settings, std::string(key.name), ""));
    EXPECT_EQ(settings, Settings()) << key.name;
  }
}

TEST(Settings, TheNearerWinsKeyByKeyAndListsAddUp) {
  const Settings wide{.provider = "anthropic", .model = "a", .allow_missing = {"cgroup"}};
  const Settings near{.model = "b", .max_turns = 3, .allow_missing = {"landlock"}};
  const Settings both = Overlay(wide, near);
  EXPECT_EQ(both.provider, "anthropic");
  EXPECT_EQ(both.model, "b");
  EXPECT_EQ(both.max_turns, 3);
  EXPECT_THAT(both.allow_missing, testing::ElementsAre("cgroup", "landlock"));
}

TEST(Settings, NumbersKeepToTheirBounds) {
  Settings settings;
  EXPECT_TRUE(SetSetting(settings, "memory_mib", "16"));
  const Status low = SetSetting(settings, "memory_mib", "15");
  ASSERT_FALSE(low);
  EXPECT_THAT(low.error().message, HasSubstr("'memory_mib' must be an integer from 16 to"));
  EXPECT_FALSE(SetSetting(settings, "memory_mib", "64x"));
  EXPECT_FALSE(SetSetting(settings, "memory_mib", "99999999999999999999"));
  EXPECT_EQ(settings.memory_mib, 16);
}

TEST(Settings, WordsAreThoseThatThereAre) {
  Settings settings;
  EXPECT_TRUE(SetSetting(settings, "disk_limit", "hard"));
  const Status status = SetSetting(settings, "disk_limit", "harder");
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().message, HasSubstr("'disk_limit' must be one of soft hard"));
  EXPECT_EQ(settings.disk_limit, "hard");
}

TEST(Settings, UnknownKeysAreNamed) {
  Settings settings;
  const Status status = SetSetting(settings, "memory", "64");
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().ToString(), HasSubstr("memory_mib"));
  const auto read = SettingsFromJson({{"memory", 64}});
  ASSERT_FALSE(read);
  EXPECT_THAT(read.error().message, HasSubstr("unknown setting 'memory'"));
}

TEST(ParseMount, ItsTextIsReadBack) {
  for (const char* text : {"/a:/mnt/b", "/a:/mnt/b:rw"})
    EXPECT_EQ(MountText(*ParseMount(text)), text);
  EXPECT_FALSE(ParseMount("/a"));
}

}  // namespace
}  // namespace cofferdam::platform
