#include "platform/config.h"

#include <stdlib.h>

#define TOML_EXCEPTIONS 0
#define TOML_HEADER_ONLY 1
#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>

#include "base/error.h"
#include "base/utf8.h"
#include "platform/settings.h"
#include "sys/file.h"

namespace cofferdam::platform {
namespace {

constexpr std::string_view kStateKey = "state";
constexpr std::string_view kMaxPlatformRunsKey = "max_platform_runs";

std::unexpected<Error> ConfigError(const std::string& path, const toml::source_region& where,
                                   const std::string& what) {
  return Err(ErrorCode::kConfig, path + ", line " + std::to_string(where.begin.line) + ": " + what,
             "docs/configuration.md lists the keys");
}

/// The few kinds of value that a key may have, as JSON; null for any other.
json::Json ToJsonValue(const toml::node& node) {
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* number = node.as_integer()) return number->get();
  if (const auto* array = node.as_array()) {
    json::Json list = json::Json::array();
    for (const toml::node& element : *array) list.push_back(ToJsonValue(element));
    return list;
  }
  return nullptr;
}

Status SetKey(Config& config, const std::string& path, std::string_view name,
              const toml::node& node) {
  if (name == kStateKey) {
    if (!node.is_string()) return ConfigError(path, node.source(), "'state' must be a string");
    config.state = node.as_string()->get();
    return {};
  }
  if (name == kMaxPlatformRunsKey) {
    config.max_platform_runs = node.value_exact<std::int64_t>();
    if (config.max_platform_runs && *config.max_platform_runs >= 1) return {};
    return ConfigError(path, node.source(), "'max_platform_runs' must be an integer above 0");
  }
  const SettingKey* key = FindSetting(name);
  if (key == nullptr)
    return ConfigError(path, node.source(), "unknown key '" + std::string(name) + "'");
  if (const Status set = SetFromJson(config.settings, *key, ToJsonValue(node)); !set)
    return ConfigError(path, node.source(), set.error().message);
  return {};
}

}  // namespace

std::optional<std::string> ProcessEnvironment(const char* name) {
  const char* value = ::getenv(name);
  if (value == nullptr || *value == '\0') return std::nullopt;
  return value;
}

Result<Config> ParseConfig(std::string_view text, const std::string& path) {
  if (!IsValidUtf8(text)) return Err(ErrorCode::kConfig, path + " is not valid UTF-8");
  const toml::parse_result parsed = toml::parse(text, path);
  if (!parsed)
    return ConfigError(path, parsed.error().source(), std::string(parsed.error().description()));
  Config config{.path = path};
  for (const auto& [key, node] : parsed.table())
    RETURN_IF_ERROR(SetKey(config, path, key.str(), node));
  return config;
}

Result<Config> LoadConfig(const std::optional<std::string>& explicit_path,
                          const Environment& environment) {
  std::optional<std::string> named = explicit_path;
  if (!named) named = environment("COFFERDAM_CONFIG");
  std::optional<std::string> path = named;
  if (!path) {
    const auto xdg = environment("XDG_CONFIG_HOME");
    const auto home = environment("HOME");
    if (!xdg && !home) return Config{};
    path = (xdg ? *xdg : *home + "/.config") + "/cofferdam/config.toml";
  }
  const auto text = sys::ReadFile(*path);
  if (!text && !named && text.error().code == ErrorCode::kNotFound) return Config{};
  if (!text)
    return Err(ErrorCode::kConfig, "the configuration cannot be read: " + text.error().message);
  return ParseConfig(*text, *path);
}

std::vector<std::string> ConfigKeys() {
  std::vector<std::string> keys = SettingKeys();
  keys.insert(keys.begin(), {std::string(kStateKey), std::string(kMaxPlatformRunsKey)});
  return keys;
}

}  // namespace cofferdam::platform
