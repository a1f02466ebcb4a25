#include <fcntl.h>

#include <algorithm>
#include <array>
#include <limits>
#include <set>

#include "base/check.h"
#include "crypto/hex.h"
#include "crypto/sha256.h"
#include "projects/apply.h"
#include "projects/apply_journal.h"
#include "projects/beneath.h"
#include "projects/merged_tree.h"
#include "projects/tree_walk.h"
#include "sys/file.h"

namespace cofferdam::projects {
namespace {

constexpr char kChangedToo[] = "you changed it, too";
constexpr char kChangedAndDeleted[] = "you changed it, and the agent deleted it";
constexpr char kDeleted[] = "you deleted it";
constexpr char kNewInBoth[] = "it is new in both";
constexpr char kNewInDeleted[] = "it is new, and the agent deleted the directory that it is in";
constexpr char kNotText[] = "you changed it, too, and it cannot be merged";
constexpr char kSameLines[] = "you and the agent changed the same lines";
constexpr char kModeToo[] = "you changed its permissions, too";
constexpr char kBeingChanged[] = "it changed while it was compared";

NodeKind KindOf(const struct stat& info) {
  switch (info.st_mode & S_IFMT) {
    case S_IFREG:
      return NodeKind::kFile;
    case S_IFDIR:
      return NodeKind::kDirectory;
    case S_IFLNK:
      return NodeKind::kSymlink;
    default:
      return NodeKind::kOther;
  }
}

bool IsInStage(const std::string& path) { return path.starts_with(kStagePrefix); }

Result<std::string> HashOf(int file) {
  std::array<char, std::size_t{64} * 1024> buffer;
  crypto::Sha256Stream hash;
  for (;;) {
    ASSIGN_OR_RETURN(const std::size_t size, sys::Read(file, buffer));
    if (size == 0) return crypto::HexEncode(hash.Finish());
    hash.Update({buffer.data(), size});
  }
}

/// What lies at a path of the project.
struct Present {
  Place place;
  struct stat info;
  Node node;
};

/// Why a change cannot be applied; null: it can.
using Reason = const char*;

class Planner {
 public:
  Planner(const LayerView& upper, int project, const BaseIndex& base, const std::string& view,
          Checkpoints& checkpoints, const Merge& merge)
      : upper_(upper),
        project_(project),
        base_(base.entries()),
        view_(view),
        checkpoints_(checkpoints),
        merge_(merge),
        agents_({upper, Project()}) {}

  Result<ApplyPlan> Run(const std::stop_token& stop) {
    // The limit is the store's; an apply copies files of any size.
    constexpr std::uint64_t kNoLimit = std::numeric_limits<std::uint64_t>::max();
    ASSIGN_OR_RETURN(ChangeList found, FindChanges(upper_, {Project()}, kNoLimit, stop));
    plan_.list.left_out = std::move(found.left_out);
    for (const LeftOut& one : plan_.list.left_out) left_out_.insert(one.path);
    for (Change& change : found.changes) {
      if (stop.stop_requested()) return Err(ErrorCode::kCancelled, "cancelled");
      RETURN_IF_ERROR(Take(std::move(change)));
    }
    std::ranges::sort(plan_.conflicts, {}, &Conflict::path);
    return std::move(plan_);
  }

 private:
  LayerView Project() const { return {.root = project_, .format = UpperFormat::kPlain}; }

  Status Take(Change change) {
    if (IsInStage(change.path)) {
      plan_.list.left_out.push_back({.path = change.path, .why = LeftOut::Why::kSpecial});
      return {};
    }
    // What the agent put a device in place of, say, looks like deleted.
    if (left_out_.contains(change.path)) return {};
    if (change.kind == ChangeKind::kRenamed && left_out_.contains(change.old_path))
      change = {.kind = ChangeKind::kAdded,
                .path = change.path,
                .after = change.after,
                .after_sha256 = change.after_sha256};
    ASSIGN_OR_RETURN(const Reason reason,
                     change.kind == ChangeKind::kRenamed ? Renamed(change) : Compare(change));
    if (reason != nullptr) {
      plan_.conflicts.push_back({change.path, reason});
    } else if (!is_done_) {
      plan_.list.changes.push_back(std::move(change));
    }
    is_done_ = false;
    return {};
  }

