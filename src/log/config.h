// What is logged and where to.
#pragma once

#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "log/level.h"

namespace cofferdam::log {

/// How a console line looks; format.h has the details.
enum class ConsoleStyle { kCompact, kPretty, kJson };

struct Config {
  Levels console{.general = Level::kWarn};
  ConsoleStyle console_style = ConsoleStyle::kCompact;
  /// Borrowed for the life of the sink.
  int console_fd = STDERR_FILENO;

  Levels file{.general = Level::kInfo};
  /// The log file; empty for none. Its folder must exist.
  std::string file_path;
  /// When a file is full, and how many full ones are kept beside the current one.
  std::uint64_t max_file_bytes = std::uint64_t{64} * 1024 * 1024;
  std::size_t max_files = 5;
};

/// A variable of the environment, nullopt when it is not set; like getenv(3).
using EnvironmentLookup = std::function<std::optional<std::string>(std::string_view name)>;

/// `config` with what the environment says instead: COFFERDAM_LOG_LEVEL for the file and
/// COFFERDAM_CONSOLE_LOG_LEVEL for the console (as ParseLevels reads them), COFFERDAM_LOG_FILE for
/// the path. An empty variable counts as not set. ErrorCode::kConfig, naming the variable, for a
/// value that is not understood.
Result<Config> WithEnvironment(Config config, const EnvironmentLookup& lookup);

}  // namespace cofferdam::log
