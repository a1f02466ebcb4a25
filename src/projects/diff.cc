#include "projects/diff.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>

#include "projects/beneath.h"
#include "projects/git.h"
#include "projects/merged_tree.h"
#include "projects/patch_text.h"
#include "projects/tree_walk.h"
#include "sys/file.h"

namespace cofferdam::projects {
namespace {

constexpr char kBefore[] = "a";
constexpr char kAfter[] = "b";

// ---- What git is shown

bool IsFileOrLink(const std::optional<Node>& node) {
  return node && (node->kind == NodeKind::kFile || node->kind == NodeKind::kSymlink);
}

bool IsInText(const Change& change) {
  return IsFileOrLink(change.before) || IsFileOrLink(change.after);
}

std::uint64_t SizeOf(const std::optional<Node>& node) {
  return node && node->kind == NodeKind::kFile ? node->size : 0;
}

bool SameContent(const Change& change) {
  return !change.before_sha256.empty() && change.before_sha256 == change.after_sha256;
}

/// Decides for each change whether its content goes to git; the others are told of without it.
std::vector<bool> ShownToGit(const ChangeList& list) {
  std::vector<bool> shown;
  shown.reserve(list.changes.size());
  std::uint64_t total = 0;
  for (const Change& change : list.changes) {
    const std::uint64_t largest = std::max(SizeOf(change.before), SizeOf(change.after));
    bool is_shown = IsInText(change) && change.kind != ChangeKind::kRenamed &&
                    !SameContent(change) && change.path.size() <= kMaxDiffPathBytes &&
                    largest <= kMaxDiffFileBytes;
    const std::uint64_t both = is_shown ? SizeOf(change.before) + SizeOf(change.after) : 0;
    is_shown = is_shown && total + both <= kMaxDiffTotalBytes;
    if (is_shown) total += both;
    shown.push_back(is_shown);
  }
  return shown;
}

// ---- Copying

Status CopyAtMost(int from, int to, std::uint64_t max_bytes) {
  std::array<char, std::size_t{64} * 1024> buffer;
  for (std::uint64_t left = max_bytes; left > 0;) {
    const std::size_t most = std::min<std::uint64_t>(left, buffer.size());
    ASSIGN_OR_RETURN(const std::size_t size, sys::Read(from, std::span(buffer).first(most)));
    if (size == 0) break;
    RETURN_IF_ERROR(sys::WriteAll(to, {buffer.data(), size}));
    left -= size;
  }
  return {};
}

Status MakeDirectory(int parent, const std::string& name) {
  if (::mkdirat(parent, name.c_str(), 0755) != 0 && errno != EEXIST)
    return ErrnoError(errno, "making a directory for a diff");
  // Whatever the umask: somebody else's git is to read it.
  if (::fchmodat(parent, name.c_str(), 0755, 0) != 0)
    return ErrnoError(errno, "making a directory for a diff");
  return {};
}

/// One side: a tree of what changed.
class Side {
 public:
  static Result<Side> Make(int directory, const std::string& name, MergedTree tree) {
    RETURN_IF_ERROR(MakeDirectory(directory, name));
    ASSIGN_OR_RETURN(sys::UniqueFd root, OpenDirectoryBeneath(directory, name));
    return Side(std::move(root), std::move(tree));
  }

  /// What the tree has of that path, if it still is what the list says.
  Status Copy(const std::string& path, const Node& node) const {
    ASSIGN_OR_RETURN(const auto found, tree_.Lookup(path));
    if (!found || found->node.kind != node.kind) return {};
    ASSIGN_OR_RETURN(const Place place, MakePlace(path));
    if (node.kind == NodeKind::kSymlink) {
      if (::symlinkat(found->node.target.c_str(), place.parent.get(), place.name.c_str()) != 0)
        return ErrnoError(errno, "copying a link for a diff");
      return {};
    }
    const auto source = OpenFile(found->parent.get(), found->name, found->info);
    if (!source && source.error().code == ErrorCode::kNotFound) return {};
    if (!source) return std::unexpected(source.error());
    constexpr int kFlags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;
    ASSIGN_OR_RETURN(const sys::UniqueFd target,
                     sys::OpenAt(place.parent.get(), place.name, kFlags, 0600));
    if (::fchmod(target.get(), (found->node.mode & 0100) != 0 ? 0755 : 0644) != 0)
      return ErrnoError(errno, "copying a file for a diff");
    return CopyAtMost(source->get(), target.get(), kMaxDiffFileBytes);
  }

 private:
  Side(sys::UniqueFd root, MergedTree tree) : root_(std::move(root)), tree_(std::move(tree)) {}

