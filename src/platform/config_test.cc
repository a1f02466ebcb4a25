#include "platform/config.h"

#include <fcntl.h>

#include <map>

#include <gmock/gmock.h>

#include "platform/settings.h"
#include "sys/file.h"
#include "sys/testing/temp_dir.h"

namespace cofferdam::platform {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

void Put(const std::string& path, std::string_view text) {
  const sys::UniqueFd fd = *sys::Open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  ASSERT_TRUE(sys::WriteAll(fd.get(), text));
}

Environment With(std::map<std::string, std::string> variables) {
  return [variables = std::move(variables)](const char* name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    return found == variables.end() ? std::nullopt : std::optional(found->second);
  };
}

std::string Complaint(std::string_view text) {
  const auto config = ParseConfig(text, "c.toml");
  EXPECT_TRUE(config || config.error().code == ErrorCode::kConfig);
  return config ? "" : config.error().message;
}

TEST(ParseConfig, EveryKeyThatIsListedIsRead) {
  std::string text;
  for (const std::string& name : ConfigKeys()) {
    const SettingKey* key = FindSetting(name);
    std::string value = name == "max_platform_runs" ? "64" : "\"text\"";
    const auto* text_key = key == nullptr ? nullptr : std::get_if<TextKey>(&key->value);
    if (text_key != nullptr && !text_key->words.empty())
      value = "\"" + std::string(text_key->words.substr(0, text_key->words.find(' '))) + "\"";
    if (key != nullptr && std::holds_alternative<NumberKey>(key->value)) value = "64";
    if (key != nullptr && std::holds_alternative<NamesKey>(key->value)) value = "[\"cgroup\"]";
    if (key != nullptr && std::holds_alternative<MountsKey>(key->value)) value = "[\"/a:/mnt/b\"]";
    text += name + " = " + value + "\n";
  }
  const auto config = ParseConfig(text, "c.toml");
  ASSERT_TRUE(config) << config.error().ToString();
  EXPECT_EQ(config->state, "text");
  EXPECT_EQ(config->max_platform_runs, 64);
  EXPECT_EQ(ToJson(config->settings).size(), SettingTable().size());
}

TEST(ParseConfig, EveryKeyIsInTheDocumentation) {
  const auto page = sys::ReadFile(COFFERDAM_SOURCE_DIR "/docs/configuration.md");
  ASSERT_TRUE(page);
  for (const std::string& name : ConfigKeys()) EXPECT_THAT(*page, HasSubstr("| `" + name + "` |"));
}

TEST(ParseConfig, UnknownKeysAreErrorsThatNameKeyAndLine) {
  EXPECT_EQ(Complaint("provider = \"scripted\"\n\nmodle = \"x\"\n"),
            "c.toml, line 3: unknown key 'modle'");
  EXPECT_THAT(Complaint("[provider]\nmodel = 1"), HasSubstr("line 1: 'provider' must be a string"));
  EXPECT_THAT(Complaint("[limits]\nmemory = 1"), HasSubstr("line 1: unknown key 'limits'"));
}

TEST(ParseConfig, WrongValuesAreErrorsThatNameKeyAndLine) {
  EXPECT_THAT(Complaint("\nmax_turns = \"many\""),
              HasSubstr("line 2: 'max_turns' must be an integer"));
  EXPECT_THAT(Complaint("state = 1"), HasSubstr("line 1: 'state' must be a string"));
  EXPECT_THAT(Complaint("max_platform_runs = 0"), HasSubstr("must be an integer above 0"));
  EXPECT_THAT(Complaint("max_platform_runs = \"8\""), HasSubstr("must be an integer above 0"));
  EXPECT_THAT(Complaint("mounts = [\"/a\"]"), HasSubstr("mount '/a'"));
  EXPECT_THAT(Complaint("allow_missing = [1]"), HasSubstr("must be a list of strings"));
  EXPECT_THAT(Complaint("a = "), HasSubstr("c.toml, line 1: "));
  EXPECT_THAT(Complaint("a = \"\xff\""), HasSubstr("not valid UTF-8"));
}

class LoadConfigTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(sys::MakeDirectories(temp_ / "xdg/cofferdam", 0700));
    Put(temp_ / "xdg/cofferdam/config.toml", "model = \"default\"");
    Put(temp_ / "variable.toml", "model = \"variable\"");
    Put(temp_ / "explicit.toml", "model = \"explicit\"");
  }
  sys::TempDir temp_;
};

TEST_F(LoadConfigTest, ExplicitPathBeforeVariableBeforeDefaultPlace) {
  const Environment all =
      With({{"COFFERDAM_CONFIG", temp_ / "variable.toml"}, {"XDG_CONFIG_HOME", temp_ / "xdg"}});
  EXPECT_EQ(LoadConfig(temp_ / "explicit.toml", all)->settings.model, "explicit");
  EXPECT_EQ(LoadConfig({}, all)->settings.model, "variable");
  const Environment xdg = With({{"XDG_CONFIG_HOME", temp_ / "xdg"}});
  EXPECT_EQ(LoadConfig({}, xdg)->settings.model, "default");
  EXPECT_EQ(LoadConfig({}, xdg)->path, temp_ / "xdg/cofferdam/config.toml");
}

TEST_F(LoadConfigTest, HomeStandsInForXdg) {
  ASSERT_TRUE(sys::MakeDirectories(temp_ / ".config/cofferdam", 0700));
  Put(temp_ / ".config/cofferdam/config.toml", "model = \"home\"");
  EXPECT_EQ(LoadConfig({}, With({{"HOME", temp_.path()}}))->settings.model, "home");
}

TEST_F(LoadConfigTest, AFileThatWasNamedMustBeReadable) {
  const auto missing = LoadConfig(temp_ / "missing.toml", With({}));
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ErrorCode::kConfig);
  EXPECT_FALSE(LoadConfig({}, With({{"COFFERDAM_CONFIG", temp_ / "missing.toml"}})));
}

TEST_F(LoadConfigTest, TheDefaultPlaceMayBeEmpty) {
  const auto config = LoadConfig({}, With({{"HOME", temp_ / "nobody"}}));
  ASSERT_TRUE(config);
  EXPECT_EQ(config->path, "");
  EXPECT_TRUE(LoadConfig({}, With({})));
}

TEST_F(LoadConfigTest, ADefaultFileThatIsThereButBrokenIsAnError) {
  Put(temp_ / "xdg/cofferdam/config.toml", "nonsense");
  EXPECT_FALSE(LoadConfig({}, With({{"XDG_CONFIG_HOME", temp_ / "xdg"}})));
}

}  // namespace
}  // namespace cofferdam::platform
