#include "projects/view.h"

#include <array>
#include <utility>

#include "crypto/hex.h"
#include "crypto/sha256.h"

namespace cofferdam::projects {
namespace {

constexpr std::array<std::pair<ProjectMode, std::string_view>, 4> kModes = {{
    {ProjectMode::kOverlay, "overlay"},
    {ProjectMode::kDirect, "direct"},
    {ProjectMode::kReadOnly, "read-only"},
    {ProjectMode::kCopy, "copy"},
}};

constexpr std::size_t kKeyDigits = 16;

}  // namespace

std::string_view ProjectModeName(ProjectMode mode) {
  return kModes[static_cast<std::size_t>(mode)].second;
}

Result<ProjectMode> ProjectModeFromName(std::string_view name) {
  for (const auto& [mode, text] : kModes)
    if (text == name) return mode;
  return Err(ErrorCode::kInvalidArgument, "there is no project mode '" + std::string(name) + "'",
             "overlay, direct, read-only or copy");
}

std::string ProjectKey(const std::string& path) {
  return crypto::HexEncode(crypto::Sha256(path)).substr(0, kKeyDigits);
}

ViewPaths PathsOf(const std::string& view) {
  if (view == kWorkView) return {"files", "work", "work.overlay"};
  return {"files/projects/" + view, "upper", "work"};
}

}  // namespace cofferdam::projects