  /// What lies there now, if it is of that kind.
  Result<std::optional<Present>> Look(const std::string& path, NodeKind kind) {
    auto place = OpenPlace(project_, path);
    if (!place) return std::nullopt;
    struct stat info;
    if (::fstatat(place->parent.get(), place->name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0 ||
        KindOf(info) != kind)
      return std::nullopt;
    Node node{.kind = kind};
    if (kind != NodeKind::kOther) {
      auto read = ReadNode(place->parent.get(), place->name, info, UpperFormat::kPlain);
      if (!read && read.error().code == ErrorCode::kNotFound) return std::nullopt;
      if (!read) return std::unexpected(read.error());
      node = std::move(*read);
    }
    plan_.seen[path] = info;
    return Present{std::move(*place), info, std::move(node)};
  }

  Result<Reason> Renamed(Change& change) {
    const auto entry = base_.find(change.old_path);
    if (entry == base_.end()) return kNewInDeleted;
    if (base_.contains(change.path)) return kDeleted;
    CHECK(change.before.has_value());
    ASSIGN_OR_RETURN(const auto present, Look(change.old_path, change.before->kind));
    // The content was compared before that look, by FindChanges.
    if (!present || present->node != *change.before) return kBeingChanged;
    return MergeModes(change, entry->second.mode, present->node.mode);
  }

  Result<Reason> Compare(Change& change) {
    const auto entry = base_.find(change.path);
    const bool was_there = entry != base_.end();
    if (!change.before) return was_there ? kDeleted : nullptr;
    if (!was_there) return change.after ? kNewInBoth : kNewInDeleted;
    const std::int64_t now = RealTimeNanos();
    ASSIGN_OR_RETURN(const auto present, Look(change.path, change.before->kind));
    if (!present || (present->node.kind != NodeKind::kDirectory && present->node != *change.before))
      return kBeingChanged;
    const BaseEntry& base = entry->second;
    if (base.kind != present->node.kind) return kChangedToo;
    if (base.kind == NodeKind::kDirectory) {
      // That something new is in it shows at what is new.
      return base.mode == present->node.mode ? nullptr : kModeToo;
    }
    // A link has no permissions.
    const bool same_mode = base.kind != NodeKind::kFile || base.mode == present->node.mode;
    if (same_mode && StampsFit(base.stamp, StampOf(present->info, now))) return nullptr;
    return Touched(change, *present);
  }

  /// A file or link that may be another than it was when the agent began.
  Result<Reason> Touched(Change& change, const Present& present) {
    ASSIGN_OR_RETURN(const auto base, checkpoints_.FindBase(view_, change.path));
    if (!base || base->node.kind != present.node.kind) return kChangedToo;
    ASSIGN_OR_RETURN(const bool is_same, HasContent(present, *base));
    if (is_same) return MergeModes(change, base->node.mode, present.node.mode);
    if (!change.after) return kChangedAndDeleted;
    if (present.node.kind != NodeKind::kFile || change.after->kind != NodeKind::kFile)
      return kChangedToo;
    const Reason modes = MergeModes(change, base->node.mode, present.node.mode);
    return modes != nullptr ? modes : MergeContents(change, present, *base);
  }

  static Result<bool> HasContent(const Present& present, const Checkpoints::Base& base) {
    if (present.node.kind == NodeKind::kSymlink) return present.node.target == base.node.target;
    if (present.node.kind != NodeKind::kFile) return false;
    if (present.node.size != base.node.size) return false;
    const auto file = OpenFile(present.place.parent.get(), present.place.name, present.info);
    if (!file && file.error().code == ErrorCode::kNotFound) return false;
    if (!file) return std::unexpected(file.error());
    ASSIGN_OR_RETURN(const std::string hash, HashOf(file->get()));
    return hash == base.object;
  }

  static Reason MergeModes(Change& change, std::uint32_t base, std::uint32_t present) {
    if (change.before->kind != NodeKind::kFile || present == base) return nullptr;
    if (!change.after || change.after->kind != NodeKind::kFile) return kModeToo;
    std::uint32_t& agents = change.after->mode;
    if (present == agents) return nullptr;
    if (agents != base) return kModeToo;
    agents = present;
    return nullptr;
  }

  /// A text of a size that can be merged.
  static Result<std::optional<std::string>> ReadText(int file) {
    auto text = sys::ReadAll(file, kMaxMergeBytes);
    if (!text && text.error().code == ErrorCode::kTooLarge) return std::nullopt;
    if (!text) return std::unexpected(text.error());
    if (text->contains('\0')) return std::nullopt;
    return std::move(*text);
  }

  Result<Reason> MergeContents(const Change& change, const Present& present,
                               const Checkpoints::Base& base) {
    ASSIGN_OR_RETURN(const sys::UniqueFd base_file, checkpoints_.objects().Open(base.object));
    ASSIGN_OR_RETURN(const auto base_text, ReadText(base_file.get()));
    const auto file = OpenFile(present.place.parent.get(), present.place.name, present.info);
    if (!file) return kBeingChanged;
    ASSIGN_OR_RETURN(const auto text, ReadText(file->get()));
    ASSIGN_OR_RETURN(const auto found, agents_.Lookup(change.path));
    if (!found) return kBeingChanged;
    const auto agents_file = OpenFile(found->parent.get(), found->name, found->info);
    if (!agents_file) return kBeingChanged;
    ASSIGN_OR_RETURN(const auto agents_text, ReadText(agents_file->get()));
    if (!base_text || !text || !agents_text) return kNotText;
    ASSIGN_OR_RETURN(auto merged, merge_(*base_text, *text, *agents_text));
    if (!merged) return kSameLines;
    is_done_ = *merged == *text && change.after->mode == present.node.mode;
    if (!is_done_) plan_.merged.emplace_back(change.path, std::move(*merged));
    return nullptr;
  }

  const LayerView upper_;
  const int project_;
  const std::map<std::string, BaseEntry, std::less<>>& base_;
  const std::string& view_;
  Checkpoints& checkpoints_;
  const Merge& merge_;
  const MergedTree agents_;
  ApplyPlan plan_;
  std::set<std::string> left_out_;
  /// The project has already what the change would bring.
  bool is_done_ = false;
};

}  // namespace

Result<ApplyPlan> PlanApply(const LayerView& upper, int project, const BaseIndex& base,
                            const std::string& view, Checkpoints& checkpoints, const Merge& merge,
                            const std::stop_token& stop) {
  return Planner(upper, project, base, view, checkpoints, merge).Run(stop);
}

}  // namespace cofferdam::projects
