#include "log/level.h"

#include <array>

#include "base/check.h"

namespace cofferdam::log {
namespace {

constexpr std::array kLevels = {Level::kSilent, Level::kFatal, Level::kError, Level::kWarn,
                                Level::kInfo,   Level::kDebug, Level::kTrace};

}  // namespace

std::string_view LevelName(Level level) {
  switch (level) {
    case Level::kSilent:
      return "silent";
    case Level::kFatal:
      return "fatal";
    case Level::kError:
      return "error";
    case Level::kWarn:
      return "warn";
    case Level::kInfo:
      return "info";
    case Level::kDebug:
      return "debug";
    case Level::kTrace:
      return "trace";
  }
  CHECK(false && "a level without a name");
}

Result<Level> ParseLevel(std::string_view name) {
  for (const Level level : kLevels)
    if (name == LevelName(level)) return level;
  return Err(ErrorCode::kConfig, "no log level is called '" + std::string(name.substr(0, 64)) + "'",
             "one of silent, fatal, error, warn, info, debug, trace");
}

Level Levels::For(std::string_view subsystem) const {
  for (;;) {
    if (const auto found = subsystems.find(subsystem); found != subsystems.end())
      return found->second;
    const std::size_t slash = subsystem.rfind('/');
    if (slash == std::string_view::npos) return general;
    subsystem = subsystem.substr(0, slash);
  }
}

Result<Levels> ParseLevels(std::string_view text, const Levels& defaults) {
  Levels levels = defaults;
  while (!text.empty()) {
    const std::size_t comma = text.find(',');
    const std::string_view part = text.substr(0, comma);
    text.remove_prefix(comma == std::string_view::npos ? text.size() : comma + 1);
    const std::size_t equals = part.find('=');
    if (equals == std::string_view::npos) {
      ASSIGN_OR_RETURN(levels.general, ParseLevel(part));
    } else {
      ASSIGN_OR_RETURN(const Level level, ParseLevel(part.substr(equals + 1)));
      levels.subsystems.insert_or_assign(std::string(part.substr(0, equals)), level);
    }
  }
  return levels;
}

}  // namespace cofferdam::log
