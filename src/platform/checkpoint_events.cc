#include "platform/checkpoint_events.h"

#include <optional>
#include <ranges>
#include <string>

#include "crypto/hex.h"
#include "crypto/sha256.h"
#include "projects/tree_walk.h"

namespace cofferdam::platform {
namespace {

using projects::NodeKind;

/// A line of the record has its limit, and a path can be long.
constexpr std::size_t kMaxLeftOutBytes = std::size_t{256} << 10;

/// One side of a change, as an agent sees it.
struct Side {
  std::optional<projects::Node> node = {};
  projects::ObjectId object = {};
};

Side Before(const projects::UpperChange& change, const OpenView::Outcome& outcome) {
  Side side{change.node_before, change.object_before};
  if (!side.node)
    if (const auto below = outcome.below.find(change.path); below != outcome.below.end())
      side = {below->second.node, below->second.object};
  if (side.node && side.node->kind == NodeKind::kWhiteout) return {};
  return side;
}

Side After(const projects::UpperChange& change) {
  if (!change.node || change.node->kind == NodeKind::kWhiteout) return {};
  return {change.node, change.object};
}

std::optional<record::FileState> StateOf(const Side& side) {
  if (!side.node) return std::nullopt;
  if (side.node->kind == NodeKind::kSymlink)
    return record::FileState{crypto::HexEncode(crypto::Sha256(side.node->target)),
                             static_cast<std::int64_t>(side.node->target.size())};
  if (side.node->kind != NodeKind::kFile || side.object.empty()) return std::nullopt;
  return record::FileState{side.object, static_cast<std::int64_t>(side.node->size)};
}

bool Is(const Side& side, NodeKind kind) { return side.node && side.node->kind == kind; }

bool IsUnkept(const Side& side) { return Is(side, NodeKind::kFile) && side.object.empty(); }

bool IsSame(const Side& before, const Side& after) {
  return before.node && after.node && before.node->kind == after.node->kind &&
         before.node->mode == after.node->mode && before.object == after.object &&
         before.node->target == after.node->target;
}

std::optional<record::NewEvent> EventOf(const projects::UpperChange& change,
                                        const OpenView::Outcome& outcome) {
  const Side before = Before(change, outcome);
  const Side after = After(change);
  if (IsUnkept(after) || IsSame(before, after)) return std::nullopt;
  const auto state_before = StateOf(before);
  const auto state_after = StateOf(after);
  if (state_before || state_after) {
    const bool is_link = Is(state_after ? after : before, NodeKind::kSymlink);
    return record::FileChanged(change.path, state_before, state_after, is_link ? "symlink" : "");
  }
  // Nothing else says that what was in it has gone.
  const bool hides = change.node && change.node->kind == NodeKind::kWhiteout;
  if (hides && Is(before, NodeKind::kDirectory))
    return record::FileChanged(change.path, std::nullopt, std::nullopt, "directory");
  return std::nullopt;
}

}  // namespace

std::vector<record::NewEvent> CheckpointEvents(const OpenView::Outcome& outcome) {
  std::vector<record::NewEvent> events;
  if (!outcome.taken.checkpoint) return events;
  const projects::Checkpoint& checkpoint = *outcome.taken.checkpoint;
  record::Checkpoint told{
      .id = checkpoint.id,
      .view = checkpoint.view,
      .reason = checkpoint.label.reason,
      .turn = checkpoint.label.turn,
      .changed = checkpoint.changed,
      .left_out_count = static_cast<std::int64_t>(outcome.taken.left_out.size()),
      .frozen = checkpoint.label.frozen};
  for (const projects::UpperChange& change : outcome.taken.changes) {
    auto event = EventOf(change, outcome);
    if (!event) continue;
    if (events.size() < kMaxToldFiles)
      events.push_back(std::move(*event));
    else
      ++told.not_listed;
  }
  std::size_t bytes = 0;
  for (const projects::LeftOut& one : outcome.taken.left_out) {
    bytes += one.path.size();
    if (told.left_out.size() == record::kMaxLeftOut || bytes > kMaxLeftOutBytes) break;
    told.left_out.push_back({one.path, std::string(projects::LeftOutName(one.why)), one.size});
  }
  events.push_back(record::CheckpointTaken(told));
  return events;
}

CheckpointEvent PublicCheckpoint(const OpenView::Outcome& outcome) {
  CheckpointEvent event{.checkpoint = outcome.taken.checkpoint->id,
                        .turn = outcome.taken.checkpoint->label.turn,
                        .changed = outcome.taken.checkpoint->changed};
  for (const projects::LeftOut& one : std::views::take(outcome.taken.left_out, record::kMaxLeftOut))
    event.left_out.push_back(projects::PathForPerson(one.path));
  return event;
}

}  // namespace cofferdam::platform
