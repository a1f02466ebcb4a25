// The configuration file: TOML, found and read once, at the start of a program.
//
//   state = "/srv/cofferdam"        # the state directory
//   provider = "anthropic"          # any key of <cofferdam/settings.h>, for every run
//   memory_mib = 1024
//
// Pure apart from reading the file; safe to use from any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <cofferdam/settings.h>

#include "base/error.h"

namespace cofferdam::platform {

/// A variable of the environment, or nothing. A parameter, so that a test needs no environment.
using Environment = std::function<std::optional<std::string>(const char* name)>;

/// The environment of this process. An empty variable counts as absent.
std::optional<std::string> ProcessEnvironment(const char* name);

struct Config {
  /// The file it came from; empty when there is none.
  std::string path = {};
  std::optional<std::string> state = {};
  /// PlatformOptions::max_platform_runs.
  std::optional<std::int64_t> max_platform_runs = {};
  Settings settings = {};
};

/// Reads the text of a file; `path` is for messages only. ErrorCode::kConfig for what is not TOML,
/// an unknown key or a wrong value, naming the key and its line.
Result<Config> ParseConfig(std::string_view text, const std::string& path);

/// The file `explicit_path`, else the one that COFFERDAM_CONFIG names, else
/// $XDG_CONFIG_HOME/cofferdam/config.toml (~/.config without that variable). The first two must be
/// readable (ErrorCode::kConfig); the default place may be empty, which gives an empty Config.
Result<Config> LoadConfig(const std::optional<std::string>& explicit_path,
                          const Environment& environment);

/// The keys that a file may have, for the documentation and its test.
std::vector<std::string> ConfigKeys();

}  // namespace cofferdam::platform
