#include "platform/settings.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "base/error.h"
#include "base/split.h"
#include "sandbox/spec.h"

namespace cofferdam {
namespace platform {
namespace {

template <typename... Fs>
struct Overloaded : Fs... {
  using Fs::operator()...;
};

constexpr std::int64_t kDaySeconds = 24 * 60 * 60;

constexpr bool kOfAgent = false;
constexpr bool kOfSandbox = true;

constexpr std::array kTable = {
    SettingKey{"provider", "Who answers: anthropic or scripted", kOfAgent,
               TextKey{&Settings::provider}},
    SettingKey{"model", "The model; without a provider also PROVIDER/MODEL", kOfAgent,
               TextKey{&Settings::model}},
    SettingKey{"base_url", "Where the provider's API is", kOfAgent, TextKey{&Settings::base_url}},
    SettingKey{"system_prompt", "What the model is told before everything else", kOfAgent,
               TextKey{&Settings::system_prompt}},
    SettingKey{"max_turns", "Model calls in one run", kOfAgent,
               NumberKey{&Settings::max_turns, 1, 10'000}},
    SettingKey{"max_tokens", "Tokens in one answer of the model", kOfAgent,
               NumberKey{&Settings::max_tokens, 1, 1'000'000}},
    SettingKey{"run_timeout_s", "Seconds for the whole run; 0 is no limit", kOfAgent,
               NumberKey{&Settings::run_timeout_s, 0, 7 * kDaySeconds}},
    SettingKey{"command_timeout_s", "Seconds for one command", kOfSandbox,
               NumberKey{&Settings::command_timeout_s, 1, kDaySeconds}},
    SettingKey{"max_concurrent_runs", "Runs and commands of a workspace at the same time",
               kOfSandbox, NumberKey{&Settings::max_concurrent_runs, 1, 10'000}},
    SettingKey{"queue_timeout_s", "Seconds to wait for a slot; 0 is not at all", kOfSandbox,
               NumberKey{&Settings::queue_timeout_s, 0, kDaySeconds}},
    SettingKey{"keep_sandbox_s", "Seconds for which a session's sandbox is kept after a run",
               kOfAgent, NumberKey{&Settings::keep_sandbox_s, 0, 7 * kDaySeconds}},
    SettingKey{"memory_mib", "Memory of the sandbox in MiB", kOfSandbox,
               NumberKey{&Settings::memory_mib, 16, 4 << 20}},
    SettingKey{"max_processes", "Processes in the sandbox", kOfSandbox,
               NumberKey{&Settings::max_processes, 4, 4 << 20}},
    SettingKey{"cpu_percent", "Processor time in percent of one; 0 is no limit", kOfSandbox,
               NumberKey{&Settings::cpu_percent, 0, 100 * 4096}},
    SettingKey{"disk_mib", "What the workspace's files may take of the disk in MiB; 0 is no limit",
               kOfSandbox, NumberKey{&Settings::disk_mib, 0, 1 << 30}},
    SettingKey{"disk_limit", "How that is kept: soft or hard (docs/disk.md)", kOfSandbox,
               TextKey{&Settings::disk_limit, "soft hard"}},
    SettingKey{"memory_high_mib", "Memory in MiB above which the sandbox is slowed; 0 is no limit",
               kOfSandbox, NumberKey{&Settings::memory_high_mib, 0, 4 << 20}},
    SettingKey{"cpu_weight", "Share of the processors when they are short; 100 is usual",
               kOfSandbox, NumberKey{&Settings::cpu_weight, 1, 10'000}},
    SettingKey{"io_max", "MAJ:MIN rbps=N wbps=N riops=N wiops=N: use of a disk in a second",
               kOfSandbox, NamesKey{&Settings::io_max}},
    SettingKey{"project", "The directory that is /workspace; what is changed there stays apart",
               kOfSandbox, TextKey{&Settings::project}},
    SettingKey{"project_mode", "How the project is given: overlay, direct, read-only or copy",
               kOfSandbox, TextKey{&Settings::project_mode, "overlay direct read-only copy"}},
    SettingKey{"mounts", "SRC:/mnt/NAME[:rw]: shows a place of the host in the sandbox", kOfSandbox,
               MountsKey{&Settings::mounts}},
    SettingKey{"seccomp_profile",
               "System calls of the sandbox: tools, or harness for agent programs", kOfSandbox,
               TextKey{&Settings::seccomp_profile}},
    SettingKey{"allow_missing", "A layer of the sandbox that may be missing", kOfSandbox,
               NamesKey{&Settings::allow_missing}},
};

std::unexpected<Error> Wrong(std::string_view key, const std::string& must) {
  return Err(ErrorCode::kInvalidArgument, "'" + std::string(key) + "' must be " + must);
}

Result<std::vector<std::string>> Strings(std::string_view key, const json::Json& value) {
  const bool fits = value.is_array() && std::ranges::all_of(value, [](const json::Json& element) {
                      return element.is_string();
                    });
  if (!fits) return Wrong(key, "a list of strings");
  return value.get<std::vector<std::string>>();
}

Status SetText(Settings& settings, std::string_view name, const TextKey& key,
               const json::Json& value) {
  if (!value.is_string()) return Wrong(name, "a string");
  auto text = value.get<std::string>();
  const std::vector<std::string_view> words = SplitNonEmpty(key.words, ' ');
  if (!words.empty() && std::ranges::find(words, text) == words.end())
    return Wrong(name, "one of " + std::string(key.words));
  settings.*key.member = std::move(text);
  return {};
}

Status SetNumber(Settings& settings, std::string_view name, const NumberKey& key,
                 const json::Json& value) {
  const bool fits = value.is_number_integer() &&
                    !(value.is_number_unsigned() && value.get<std::uint64_t>() > INT64_MAX);
  if (!fits || value.get<std::int64_t>() < key.min || value.get<std::int64_t>() > key.max)
    return Wrong(name,
                 "an integer from " + std::to_string(key.min) + " to " + std::to_string(key.max));
  settings.*key.member = value.get<std::int64_t>();
  return {};
}

Status SetMounts(Settings& settings, std::string_view name, const MountsKey& key,
                 const json::Json& value) {
  ASSIGN_OR_RETURN(const std::vector<std::string> texts, Strings(name, value));
  std::vector<Mount> mounts;
  for (const std::string& text : texts) {
    ASSIGN_OR_RETURN(Mount mount, ParseMount(text));
    mounts.push_back(std::move(mount));
  }
  settings.*key.member = std::move(mounts);
  return {};
}

}  // namespace

std::span<const SettingKey> SettingTable() { return kTable; }

const SettingKey* FindSetting(std::string_view name) {
  const auto found = std::ranges::find(kTable, name, &SettingKey::name);
  return found == kTable.end() ? nullptr : &*found;
}

Status SetFromJson(Settings& settings, const SettingKey& key, const json::Json& value) {
  return std::visit(
      Overloaded{
          [&](const TextKey& text) { return SetText(settings, key.name, text, value); },
          [&](const NumberKey& number) { return SetNumber(settings, key.name, number, value); },
          [&](const NamesKey& names) -> Status {
            ASSIGN_OR_RETURN(settings.*names.member, Strings(key.name, value));
            return {};
          },
          [&](const MountsKey& mounts) { return SetMounts(settings, key.name, mounts, value); }},
      key.value);
}

json::Json ToJson(const Settings& settings) {
  json::Json object = json::Json::object();
  for (const SettingKey& key : kTable) {
    const std::string name(key.name);
    std::visit(Overloaded{[&](const TextKey& text) {
                            if (settings.*text.member) object[name] = *(settings.*text.member);
                          },
                          [&](const NumberKey& number) {
                            if (settings.*number.member) object[name] = *(settings.*number.member);
                          },
                          [&](const NamesKey& names) {
                            if (!(settings.*names.member).empty())
                              object[name] = settings.*names.member;
                          },
                          [&](const MountsKey& mounts) {
                            for (const Mount& mount : settings.*mounts.member)
                              object[name].push_back(MountText(mount));
                          }},
               key.value);
  }
  return object;
}

Result<Settings> SettingsFromJson(const json::Json& object) {
  if (!object.is_object()) return Err(ErrorCode::kMalformed, "settings must be an object");
  Settings settings;
  for (const auto& [name, value] : object.items()) {
    const SettingKey* key = FindSetting(name);
    if (key == nullptr) return Err(ErrorCode::kMalformed, "unknown setting '" + name + "'");
    if (const Status set = SetFromJson(settings, *key, value); !set)
      return Err(ErrorCode::kMalformed, set.error().message);
  }
  return settings;
}

}  // namespace platform

namespace {

std::vector<std::string> SplitAtCommas(const std::string& text) {
  std::vector<std::string> parts;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t comma = std::min(text.find(',', at), text.size());
    parts.push_back(text.substr(at, comma - at));
    at = comma + 1;
  }
  return parts;
}

/// Text from a command line as the JSON value that the key takes.
Result<json::Json> ValueFromText(const platform::SettingKey& key, const std::string& text) {
  if (std::holds_alternative<platform::TextKey>(key.value)) return json::Json(text);
  if (!std::holds_alternative<platform::NumberKey>(key.value))
    return json::Json(SplitAtCommas(text));
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size())
    return Err(ErrorCode::kInvalidArgument, "'" + std::string(key.name) + "' must be an integer");
  return json::Json(number);
}

void Unset(Settings& settings, const platform::SettingKey& key) {
  std::visit([&settings](const auto& typed) { settings.*typed.member = {}; }, key.value);
}

}  // namespace

Result<Mount> ParseMount(const std::string& text) {
  ASSIGN_OR_RETURN(sandbox::Mount mount, sandbox::ParseMount(text));
  return Mount{.source = std::move(mount.source),
               .destination = std::move(mount.target),
               .writable = mount.writable};
}

std::string MountText(const Mount& mount) {
  return mount.source + ":" + mount.destination + (mount.writable ? ":rw" : "");
}

Settings Overlay(Settings wide, const Settings& near) {
  const auto append = [](auto& to, const auto& from) {
    to.insert(to.end(), from.begin(), from.end());
  };
  for (const platform::SettingKey& key : platform::SettingTable())
    std::visit(platform::Overloaded{[&](const platform::NamesKey& names) {
                                      append(wide.*names.member, near.*names.member);
                                    },
                                    [&](const platform::MountsKey& mounts) {
                                      append(wide.*mounts.member, near.*mounts.member);
                                    },
                                    [&](const auto& single) {
                                      if (near.*single.member)
                                        wide.*single.member = near.*single.member;
                                    }},
               key.value);
  return wide;
}

Status SetSetting(Settings& settings, const std::string& key, const std::string& value) {
  const platform::SettingKey* found = platform::FindSetting(key);
  if (found == nullptr) {
    std::string names;
    for (const std::string& name : SettingKeys()) names += (names.empty() ? "" : ", ") + name;
    return Err(ErrorCode::kInvalidArgument, "there is no setting '" + key + "'", "one of " + names);
  }
  if (value.empty()) {
    Unset(settings, *found);
    return {};
  }
  ASSIGN_OR_RETURN(const json::Json parsed, ValueFromText(*found, value));
  return platform::SetFromJson(settings, *found, parsed);
}

std::vector<std::string> SettingKeys() {
  std::vector<std::string> names;
  for (const platform::SettingKey& key : platform::SettingTable()) names.emplace_back(key.name);
  return names;
}

}  // namespace cofferdam
