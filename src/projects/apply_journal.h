// What an apply is about to do to a project, on disk before it does it, and how far it came. Bytes:
// docs/formats/apply-journal.md.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "storage/append_log.h"
#include "storage/line_reader.h"

namespace cofferdam::projects {

/// What an apply's directory in the project is called, before its id.
inline constexpr std::string_view kStagePrefix = ".cofferdam-apply-";
/// No path that is applied is longer.
inline constexpr std::size_t kMaxApplyPathBytes = std::size_t{64} << 10;

enum class StepKind : std::uint8_t {
  kAdd,      // from the stage to the path, where nothing is
  kReplace,  // exchanged with what lies at the path
  kRemove,   // from the path into the stage
  kMode,     // the permissions of what lies at the path
};

/// One step. Its name in the stage is its number, counted from 0.
struct Step {
  StepKind kind = StepKind::kAdd;
  std::string path;
  /// What comes to the path (kAdd, kReplace), or what lies there (kMode).
  std::uint64_t inode = 0;
  /// Of a file or link that comes to the path: when it was last written.
  std::int64_t modified_nanos = 0;
  /// Of kMode, with setgid and sticky bits.
  std::uint32_t old_mode = 0;
  std::uint32_t new_mode = 0;

  bool operator==(const Step&) const = default;
};

enum class ApplyState : std::uint8_t {
  kBegun,    // the stage is being filled; the project is as it was
  kReady,    // any of the steps may have been done
  kApplied,  // all of them
  kUndone,   // none of them any more
};

struct JournalContent {
  std::string stage;
  /// Empty in state kBegun.
  std::vector<Step> steps = {};
  ApplyState state = ApplyState::kBegun;

  bool operator==(const JournalContent&) const = default;
};

/// kCorrupt, saying in which line. Nothing for a journal without a whole first line. A last line
/// that is cut off was never written.
Result<std::optional<JournalContent>> ReadJournal(storage::ByteSource source);
/// The one in that directory, if there is one.
Result<std::optional<JournalContent>> ReadJournalIn(int directory);
/// Whether there is one, be it without a whole first line.
Result<bool> HasJournal(int directory);

/// Writes one. Each call is on disk when it returns.
class ApplyJournal {
 public:
  /// kBusy when there is one already.
  static Result<ApplyJournal> Begin(int directory, const std::string& stage);
  /// To go on with the one that is there.
  static Result<ApplyJournal> Continue(int directory);
  static Status Remove(int directory);

  Status WriteSteps(const std::vector<Step>& steps);
  Status WriteState(ApplyState state);

 private:
  explicit ApplyJournal(storage::AppendLog log) : log_(std::move(log)) {}
  storage::AppendLog log_;
};

}  // namespace cofferdam::projects
