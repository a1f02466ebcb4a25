#include "projects/upper.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "projects/tree_walk.h"

namespace cofferdam::projects {
namespace {

constexpr std::string_view kNul("\0", 1);
constexpr std::size_t kStride = sizeof(std::uint64_t);

bool IsComponent(std::string_view name) {
  return !name.empty() && name.size() <= NAME_MAX && name != "." && name != "..";
}

UpperChange ChangeOf(const std::string& path, const Kept* before, const Kept* after) {
  UpperChange change{.path = path};
  if (after != nullptr) {
    change.node = after->node;
    change.object = after->object;
  }
  if (before != nullptr) {
    change.node_before = before->node;
    change.object_before = before->object;
  }
  return change;
}

/// One comparison. `known_` and the walk have the same order, so that both are gone through once.
class Scanner {
 public:
  Scanner(const Upper& upper, const KeptTree& known, ObjectStore& objects,
          std::uint64_t max_file_bytes)
      : upper_(upper),
        known_(known),
        objects_(objects),
        max_file_bytes_(max_file_bytes),
        now_(RealTimeNanos()),
        next_(known.begin()) {}

  Result<UpperScan> Run(const std::stop_token& stop) {
    RETURN_IF_ERROR(WalkTree(
        upper_.root, [this](const TreeEntry& entry) { return Visit(entry); }, stop,
        // Only what has become so since it was looked at; the next comparison sees it.
        [](const std::string&) {}));
    while (next_ != known_.end()) Gone();
    return std::move(scan_);
  }

 private:
  Result<Descend> Visit(const TreeEntry& entry) {
    const Kept* const before = Known(entry.path);
    const Stamp stamp = StampOf(entry.info, now_);
    if (before != nullptr && StampsFit(before->stamp, stamp)) return DescentOf(*before);
    why_ = LeftOut::Why::kSpecial;
    ASSIGN_OR_RETURN(std::optional<Kept> after, Look(entry, stamp));
    if (!after) {
      // Swapped or removed just now.
      if (before != nullptr) Update(entry.path, before, std::nullopt);
      return Descend::kNo;
    }
    const Descend descend = DescentOf(*after);
    Update(entry.path, before, std::move(after));
    return descend;
  }

  static Descend DescentOf(const Kept& kept) {
    return kept.node.kind == NodeKind::kDirectory ? Descend::kYes : Descend::kNo;
  }

  /// What is known of a path; what comes before it in the order is not there any more.
  const Kept* Known(const std::string& path) {
    while (next_ != known_.end() && next_->first != path && TreeOrder()(next_->first, path)) Gone();
    if (next_ == known_.end() || next_->first != path) return nullptr;
    return &(next_++)->second;
  }

  void Gone() {
    Update(next_->first, &next_->second, std::nullopt);
    ++next_;
  }

  void Update(const std::string& path, const Kept* before, std::optional<Kept> after) {
    if (before == nullptr || !after || !IsSame(*before, *after)) {
      scan_.changes.push_back(ChangeOf(path, before, after ? &*after : nullptr));
      if (after && !IsKept(*after)) scan_.left_out.push_back({path, why_, after->node.size});
    }
    scan_.updates.emplace_back(path, std::move(after));
  }

  /// Nothing when it has vanished.
  Result<std::optional<Kept>> Look(const TreeEntry& entry, const Stamp& stamp) {
    if (S_ISDIR(entry.info.st_mode)) return LookAtDirectory(entry, stamp);
    auto node = ReadNode(entry.parent, entry.name, entry.info, upper_.format);
    if (!node && node.error().code == ErrorCode::kNotFound) return std::nullopt;
    if (!node) return std::unexpected(std::move(node).error());
    Kept kept{.node = std::move(*node), .stamp = stamp};
    if (kept.node.kind != NodeKind::kFile) return kept;
    return LookAtFile(entry, std::move(kept));
  }

  Result<std::optional<Kept>> LookAtDirectory(const TreeEntry& entry, const Stamp& stamp) {
    if (entry.path.size() > kMaxUpperPathBytes - NAME_MAX - 1) {
      why_ = LeftOut::Why::kTooLarge;
      return Kept{.stamp = stamp};
    }
    auto node = ReadSearchable(entry);
    if (node) {
      node->modified_nanos = 0;
      return Kept{.node = std::move(*node), .stamp = stamp};
    }
    switch (node.error().code) {
      case ErrorCode::kNotFound:
        return std::nullopt;
      case ErrorCode::kBusy:  // something is mounted on it
        return Kept{.stamp = stamp};
      case ErrorCode::kPermissionDenied:
      case ErrorCode::kCorrupt:
        why_ = LeftOut::Why::kUnreadable;
        return Kept{.stamp = stamp};
      default:
        return std::unexpected(std::move(node).error());
    }
  }

