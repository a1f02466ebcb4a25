#include "log/level.h"

#include <gtest/gtest.h>

namespace cofferdam::log {
namespace {

TEST(Level, HasANameThatIsReadBackAndNoOtherIs) {
  for (const Level level : {Level::kSilent, Level::kFatal, Level::kError, Level::kWarn,
                            Level::kInfo, Level::kDebug, Level::kTrace})
    EXPECT_EQ(*ParseLevel(LevelName(level)), level);
  for (const char* name : {"", "INFO", " info", "warning", "verbose"})
    EXPECT_EQ(ParseLevel(name).error().code, ErrorCode::kConfig) << name;
}

TEST(Levels, TheNearestSubsystemAboveDecides) {
  const Levels levels{.general = Level::kWarn,
                      .subsystems = {{"memory", Level::kDebug}, {"memory/search", Level::kError}}};
  EXPECT_EQ(levels.For("gateway"), Level::kWarn);
  EXPECT_EQ(levels.For("memory"), Level::kDebug);
  EXPECT_EQ(levels.For("memory/index"), Level::kDebug);
  EXPECT_EQ(levels.For("memory/search/rank"), Level::kError);
  EXPECT_EQ(levels.For("memoryless"), Level::kWarn);
  EXPECT_EQ(levels.For(""), Level::kWarn);
}

TEST(Levels, AreReadFromOneText) {
  const Levels defaults{.general = Level::kWarn, .subsystems = {{"net", Level::kError}}};
  const auto parsed = ParseLevels("memory/search=trace,debug", defaults);
  ASSERT_TRUE(parsed);
  const Levels& both = *parsed;
  EXPECT_EQ(both.general, Level::kDebug);
  EXPECT_EQ(both.For("memory/search"), Level::kTrace);
  EXPECT_EQ(both.For("net"), Level::kError);
  EXPECT_EQ(ParseLevels("net=silent", defaults)->For("net"), Level::kSilent);
  EXPECT_EQ(ParseLevels("net=silent", defaults)->general, Level::kWarn);
  for (const char* text : {"loud", "net=loud", "info,,debug", "=", "net="})
    EXPECT_EQ(ParseLevels(text, defaults).error().code, ErrorCode::kConfig) << text;
}

}  // namespace
}  // namespace cofferdam::log
