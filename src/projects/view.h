// The places that can be /workspace: the workspace's own files ("work"), or a project. Each has an
// upper that only this workspace writes, above layers that nobody writes: immutable ones of the
// state directory, or the project's own directory.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "projects/node.h"
#include "storage/sqlite.h"

namespace cofferdam::projects {

inline constexpr char kWorkView[] = "work";

/// How a project is given to an agent.
enum class ProjectMode : std::uint8_t {
  kOverlay,   // changes stay in the upper until they are applied
  kDirect,    // the agent writes the project itself
  kReadOnly,  // nobody writes
  kCopy,      // as kOverlay, above a copy of the project that is made when it begins
};

/// "overlay", "direct", "read-only", "copy"; nothing for another word.
std::string_view ProjectModeName(ProjectMode mode);
Result<ProjectMode> ProjectModeFromName(std::string_view name);

/// The key of the project at `path` (absolute, no symlinks): 16 hex digits of its SHA-256.
std::string ProjectKey(const std::string& path);

/// Where a view's parts lie, below the workspace's folder. The upper and the work directory are in
/// one directory, which is mounted whole.
struct ViewPaths {
  std::string parent;  // "files" or "files/projects/<key>"
  std::string upper;   // a name in it: "work" or "upper"
  std::string work;    // a name in it: "work.overlay" or "work"
};
ViewPaths PathsOf(const std::string& view);

/// What the host remembers of a view whose upper lies above layers: a row of the table `views` in
/// the workspace's checkpoint database (checkpoints.h; docs/formats/checkpoints.md). "work" without
/// layers, and projects that are only mounted (direct, read-only), have none.
///
///   CREATE TABLE views (
///     view TEXT PRIMARY KEY, source TEXT NOT NULL, mode TEXT NOT NULL, layers TEXT NOT NULL,
///     format INTEGER NOT NULL, created INTEGER NOT NULL, used INTEGER NOT NULL) STRICT
struct ViewRecord {
  std::string view;
  /// The project's directory; empty for "work".
  std::string source = {};
  /// Of a project: kOverlay or kCopy. "work" has kOverlay.
  ProjectMode mode = ProjectMode::kOverlay;
  /// Ids of layers (layers.h), the uppermost first. On disk a JSON array.
  std::vector<std::string> layers = {};
  /// Of the upper; never kPlain.
  UpperFormat format = UpperFormat::kTrusted;
  std::int64_t created_millis = 0;
  std::int64_t used_millis = 0;

  bool operator==(const ViewRecord&) const = default;
};

/// Nothing when there is none; kCorrupt when it is not one.
Result<std::optional<ViewRecord>> ReadView(storage::Database& database, const std::string& view);
/// All, by their names.
Result<std::vector<ViewRecord>> ListViews(storage::Database& database);
/// Adds or replaces it.
Status WriteView(storage::Database& database, const ViewRecord& record);

}  // namespace cofferdam::projects