  /// kPermissionDenied also when only the names in it can be read.
  Result<Node> ReadSearchable(const TreeEntry& entry) const {
    ASSIGN_OR_RETURN(const sys::UniqueFd opened,
                     OpenDirectory(entry.parent, entry.name, entry.info));
    struct stat ignored;
    if (::fstatat(opened.get(), ".", &ignored, 0) != 0)
      return ErrnoError(errno, "looking into a directory");
    return ReadDirectory(opened.get(), entry.info, upper_.format);
  }

  Result<std::optional<Kept>> LookAtFile(const TreeEntry& entry, Kept kept) {
    const auto file = OpenFile(entry.parent, entry.name, entry.info);
    if (!file && file.error().code == ErrorCode::kNotFound) return std::nullopt;
    if (!file && file.error().code == ErrorCode::kPermissionDenied) {
      why_ = LeftOut::Why::kUnreadable;
      return kept;
    }
    if (!file) return std::unexpected(file.error());
    auto object = objects_.Add(file->get(), max_file_bytes_);
    if (!object && object.error().code == ErrorCode::kTooLarge) {
      why_ = LeftOut::Why::kTooLarge;
      return kept;
    }
    if (!object) return std::unexpected(std::move(object).error());
    kept.object = std::move(*object);
    // Whatever happens to the file meanwhile: the size is that of the bytes that were stored, and
    // the stamp, which is from before, does not fit any more.
    ASSIGN_OR_RETURN(kept.node.size, objects_.SizeOf(kept.object));
    return kept;
  }

  const Upper& upper_;
  const KeptTree& known_;
  ObjectStore& objects_;
  const std::uint64_t max_file_bytes_;
  const std::int64_t now_;
  KeptTree::const_iterator next_;
  LeftOut::Why why_ = LeftOut::Why::kSpecial;
  UpperScan scan_;
};

}  // namespace

bool IsSame(const Kept& a, const Kept& b) { return a.node == b.node && a.object == b.object; }

bool IsKept(const Kept& kept) {
  if (kept.node.kind == NodeKind::kFile) return !kept.object.empty();
  return kept.node.kind != NodeKind::kOther;
}

bool IsUpperPath(std::string_view path) {
  if (path.size() > kMaxUpperPathBytes || path.find(kNul) != std::string_view::npos) return false;
  for (;;) {
    const std::size_t slash = path.find('/');
    if (!IsComponent(path.substr(0, slash))) return false;
    if (slash == std::string_view::npos) return true;
    path.remove_prefix(slash + 1);
  }
}

bool TreeOrder::operator()(std::string_view a, std::string_view b) const {
  const std::size_t both = std::min(a.size(), b.size());
  std::size_t i = 0;
  // Most of two paths is the same.
  while (i + kStride <= both && std::memcmp(a.data() + i, b.data() + i, kStride) == 0) i += kStride;
  while (i < both && a[i] == b[i]) ++i;
  if (i == both) return a.size() < b.size();
  if (a[i] == '/' || b[i] == '/') return a[i] == '/';
  return static_cast<unsigned char>(a[i]) < static_cast<unsigned char>(b[i]);
}

Result<UpperScan> ScanUpper(const Upper& upper, const KeptTree& known, ObjectStore& objects,
                            std::uint64_t max_file_bytes, const std::stop_token& stop) {
  return Scanner(upper, known, objects, max_file_bytes).Run(stop);
}

void UpdateTree(const TreeUpdates& updates, KeptTree& tree) {
  for (const auto& [path, after] : updates)
    if (after)
      tree[path] = *after;
    else
      tree.erase(path);
}

std::vector<UpperChange> Differences(const KeptTree& before, const KeptTree& after) {
  std::vector<UpperChange> changes;
  auto left = before.begin();
  auto right = after.begin();
  while (left != before.end() || right != after.end()) {
    const bool has_gone =
        right == after.end() || (left != before.end() && TreeOrder()(left->first, right->first));
    const bool is_new =
        left == before.end() || (right != after.end() && TreeOrder()(right->first, left->first));
    if (has_gone)
      changes.push_back(ChangeOf(left->first, &left->second, nullptr));
    else if (is_new)
      changes.push_back(ChangeOf(right->first, nullptr, &right->second));
    else if (!IsSame(left->second, right->second))
      changes.push_back(ChangeOf(right->first, &left->second, &right->second));
    if (!is_new) ++left;
    if (!has_gone) ++right;
  }
  return changes;
}

}  // namespace cofferdam::projects
