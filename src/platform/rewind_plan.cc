#include "platform/rewind_plan.h"

#include <algorithm>
#include <ranges>
#include <set>

#include "projects/view.h"

namespace cofferdam::platform {
namespace {

using projects::Checkpoint;

bool IsTurnOf(const Checkpoint& checkpoint, const std::string& session) {
  return checkpoint.label.session == session && checkpoint.label.reason == "turn" &&
         !checkpoint.abandoned;
}

/// Of a turn of a session, or of a rewind to or after one (rewind.cc: what its label says).
bool IsOfSession(const Checkpoint& checkpoint, const std::string& session) {
  return IsTurnOf(checkpoint, session) ||
         (checkpoint.label.session == session && checkpoint.label.reason == "rewind" &&
          !checkpoint.abandoned);
}

/// The state of a view just before one of its checkpoints.
FilesTarget Before(const AllCheckpoints& all, const Checkpoint& checkpoint) {
  FilesTarget target{checkpoint.view, 0};
  for (const Checkpoint& earlier : all)
    if (earlier.view == checkpoint.view && earlier.id < checkpoint.id)
      target.checkpoint = earlier.id;
  return target;
}

std::int64_t EpochOf(const AllCheckpoints& all, const std::string& view) {
  std::int64_t epoch = 0;
  for (const Checkpoint& checkpoint : all)
    if (checkpoint.view == view) epoch = std::max(epoch, checkpoint.epoch);
  return epoch;
}

std::int64_t FirstEpochOf(const AllCheckpoints& all, const std::string& view) {
  const auto first = std::ranges::find(all, view, &Checkpoint::view);
  return first == all.end() ? 0 : first->epoch;
}

/// The view in which a session's turns after `turn` changed files; else the last one.
Result<std::optional<std::string>> ViewFor(const AllCheckpoints& all, const std::string& session,
                                           std::int64_t turn) {
  std::set<std::string> views;
  for (const Checkpoint& checkpoint : all)
    if (IsTurnOf(checkpoint, session) && checkpoint.label.turn > turn)
      views.insert(checkpoint.view);
  if (views.size() > 1)
    return Err(
        ErrorCode::kUnsupported,
        "the turns after turn " + std::to_string(turn) + " changed files of " +
            std::to_string(views.size()) + " projects",
        "rewind the conversation alone, and the files of each project to a checkpoint of it");
  if (views.size() == 1) return *views.begin();
  return LastViewOf(all, session);
}

}  // namespace

Result<std::optional<FilesTarget>> FilesAfterTurn(const AllCheckpoints& all,
                                                  const std::string& session, std::int64_t turn) {
  ASSIGN_OR_RETURN(const auto view, ViewFor(all, session, turn));
  if (!view) return std::nullopt;
  const auto of_view = [&view](const Checkpoint& checkpoint) { return checkpoint.view == *view; };
  for (const Checkpoint& checkpoint : all | std::views::filter(of_view) | std::views::reverse)
    if (IsOfSession(checkpoint, session) && checkpoint.label.turn <= turn)
      return FilesTarget{*view, checkpoint.id};
  for (const Checkpoint& checkpoint : all | std::views::filter(of_view))
    if (IsTurnOf(checkpoint, session)) return Before(all, checkpoint);
  return std::nullopt;
}

std::optional<FilesTarget> FilesBeforeRun(const AllCheckpoints& all, const std::string& run) {
  const auto first = std::ranges::find_if(all, [&run](const Checkpoint& checkpoint) {
    return checkpoint.label.run == run && !checkpoint.abandoned &&
           (checkpoint.label.reason == "turn" || checkpoint.label.reason == "start");
  });
  if (first == all.end()) return std::nullopt;
  if (first->label.reason == "start") return FilesTarget{first->view, first->id};
  return Before(all, *first);
}

std::optional<FilesTarget> NewestFiles(const AllCheckpoints& all, const std::string& view) {
  for (const Checkpoint& checkpoint : all | std::views::reverse)
    if (checkpoint.view == view) return FilesTarget{view, checkpoint.id};
  return std::nullopt;
}

std::optional<std::string> LastViewOf(const AllCheckpoints& all, const std::string& session) {
  for (const Checkpoint& checkpoint : all | std::views::reverse)
    if (IsOfSession(checkpoint, session)) return checkpoint.view;
  return std::nullopt;
}

bool IsReachable(const AllCheckpoints& all, const Checkpoint& checkpoint) {
  return checkpoint.epoch == EpochOf(all, checkpoint.view) &&
         checkpoint.label.reason != projects::kForgotten;
}

Result<FilesTarget> CheckReachable(const AllCheckpoints& all, const FilesTarget& target) {
  const std::int64_t now = EpochOf(all, target.view);
  std::int64_t epoch = FirstEpochOf(all, target.view);
  bool is_last_of_epoch = target.checkpoint != 0;
  for (const Checkpoint& checkpoint : all) {
    if (checkpoint.view != target.view) continue;
    if (checkpoint.id == target.checkpoint && checkpoint.label.reason == projects::kForgotten)
      return Err(ErrorCode::kUnsupported,
                 "what the files were then is forgotten: the oldest checkpoints go when all take "
                 "more than the workspace's disk limit",
                 "go back to a later turn, or raise disk_mib for the future");
    if (checkpoint.id == target.checkpoint) epoch = checkpoint.epoch;
    if (checkpoint.id > target.checkpoint && checkpoint.epoch < now) is_last_of_epoch = false;
  }
  if (epoch == now) return target;
  if (is_last_of_epoch && epoch + 1 == now) return FilesTarget{target.view, 0};
  if (target.view == projects::kWorkView)
    return Err(ErrorCode::kUnsupported,
               "the workspace was forked since then: its files of that time are below both now",
               "--chat-only rewinds the conversation alone");
  return Err(
      ErrorCode::kUnsupported,
      "the project is another one since then: changes were applied to it, or its owner changed "
      "it while there were none",
      "take it back in the project itself; --chat-only rewinds the conversation alone");
}

std::vector<std::string> OthersSince(const AllCheckpoints& all, const FilesTarget& target,
                                     const std::string& session) {
  std::set<std::string> others;
  for (const Checkpoint& checkpoint : all)
    if (checkpoint.view == target.view && checkpoint.id > target.checkpoint &&
        checkpoint.label.reason == "turn" && checkpoint.label.session != session &&
        !checkpoint.abandoned && IsReachable(all, checkpoint))
      others.insert(checkpoint.label.session);
  return {others.begin(), others.end()};
}

}  // namespace cofferdam::platform
