// How important a message is, and which ones are wanted. Values; safe to share.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "base/error.h"

namespace cofferdam::log {

/// From the most to the least important. kSilent is only a threshold: nothing passes it.
enum class Level { kSilent, kFatal, kError, kWarn, kInfo, kDebug, kTrace };

/// "silent", "fatal", "error", "warn", "info", "debug" or "trace".
std::string_view LevelName(Level level);

/// The level with exactly that name; ErrorCode::kConfig for another text.
Result<Level> ParseLevel(std::string_view name);

/// Thresholds: a message passes when its level is at most that of its subsystem.
struct Levels {
  Level general = Level::kInfo;
  /// By name of a subsystem, which also stands for those below it: "memory" for "memory/search".
  std::map<std::string, Level, std::less<>> subsystems = {};

  /// The threshold of `subsystem`: its own, or that of the nearest one above, or the general one.
  Level For(std::string_view subsystem) const;
};

/// Reads "info,gateway=debug,memory/search=trace": the general level, which may be missing (then
/// `defaults.general`), and levels of subsystems, in any order. ErrorCode::kConfig, quoting the
/// part, for anything else.
Result<Levels> ParseLevels(std::string_view text, const Levels& defaults);

}  // namespace cofferdam::log
