// The settings as data: one table of keys from which the JSON of workspace.json, the TOML of the
// configuration file and the text of the command line are read, checked and written.
//
// Pure functions; safe to use from any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <cofferdam/settings.h>

#include "base/error.h"
#include "json/json.h"

namespace cofferdam::platform {

/// A key whose value is text.
struct TextKey {
  std::optional<std::string> Settings::* member;
  /// The only values there are, between blanks; empty: any.
  std::string_view words = {};
};
/// A key whose value is an integer within bounds.
struct NumberKey {
  std::optional<std::int64_t> Settings::* member;
  std::int64_t min;
  std::int64_t max;
};
/// A key whose value is a list of texts, such as layer names.
struct NamesKey {
  std::vector<std::string> Settings::* member;
};
/// A key whose value is a list of "SRC:DST[:rw]".
struct MountsKey {
  std::vector<Mount> Settings::* member;
};

struct SettingKey {
  std::string_view name;
  /// One line, for a person.
  std::string_view help;
  /// It is about the sandbox, so it matters to a command without an agent too.
  bool of_sandbox;
  std::variant<TextKey, NumberKey, NamesKey, MountsKey> value;
};

/// Every key there is.
std::span<const SettingKey> SettingTable();
/// The key of that name, or null.
const SettingKey* FindSetting(std::string_view name);

/// Sets `key` from a JSON value: a string, an integer, or an array of strings.
/// ErrorCode::kInvalidArgument says what it must be.
Status SetFromJson(Settings& settings, const SettingKey& key, const json::Json& value);

/// An object with the keys that are set. SettingsFromJson takes it back; unknown keys and wrong
/// types are ErrorCode::kMalformed.
json::Json ToJson(const Settings& settings);
Result<Settings> SettingsFromJson(const json::Json& object);

}  // namespace cofferdam::platform