  Result<Place> MakePlace(const std::string& path) const {
    for (std::size_t end = path.find('/'); end != std::string::npos;
         end = path.find('/', end + 1)) {
      ASSIGN_OR_RETURN(const Place place, OpenPlace(root_.get(), path.substr(0, end)));
      RETURN_IF_ERROR(MakeDirectory(place.parent.get(), place.name));
    }
    return OpenPlace(root_.get(), path);
  }

  sys::UniqueFd root_;
  MergedTree tree_;
};

std::vector<LayerView> AllOf(const LayerView& upper, const std::vector<LayerView>& lowers) {
  std::vector<LayerView> all = {upper};
  all.insert(all.end(), lowers.begin(), lowers.end());
  return all;
}

// ---- Asking git

Result<GitResult> Compare(sandbox::Sandbox& sandbox, const std::vector<std::string>& options,
                          std::uint64_t max_bytes, const std::stop_token& stop) {
  std::vector<std::string> arguments = {"diff",          "--no-index",    "--no-renames",
                                        "--no-color",    "--no-ext-diff", "--no-textconv",
                                        "--src-prefix=", "--dst-prefix="};
  arguments.insert(arguments.end(), options.begin(), options.end());
  arguments.insert(arguments.end(), {"--", kBefore, kAfter});
  ASSIGN_OR_RETURN(GitResult result, RunGit(sandbox, arguments, max_bytes, stop));
  // 1 says that there are differences.
  if (!result.is_cut && result.exit_code > 1)
    return Err(ErrorCode::kOs, "git could not compare: " + result.complaint);
  return result;
}

/// More than git prints of so many paths.
std::uint64_t NumstatBytes(const ChangeList& list) {
  std::uint64_t bytes = 0;
  for (const Change& change : list.changes) bytes += 2 * (2 * change.path.size() + 64);
  return bytes;
}

Result<std::vector<LineCount>> CountLines(sandbox::Sandbox& sandbox, const ChangeList& list,
                                          const std::stop_token& stop) {
  ASSIGN_OR_RETURN(const GitResult result,
                   Compare(sandbox, {"--numstat", "-z"}, NumstatBytes(list), stop));
  if (result.is_cut) return Err(ErrorCode::kProtocol, "git counts more than there is");
  ASSIGN_OR_RETURN(const auto by_path, ParseNumstat(result.output));
  std::vector<LineCount> counts;
  const std::vector<bool> shown = ShownToGit(list);
  for (std::size_t i = 0; i < list.changes.size(); ++i) {
    const Change& change = list.changes[i];
    if (!IsInText(change)) continue;
    const auto counted = by_path.find(change.path);
    LineCount count{.path = change.path};
    if (shown[i] && counted != by_path.end()) count = counted->second;
    if (!shown[i]) count.binary = change.kind != ChangeKind::kRenamed && !SameContent(change);
    counts.push_back(std::move(count));
  }
  return counts;
}

void CutToLine(std::string& text, std::uint64_t max_bytes) {
  if (text.size() > max_bytes) text.resize(max_bytes);
  const std::size_t end = text.rfind('\n');
  text.resize(end == std::string::npos ? 0 : end + 1);
}

}  // namespace

Status WriteSides(const ChangeList& list, const LayerView& upper,
                  const std::vector<LayerView>& lowers, int directory) {
  ASSIGN_OR_RETURN(const Side before, Side::Make(directory, kBefore, MergedTree(lowers)));
  ASSIGN_OR_RETURN(const Side after,
                   Side::Make(directory, kAfter, MergedTree(AllOf(upper, lowers))));
  const std::vector<bool> shown = ShownToGit(list);
  for (std::size_t i = 0; i < list.changes.size(); ++i) {
    const Change& change = list.changes[i];
    if (!shown[i]) continue;
    if (IsFileOrLink(change.before)) RETURN_IF_ERROR(before.Copy(change.path, *change.before));
    if (IsFileOrLink(change.after)) RETURN_IF_ERROR(after.Copy(change.path, *change.after));
  }
  return {};
}

Result<DiffText> DiffSides(sandbox::Sandbox& sandbox, const ChangeList& list,
                           std::uint64_t max_bytes, const std::stop_token& stop) {
  DiffText diff;
  const std::vector<bool> shown = ShownToGit(list);
  for (std::size_t i = 0; i < list.changes.size(); ++i)
    if (!shown[i]) diff.patch += SectionWithoutContent(list.changes[i]);
  ASSIGN_OR_RETURN(diff.counts, CountLines(sandbox, list, stop));
  ASSIGN_OR_RETURN(const GitResult result, Compare(sandbox, {"--binary"}, max_bytes, stop));
  diff.patch += WithUsualPrefixes(result.output);
  diff.truncated = result.is_cut || diff.patch.size() > max_bytes;
  if (diff.truncated) CutToLine(diff.patch, max_bytes);
  return diff;
}

}  // namespace cofferdam::projects
