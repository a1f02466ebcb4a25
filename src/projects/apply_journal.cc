#include "projects/apply_journal.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <span>
#include <utility>

#include "crypto/hex.h"
#include "json/fields.h"
#include "json/json.h"
#include "storage/atomic_file.h"
#include "sys/file.h"

namespace cofferdam::projects {
namespace {

using json::Json;

constexpr char kName[] = "apply.journal";
constexpr std::int64_t kFormat = 1;
constexpr std::size_t kMaxLineBytes = 2 * kMaxApplyPathBytes + 1024;
constexpr json::IntRange kNatural{.min = 0};
constexpr json::IntRange kModes{.min = 0, .max = 07777};

constexpr std::array<std::pair<StepKind, std::string_view>, 4> kSteps = {{
    {StepKind::kAdd, "add"},
    {StepKind::kReplace, "replace"},
    {StepKind::kRemove, "remove"},
    {StepKind::kMode, "mode"},
}};
constexpr std::array<std::pair<ApplyState, std::string_view>, 4> kStates = {{
    {ApplyState::kBegun, "begun"},
    {ApplyState::kReady, "ready"},
    {ApplyState::kApplied, "applied"},
    {ApplyState::kUndone, "undone"},
}};

template <typename Table>
auto ByName(const Table& table, const std::string& name)
    -> Result<typename Table::value_type::first_type> {
  for (const auto& [value, text] : table)
    if (text == name) return value;
  return Err(ErrorCode::kMalformed, "an unknown word");
}

// ---- Writing

std::string StepLine(const Step& step) {
  const std::span bytes(reinterpret_cast<const std::uint8_t*>(step.path.data()), step.path.size());
  Json line = {{"step", kSteps[static_cast<std::size_t>(step.kind)].second},
               {"path", crypto::HexEncode(bytes)}};
  if (step.kind != StepKind::kRemove) line["inode"] = step.inode;
  if (step.kind == StepKind::kAdd || step.kind == StepKind::kReplace)
    line["modified"] = step.modified_nanos;
  if (step.kind == StepKind::kMode) {
    line["old_mode"] = step.old_mode;
    line["new_mode"] = step.new_mode;
  }
  return json::Dump(line);
}

// ---- Reading

bool IsStageName(std::string_view name) {
  return name.starts_with(kStagePrefix) && name.size() > kStagePrefix.size() &&
         name.find_first_of(std::string_view("/\0", 2)) == std::string_view::npos;
}

/// A path that leads nowhere but down.
bool IsPath(std::string_view path) {
  if (path.empty() || path.size() > kMaxApplyPathBytes || path.contains('\0')) return false;
  for (std::size_t begin = 0; begin <= path.size();) {
    const std::size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view name = path.substr(begin, end - begin);
    if (name.empty() || name == "." || name == "..") return false;
    begin = end + 1;
  }
  return true;
}

Result<std::uint64_t> GetInode(const Json& line) {
  const auto inode = line.find("inode");
  if (inode == line.end() || !inode->is_number_unsigned())
    return Err(ErrorCode::kMalformed, "a step without an inode");
  return inode->get<std::uint64_t>();
}

Result<Step> ParseStep(const Json& line) {
  Step step;
  ASSIGN_OR_RETURN(const std::string kind, json::GetString(line, "step"));
  ASSIGN_OR_RETURN(step.kind, ByName(kSteps, kind));
  ASSIGN_OR_RETURN(const std::string digits, json::GetString(line, "path"));
  ASSIGN_OR_RETURN(const auto bytes, crypto::HexDecode(digits));
  step.path.assign(bytes.begin(), bytes.end());
  if (!IsPath(step.path)) return Err(ErrorCode::kMalformed, "a path that is none");
  if (step.kind != StepKind::kRemove) {
    ASSIGN_OR_RETURN(step.inode, GetInode(line));
  }
  if (step.kind == StepKind::kAdd || step.kind == StepKind::kReplace) {
    ASSIGN_OR_RETURN(step.modified_nanos, json::GetInt(line, "modified"));
  }
  if (step.kind == StepKind::kMode) {
    ASSIGN_OR_RETURN(const std::int64_t old_mode, json::GetInt(line, "old_mode", kModes));
    ASSIGN_OR_RETURN(const std::int64_t new_mode, json::GetInt(line, "new_mode", kModes));
    step.old_mode = static_cast<std::uint32_t>(old_mode);
    step.new_mode = static_cast<std::uint32_t>(new_mode);
  }
  return step;
}

Status ParseHeader(const Json& line, JournalContent& content) {
  ASSIGN_OR_RETURN(const std::int64_t format, json::GetInt(line, "format", kNatural));
  if (format != kFormat)
    return Err(ErrorCode::kUnsupported, "the journal of an apply by another version of cofferdam");
  ASSIGN_OR_RETURN(content.stage, json::GetString(line, "stage"));
  if (!IsStageName(content.stage)) return Err(ErrorCode::kMalformed, "no name of a stage");
  return {};
}

Status ParseLine(const storage::Line& text, JournalContent& content) {
  ASSIGN_OR_RETURN(const Json line, json::Parse(text.text, {.max_bytes = kMaxLineBytes}));
  if (text.number == 1) return ParseHeader(line, content);
  if (!line.is_object() || !line.contains("state")) {
    if (content.state != ApplyState::kBegun)
      return Err(ErrorCode::kMalformed, "a step behind the last one");
    ASSIGN_OR_RETURN(Step step, ParseStep(line));
    content.steps.push_back(std::move(step));
    return {};
  }
  ASSIGN_OR_RETURN(const std::string name, json::GetString(line, "state"));
  ASSIGN_OR_RETURN(const ApplyState state, ByName(kStates, name));
  const bool follows = content.state == ApplyState::kBegun
                           ? state == ApplyState::kReady
                           : content.state == ApplyState::kReady && state > ApplyState::kReady;
  if (!follows) return Err(ErrorCode::kMalformed, "a state that cannot follow");
  content.state = state;
  return {};
}

}  // namespace

Result<std::optional<JournalContent>> ReadJournal(storage::ByteSource source) {
  storage::LineReader reader(std::move(source), kMaxLineBytes);
  std::optional<JournalContent> content;
  for (;;) {
    const auto line = reader.Next();
    if (!line && line.error().code == ErrorCode::kTooLarge)
      return Err(ErrorCode::kCorrupt, line.error().message);
    if (!line) return std::unexpected(line.error());
    if (!*line || !(*line)->complete) break;
    if (!content) content.emplace();
    const Status parsed = ParseLine(**line, *content);
    if (parsed) continue;
    if (parsed.error().code == ErrorCode::kUnsupported) return std::unexpected(parsed.error());
    return Err(ErrorCode::kCorrupt, "the journal of an apply, line " +
                                        std::to_string((*line)->number) + ": " +
                                        parsed.error().message);
  }
  if (content && content->state == ApplyState::kBegun) content->steps.clear();
  return content;
}

Result<bool> HasJournal(int directory) {
  struct stat info;
  if (::fstatat(directory, kName, &info, AT_SYMLINK_NOFOLLOW) == 0) return true;
  if (errno == ENOENT) return false;
  return ErrnoError(errno, "looking for the journal of an apply");
}

Result<std::optional<JournalContent>> ReadJournalIn(int directory) {
  ASSIGN_OR_RETURN(const bool is_there, HasJournal(directory));
  if (!is_there) return std::nullopt;
  ASSIGN_OR_RETURN(const sys::UniqueFd file, sys::OpenAt(directory, kName, O_RDONLY | O_NOFOLLOW));
  return ReadJournal(storage::FileSource(file.get()));
}

Result<ApplyJournal> ApplyJournal::Begin(int directory, const std::string& stage) {
  ASSIGN_OR_RETURN(const bool is_there, HasJournal(directory));
  if (is_there) return Err(ErrorCode::kBusy, "an earlier apply has not been finished");
  ASSIGN_OR_RETURN(ApplyJournal journal, Continue(directory));
  RETURN_IF_ERROR(
      journal.log_.AppendLines({json::Dump(Json{{"format", kFormat}, {"stage", stage}})}));
  return journal;
}

Result<ApplyJournal> ApplyJournal::Continue(int directory) {
  ASSIGN_OR_RETURN(storage::AppendLog log, storage::AppendLog::Open(directory, kName));
  return ApplyJournal(std::move(log));
}

Status ApplyJournal::Remove(int directory) {
  if (::unlinkat(directory, kName, 0) != 0 && errno != ENOENT)
    return ErrnoError(errno, "removing the journal of an apply");
  return storage::SyncDirectory(directory);
}

Status ApplyJournal::WriteSteps(const std::vector<Step>& steps) {
  std::vector<std::string> lines;
  lines.reserve(steps.size());
  for (const Step& step : steps) lines.push_back(StepLine(step));
  return log_.AppendLines(lines);
}

Status ApplyJournal::WriteState(ApplyState state) {
  const auto name = kStates[static_cast<std::size_t>(state)].second;
  return log_.AppendLines({json::Dump(Json{{"state", name}})});
}

}  // namespace cofferdam::projects
