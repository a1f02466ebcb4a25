#include "log/config.h"

#include <map>

#include <gtest/gtest.h>

namespace cofferdam::log {
namespace {

EnvironmentLookup Environment(std::map<std::string, std::string, std::less<>> variables) {
  return [variables = std::move(variables)](std::string_view name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    if (found == variables.end()) return std::nullopt;
    return found->second;
  };
}

TEST(WithEnvironment, ReplacesOnlyWhatIsSet) {
  const Config defaults =
      *WithEnvironment({}, Environment({{"COFFERDAM_LOG_LEVEL", ""}, {"COFFERDAM_LOG_FILE", ""}}));
  EXPECT_EQ(defaults.file.general, Level::kInfo);
  EXPECT_EQ(defaults.console.general, Level::kWarn);
  EXPECT_EQ(defaults.file_path, "");

  const Config changed =
      *WithEnvironment({}, Environment({{"COFFERDAM_LOG_LEVEL", "debug"},
                                        {"COFFERDAM_CONSOLE_LOG_LEVEL", "silent,net=info"},
                                        {"COFFERDAM_LOG_FILE", "/var/log/x.log"}}));
  EXPECT_EQ(changed.file.general, Level::kDebug);
  EXPECT_EQ(changed.console.general, Level::kSilent);
  EXPECT_EQ(changed.console.For("net"), Level::kInfo);
  EXPECT_EQ(changed.file_path, "/var/log/x.log");
}

TEST(WithEnvironment, RefusesALevelThatIsNone) {
  const auto config = WithEnvironment({}, Environment({{"COFFERDAM_CONSOLE_LOG_LEVEL", "loud"}}));
  ASSERT_FALSE(config);
  EXPECT_EQ(config.error().code, ErrorCode::kConfig);
  EXPECT_EQ(config.error().message, "COFFERDAM_CONSOLE_LOG_LEVEL: no log level is called 'loud'");
}

}  // namespace
}  // namespace cofferdam::log
