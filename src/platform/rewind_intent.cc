#include "platform/rewind_intent.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "json/fields.h"
#include "json/json.h"
#include "storage/atomic_file.h"
#include "sys/file.h"

namespace cofferdam::platform {
namespace {

using json::Json;

constexpr const char* kFile = "rewind.json";
constexpr std::int64_t kFormat = 1;
constexpr std::size_t kMaxBytes = 64 << 10;

Json ToJson(const RewindIntent::Files& files) {
  return {{"view", files.choice.view},
          {"project", files.choice.project},
          {"mode", projects::ProjectModeName(files.choice.mode)},
          {"checkpoint", files.checkpoint},
          {"turn", files.turn}};
}

Result<RewindIntent::Files> FilesOf(const Json& value) {
  RewindIntent::Files files;
  ASSIGN_OR_RETURN(files.choice.view, json::GetString(value, "view"));
  ASSIGN_OR_RETURN(files.choice.project, json::GetString(value, "project"));
  ASSIGN_OR_RETURN(const std::string mode, json::GetString(value, "mode"));
  ASSIGN_OR_RETURN(files.choice.mode, projects::ProjectModeFromName(mode));
  ASSIGN_OR_RETURN(files.checkpoint, json::GetInt(value, "checkpoint", {.min = 0}));
  ASSIGN_OR_RETURN(files.turn, json::GetInt(value, "turn", {.min = 0}));
  return files;
}

Result<RewindIntent> IntentOf(const Json& value) {
  RewindIntent intent;
  ASSIGN_OR_RETURN(const std::int64_t format, json::GetInt(value, "format"));
  if (format != kFormat)
    return Err(ErrorCode::kMalformed, "format " + std::to_string(format) + " is not known");
  ASSIGN_OR_RETURN(intent.id, json::GetString(value, "id"));
  ASSIGN_OR_RETURN(intent.session, json::GetString(value, "session"));
  ASSIGN_OR_RETURN(intent.turn, json::GetOptionalInt(value, "turn", {.min = 0}));
  ASSIGN_OR_RETURN(intent.note, json::GetString(value, "note"));
  if (!value.contains("files")) return intent;
  ASSIGN_OR_RETURN(const Json* files, json::GetObject(value, "files"));
  ASSIGN_OR_RETURN(intent.files, FilesOf(*files));
  return intent;
}

}  // namespace

std::string EncodeIntent(const RewindIntent& intent) {
  Json value = {
      {"format", kFormat}, {"id", intent.id}, {"session", intent.session}, {"note", intent.note}};
  if (intent.turn) value["turn"] = *intent.turn;
  if (intent.files) value["files"] = ToJson(*intent.files);
  return json::Dump(value) + "\n";
}

Result<RewindIntent> DecodeIntent(std::string_view bytes) {
  const auto value = json::Parse(bytes, {.max_bytes = kMaxBytes});
  auto intent = value ? IntentOf(*value) : std::unexpected(value.error());
  if (!intent)
    return Err(ErrorCode::kCorrupt, std::string(kFile) + " is damaged: " + intent.error().message);
  return intent;
}

Status WriteIntent(int workspace, const RewindIntent& intent) {
  return storage::WriteFileAtomically(workspace, kFile, EncodeIntent(intent), 0600);
}

Result<std::optional<RewindIntent>> ReadIntent(int workspace) {
  const auto bytes = sys::ReadFileAt(workspace, kFile, kMaxBytes);
  if (!bytes && bytes.error().code == ErrorCode::kNotFound) return std::nullopt;
  if (!bytes) return std::unexpected(bytes.error());
  return DecodeIntent(*bytes);
}

Status RemoveIntent(int workspace) {
  if (::unlinkat(workspace, kFile, 0) != 0 && errno != ENOENT)
    return ErrnoError(errno, std::string("removing ") + kFile);
  return storage::SyncDirectory(workspace);
}

}  // namespace cofferdam::platform
