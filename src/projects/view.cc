#include "projects/view.h"

#include <array>
#include <utility>

#include "crypto/hex.h"
#include "crypto/sha256.h"
#include "json/json.h"

namespace cofferdam::projects {
namespace {

constexpr std::array<std::pair<ProjectMode, std::string_view>, 4> kModes = {{
    {ProjectMode::kOverlay, "overlay"},
    {ProjectMode::kDirect, "direct"},
    {ProjectMode::kReadOnly, "read-only"},
    {ProjectMode::kCopy, "copy"},
}};

constexpr std::size_t kKeyDigits = 16;

std::unexpected<Error> Damaged(const std::string& view) {
  return Err(ErrorCode::kCorrupt, "what is remembered of the view '" + view + "' is damaged",
             "it was left as it is; restore checkpoints.db from a backup");
}

Result<std::vector<std::string>> LayersOf(const std::string& view, const std::string& text) {
  const auto list = json::Parse(text);
  if (!list || !list->is_array()) return Damaged(view);
  std::vector<std::string> layers;
  for (const json::Json& layer : *list) {
    if (!layer.is_string()) return Damaged(view);
    layers.push_back(layer.get<std::string>());
  }
  return layers;
}

// A row, before anything in it is believed.
struct Columns {
  std::string view;
  std::string source;
  std::string mode;
  std::string layers;
  std::int64_t format;
  std::int64_t created;
  std::int64_t used;
};

Columns ColumnsOf(const storage::Row& row) {
  return {row.Text(0),    row.Text(1),    row.Text(2),   row.Text(3),
          row.Integer(4), row.Integer(5), row.Integer(6)};
}

Result<ViewRecord> RecordOf(const Columns& columns) {
  const auto mode = ProjectModeFromName(columns.mode);
  const auto format = static_cast<UpperFormat>(columns.format);
  const bool known = format == UpperFormat::kTrusted || format == UpperFormat::kUser;
  if (!mode || !known) return Damaged(columns.view);
  ASSIGN_OR_RETURN(std::vector<std::string> layers, LayersOf(columns.view, columns.layers));
  return ViewRecord{.view = columns.view,
                    .source = columns.source,
                    .mode = *mode,
                    .layers = std::move(layers),
                    .format = format,
                    .created_millis = columns.created,
                    .used_millis = columns.used};
}

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

Result<std::optional<ViewRecord>> ReadView(storage::Database& database, const std::string& view) {
  std::optional<Columns> found;
  RETURN_IF_ERROR(database.Run(
      "SELECT view, source, mode, layers, format, created, used FROM views WHERE view = ?1", {view},
      [&found](const storage::Row& row) { found = ColumnsOf(row); }));
  if (!found) return std::nullopt;
  return RecordOf(*found);
}

Result<std::vector<ViewRecord>> ListViews(storage::Database& database) {
  std::vector<Columns> rows;
  RETURN_IF_ERROR(database.Run(
      "SELECT view, source, mode, layers, format, created, used FROM views ORDER BY view", {},
      [&rows](const storage::Row& row) { rows.push_back(ColumnsOf(row)); }));
  std::vector<ViewRecord> records;
  for (const Columns& columns : rows) {
    ASSIGN_OR_RETURN(ViewRecord record, RecordOf(columns));
    records.push_back(std::move(record));
  }
  return records;
}

Status WriteView(storage::Database& database, const ViewRecord& record) {
  return database.Run(
      "INSERT OR REPLACE INTO views (view, source, mode, layers, format, created, used) "
      "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
      {record.view, record.source, ProjectModeName(record.mode),
       json::Dump(json::Json(record.layers)), static_cast<std::int64_t>(record.format),
       record.created_millis, record.used_millis});
}

}  // namespace cofferdam::projects
