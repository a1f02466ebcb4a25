#include "log/config.h"

#include <utility>

namespace cofferdam::log {
namespace {

Status ReadLevels(const EnvironmentLookup& lookup, std::string_view name, Levels& levels) {
  const std::optional<std::string> text = lookup(name);
  if (!text || text->empty()) return {};
  auto parsed = ParseLevels(*text, levels);
  if (!parsed) return std::unexpected(parsed.error().With(name));
  levels = std::move(*parsed);
  return {};
}

}  // namespace

Result<Config> WithEnvironment(Config config, const EnvironmentLookup& lookup) {
  RETURN_IF_ERROR(ReadLevels(lookup, "COFFERDAM_LOG_LEVEL", config.file));
  RETURN_IF_ERROR(ReadLevels(lookup, "COFFERDAM_CONSOLE_LOG_LEVEL", config.console));
  if (auto path = lookup("COFFERDAM_LOG_FILE"); path && !path->empty())
    config.file_path = std::move(*path);
  return config;
}

}  // namespace cofferdam::log
