#include "projects/changes.h"

#include <algorithm>
#include <map>
#include <ranges>
#include <set>
#include <span>
#include <utility>

#include "crypto/hex.h"
#include "crypto/sha256.h"
#include "sys/file.h"

namespace cofferdam::projects {
namespace {

constexpr std::size_t kReadBytes = 256 << 10;
// So many descriptors do the directories hold whose turn comes later; the others are looked up
// again.
constexpr std::size_t kMaxWaitingParts = 256;

using Side = std::optional<Found>;
using DirectorySide = std::optional<MergedDirectory>;

bool IsDirectory(const Side& side) { return side && side->node.kind == NodeKind::kDirectory; }
bool IsSpecial(const Side& side) { return side && side->node.kind == NodeKind::kOther; }

bool IsSameFile(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

bool AreAlikeSpecials(const Found& a, const Found& b) {
  return (a.info.st_mode & S_IFMT) == (b.info.st_mode & S_IFMT) && a.info.st_rdev == b.info.st_rdev;
}

// What a mark says to an overlay is nothing that an agent has changed.
Node WithoutMarks(Node node) {
  node.opaque = false;
  node.redirect.clear();
  return node;
}

class Comparison {
 public:
  Comparison(const LayerView& upper, const std::vector<LayerView>& lowers,
             std::uint64_t max_file_bytes, const std::stop_token& stop)
      : before_(lowers),
        after_(Above(upper, lowers)),
        max_file_bytes_(max_file_bytes),
        stop_(stop) {}

  Result<ChangeList> Run() {
    ASSIGN_OR_RETURN(MergedDirectory before, before_.Root());
    ASSIGN_OR_RETURN(MergedDirectory after, after_.Root());
    RETURN_IF_ERROR(Compare("", std::move(before), std::move(after)));
    while (!waiting_.empty()) {
      Waiting next = std::move(waiting_.back());
      waiting_.pop_back();
      waiting_parts_ -= PartsOf(next);
      if (!next.is_open) RETURN_IF_ERROR(Open(next));
      RETURN_IF_ERROR(Compare(next.path, std::move(next.before), std::move(next.after)));
    }
    return std::move(list_);
  }

 private:
  // A directory of one side or both, whose contents are still to be compared.
  struct Waiting {
    std::string path;
    DirectorySide before;
    DirectorySide after;
    bool is_open = true;
  };

  static std::vector<LayerView> Above(const LayerView& upper,
                                      const std::vector<LayerView>& lowers) {
    std::vector<LayerView> all{upper};
    all.insert(all.end(), lowers.begin(), lowers.end());
    return all;
  }
  static std::size_t PartsOf(const Waiting& waiting) {
    return (waiting.before ? waiting.before->parts.size() : 0) +
           (waiting.after ? waiting.after->parts.size() : 0);
  }

  // The parts of the layers that both sides have.
  static std::span<const DirectoryPart> LowerParts(const MergedDirectory& after) {
    const std::span<const DirectoryPart> parts(after.parts);
    return !parts.empty() && parts[0].layer == 0 ? parts.subspan(1) : parts;
  }
  static bool HaveSameLowers(const DirectorySide& before, const DirectorySide& after) {
    return before && after &&
           std::ranges::equal(before->parts, LowerParts(*after),
                              [](const DirectoryPart& a, const DirectoryPart& b) {
                                return a.layer + 1 == b.layer && a.device == b.device &&
                                       a.inode == b.inode;
                              });
  }

  // Names that can differ: above the very same directories only those that the upper has.
  static Result<std::vector<std::string>> NamesToCompare(const DirectorySide& before,
                                                         const DirectorySide& after) {
    if (HaveSameLowers(before, after)) {
      if (after->parts.empty() || after->parts[0].layer != 0) return std::vector<std::string>();
      return SortedNames(after->parts[0].directory.get());
    }
    std::vector<std::string> names;
    for (const DirectorySide* side : {&before, &after}) {
      if (!*side) continue;
      ASSIGN_OR_RETURN(const std::vector<std::string> more, MergedTree::Names(**side));
      names.insert(names.end(), more.begin(), more.end());
    }
    std::ranges::sort(names);
    names.erase(std::ranges::unique(names).begin(), names.end());
    return names;
  }

  Status Compare(const std::string& directory, DirectorySide before, DirectorySide after) {
    ASSIGN_OR_RETURN(const std::vector<std::string> names, NamesToCompare(before, after));
    for (const std::string& name : names) {
      if (stop_.stop_requested()) return Err(ErrorCode::kCancelled, "the comparison was cancelled");
      const std::string path = directory.empty() ? name : directory + "/" + name;
      if (path.size() > kMaxChangePathBytes) {
        LeaveOut(path, LeftOut::Why::kPathTooLong);
        continue;
      }
      Side from;
      Side to;
      RETURN_IF_ERROR(Look(before_, before, path, name, from));
      RETURN_IF_ERROR(Look(after_, after, path, name, to));
      if (unreadable_.contains(path)) continue;
      RETURN_IF_ERROR(CompareOne(path, from, to));
      Wait(path, from, to);
    }
    return {};
  }

  Status Look(const MergedTree& tree, const DirectorySide& directory, const std::string& path,
              const std::string& name, Side& side) {
    if (!directory) return {};
    auto found = tree.LookupIn(*directory, name);
    if (!found && found.error().code == ErrorCode::kPermissionDenied) {
      if (unreadable_.insert(path).second) LeaveOut(path, LeftOut::Why::kUnreadable);
      return {};
    }
    if (!found) return std::unexpected(found.error().With("'" + PathForPerson(path) + "'"));
    side = std::move(*found);
    return {};
  }

  void Wait(const std::string& path, Side& from, Side& to) {
    if (!IsDirectory(from) && !IsDirectory(to)) return;
    Waiting waiting{.path = path, .before = {}, .after = {}};
    if (IsDirectory(from)) waiting.before = std::move(from->directory);
    if (IsDirectory(to)) waiting.after = std::move(to->directory);
    if (waiting_parts_ + PartsOf(waiting) > kMaxWaitingParts)
      waiting = {.path = path, .before = {}, .after = {}, .is_open = false};
    waiting_parts_ += PartsOf(waiting);
    waiting_.push_back(std::move(waiting));
  }

  Status Open(Waiting& waiting) {
    Side from;
    Side to;
    ASSIGN_OR_RETURN(from, before_.Lookup(waiting.path));
    ASSIGN_OR_RETURN(to, after_.Lookup(waiting.path));
    if (IsDirectory(from)) waiting.before = std::move(from->directory);
    if (IsDirectory(to)) waiting.after = std::move(to->directory);
    return {};
  }

  Status CompareOne(const std::string& path, const Side& from, Side& to) {
    if (from && to && from->node.kind != NodeKind::kDirectory && IsSameFile(from->info, to->info))
      return {};
    if (IsSpecial(to)) {
      if (IsSpecial(from) && AreAlikeSpecials(*from, *to)) return {};
      LeaveOut(path, LeftOut::Why::kSpecial);
      to.reset();
    }
    if (!from && !to) return {};
    Change change{.path = path};
    change.kind = !from ? ChangeKind::kAdded : !to ? ChangeKind::kDeleted : ChangeKind::kModified;
    if (from) change.before = WithoutMarks(from->node);
    if (to) change.after = WithoutMarks(to->node);
    ASSIGN_OR_RETURN(change.before_sha256, HashOf(path, from));
    ASSIGN_OR_RETURN(change.after_sha256, HashOf(path, to));
    // Its deletion can be told, and done, without what it held.
    if (to) NameTooLarge(path, from, to);
    if (change.kind != ChangeKind::kModified || Differ(change))
      list_.changes.push_back(std::move(change));
    return {};
  }

  static bool Differ(const Change& change) {
    const Node& before = *change.before;
    const Node& after = *change.after;
    if (before.kind != after.kind || before.mode != after.mode) return true;
    if (before.kind == NodeKind::kSymlink) return before.target != after.target;
    return before.size != after.size || change.before_sha256 != change.after_sha256;
  }

  bool IsTooLarge(const Side& side) const {
    return side && side->node.kind == NodeKind::kFile && side->node.size > max_file_bytes_;
  }

  void NameTooLarge(const std::string& path, const Side& from, const Side& to) {
    if (IsTooLarge(to))
      LeaveOut(path, LeftOut::Why::kTooLarge, to->node.size);
    else if (IsTooLarge(from))
      LeaveOut(path, LeftOut::Why::kTooLarge, from->node.size);
  }

  // Empty for what is no file, and for a file that is left out.
  Result<std::string> HashOf(const std::string& path, const Side& side) {
    if (!side || side->node.kind != NodeKind::kFile || IsTooLarge(side)) return std::string();
    const FileKey key{side->info.st_dev, side->info.st_ino};
    if (const auto known = hashes_.find(key); known != hashes_.end()) return known->second;
    auto hash = Read(*side);
    if (!hash && (hash.error().code == ErrorCode::kNotFound ||
                  hash.error().code == ErrorCode::kPermissionDenied)) {
      LeaveOut(path, LeftOut::Why::kUnreadable, side->node.size);
      return std::string();
    }
    if (!hash && hash.error().code == ErrorCode::kTooLarge) {
      LeaveOut(path, LeftOut::Why::kTooLarge, side->node.size);
      return std::string();
    }
    if (hash) hashes_.emplace(key, *hash);
    return hash;
  }

  Result<std::string> Read(const Found& found) {
    ASSIGN_OR_RETURN(const sys::UniqueFd file,
                     OpenFile(found.parent.get(), found.name, found.info));
    crypto::Sha256Stream hash;
    std::uint64_t total = 0;
    for (;;) {
      if (stop_.stop_requested()) return Err(ErrorCode::kCancelled, "the comparison was cancelled");
      ASSIGN_OR_RETURN(const std::size_t size, sys::Read(file.get(), buffer_));
      if (size == 0) break;
      total += size;
      if (total > max_file_bytes_) return Err(ErrorCode::kTooLarge, "the file grows");
      hash.Update({buffer_.data(), size});
    }
    return crypto::HexEncode(hash.Finish());
  }

  void LeaveOut(const std::string& path, LeftOut::Why why, std::uint64_t size = 0) {
    list_.left_out.push_back({path, why, size});
  }

  using FileKey = std::pair<dev_t, ino_t>;

  const MergedTree before_;
  const MergedTree after_;
  const std::uint64_t max_file_bytes_;
  const std::stop_token& stop_;
  ChangeList list_;
  std::vector<Waiting> waiting_;
  std::size_t waiting_parts_ = 0;
  std::set<std::string> unreadable_;
  // Of files that are hard links of each other, or are at two paths since a directory was renamed.
  std::map<FileKey, std::string> hashes_;
  std::vector<char> buffer_ = std::vector<char>(kReadBytes);
};

// What two files or links share when the one may be the other, renamed. Empty: nothing.
std::string ContentKey(const Node& node, const std::string& sha256) {
  if (node.kind == NodeKind::kFile && !sha256.empty()) return "file " + sha256;
  return node.kind == NodeKind::kSymlink ? "link " + node.target : std::string();
}

std::string_view NameOf(std::string_view path) { return path.substr(path.rfind('/') + 1); }

// Pairs what was deleted with what was added, each once.
class Renames {
 public:
  explicit Renames(std::vector<Change>& changes) : changes_(changes) {}

  void Find() {
    // Those that kept their name come first.
    Pair([](const Change& change, const std::string& key) {
      return key + '/' + std::string(NameOf(change.path));
    });
    Pair([](const Change&, const std::string& key) { return key; });
    std::erase_if(changes_, [](const Change& change) { return change.path.empty(); });
  }

 private:
  template <typename Name>
  void Pair(const Name& name) {
    std::map<std::string, std::vector<Change*>> deleted;
    for (Change& change : changes_ | std::views::reverse)
      if (change.kind == ChangeKind::kDeleted && !change.path.empty())
        if (const std::string key = ContentKey(*change.before, change.before_sha256); !key.empty())
          deleted[name(change, key)].push_back(&change);
    for (Change& change : changes_) {
      if (change.kind != ChangeKind::kAdded) continue;
      const std::string key = ContentKey(*change.after, change.after_sha256);
      const auto found = key.empty() ? deleted.end() : deleted.find(name(change, key));
      if (found == deleted.end() || found->second.empty()) continue;
      Join(*found->second.back(), change);
      found->second.pop_back();
    }
  }

  // The deleted one is left without a path.
  static void Join(Change& deleted, Change& added) {
    added.kind = ChangeKind::kRenamed;
    added.old_path = std::exchange(deleted.path, {});
    added.before = std::move(deleted.before);
    added.before_sha256 = std::move(deleted.before_sha256);
  }

  std::vector<Change>& changes_;
};

}  // namespace

std::string_view ChangeKindName(ChangeKind kind) {
  switch (kind) {
    case ChangeKind::kAdded:
      return "added";
    case ChangeKind::kModified:
      return "modified";
    case ChangeKind::kDeleted:
      return "deleted";
    case ChangeKind::kRenamed:
      return "renamed";
  }
  return "";
}

std::string_view LeftOutName(LeftOut::Why why) {
  switch (why) {
    case LeftOut::Why::kTooLarge:
      return "too_large";
    case LeftOut::Why::kSpecial:
      return "special";
    case LeftOut::Why::kUnreadable:
      return "unreadable";
    case LeftOut::Why::kPathTooLong:
      return "path_too_long";
  }
  return "";
}

Result<ChangeList> FindChanges(const LayerView& upper, const std::vector<LayerView>& lowers,
                               std::uint64_t max_file_bytes, const std::stop_token& stop) {
  ASSIGN_OR_RETURN(ChangeList list, Comparison(upper, lowers, max_file_bytes, stop).Run());
  std::ranges::sort(list.changes, {}, &Change::path);
  // Both sides of a path may be left out.
  std::ranges::sort(list.left_out, {}, &LeftOut::path);
  const auto more = std::ranges::unique(list.left_out, {}, &LeftOut::path);
  list.left_out.erase(more.begin(), more.end());
  Renames(list.changes).Find();
  return list;
}

}  // namespace cofferdam::projects
