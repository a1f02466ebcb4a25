#include "platform/project_diff.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <map>
#include <utility>

#include "platform/diff_folder.h"
#include "platform/view.h"
#include "platform/view_choice.h"
#include "projects/base_index.h"
#include "projects/diff.h"
#include "projects/merged_tree.h"
#include "sys/file.h"

namespace cofferdam::platform {
namespace {

using projects::BaseDifference;
using projects::Change;
using projects::ChangeKind;
using projects::Checkpoints;

std::string KindName(projects::NodeKind kind) {
  switch (kind) {
    case projects::NodeKind::kFile:
      return "file";
    case projects::NodeKind::kDirectory:
      return "directory";
    case projects::NodeKind::kSymlink:
      return "symlink";
    default:
      return "special";
  }
}

std::optional<FileState> PublicState(const std::optional<projects::Node>& node,
                                     const std::string& sha256) {
  if (!node) return std::nullopt;
  return FileState{.kind = KindName(node->kind),
                   .mode = node->mode,
                   .size = node->size,
                   .sha256 = sha256,
                   .target = node->target};
}

/// What git is to compare, and what of it.
struct Sides {
  const projects::ChangeList& list;
  projects::LayerView after;
  std::vector<projects::LayerView> before;
};

/// Fills in the patch, and the lines of `diff.changes`.
Status AddText(const Workspace::State& workspace, const DiffOptions& options, const Sides& sides,
               const std::stop_token& stop, ProjectDiff& diff) {
  if (sides.list.changes.empty()) return {};
  ASSIGN_OR_RETURN(const DiffFolder folder, DiffFolder::Make(workspace));
  RETURN_IF_ERROR(projects::WriteSides(sides.list, sides.after, sides.before, folder.root()));
  ASSIGN_OR_RETURN(const auto sandbox, folder.MakeSandbox());
  ASSIGN_OR_RETURN(projects::DiffText text,
                   projects::DiffSides(*sandbox, sides.list, options.max_bytes, stop));
  diff.patch = std::move(text.patch);
  diff.truncated = text.truncated;
  std::map<std::string, projects::LineCount> counts;
  for (projects::LineCount& count : text.counts) {
    std::string path = count.path;
    counts.emplace(std::move(path), std::move(count));
  }
  for (ProjectChange& change : diff.changes)
    if (const auto count = counts.find(change.path); count != counts.end()) {
      change.added_lines = count->second.added;
      change.removed_lines = count->second.removed;
      change.binary = count->second.binary;
    }
  return {};
}

Result<ProjectDiff> AgentsChanges(const Workspace::State& workspace, const DiffOptions& options,
                                  const ViewParts& parts, const std::stop_token& stop) {
  ASSIGN_OR_RETURN(const projects::ChangeList list,
                   projects::FindChanges(parts.upper_layer(), parts.lower_layers(),
                                         Checkpoints::kDefaultMaxFileBytes, stop));
  ProjectDiff diff{.project = parts.choice().project,
                   .changes = PublicChanges(list.changes),
                   .left_out = PublicLeftOut(list.left_out)};
  if (options.text)
    RETURN_IF_ERROR(
        AddText(workspace, options, {list, parts.upper_layer(), parts.lower_layers()}, stop, diff));
  return diff;
}

/// The contents that files of the project had when the agent first changed them, as a tree of
/// files, so that they can be compared like a layer. Owned by a DiffFolder.
class KeptFiles {
 public:
  KeptFiles(int root, Checkpoints& checkpoints) : root_(root), checkpoints_(checkpoints) {}

  Status Add(const std::string& path, const Checkpoints::Base& base) {
    const std::size_t slash = path.rfind('/');
    sys::UniqueFd parent;
    if (slash != std::string::npos) {
      ASSIGN_OR_RETURN(parent, MakeDirectories(path.substr(0, slash)));
    }
    const int directory = parent.valid() ? parent.get() : root_;
    const std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
    ASSIGN_OR_RETURN(const sys::UniqueFd file,
                     sys::OpenAt(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
    RETURN_IF_ERROR(checkpoints_.objects().CopyTo(base.object, file.get()));
    if (::fchmod(file.get(), base.node.mode) != 0) return ErrnoError(errno, "writing a kept file");
    return {};
  }

  projects::LayerView layer() const { return {root_, projects::UpperFormat::kPlain}; }

 private:
  Result<sys::UniqueFd> MakeDirectories(const std::string& path) const {
    sys::UniqueFd directory;
    for (std::size_t begin = 0; begin <= path.size();) {
      const std::size_t end = std::min(path.find('/', begin), path.size());
      const std::string name = path.substr(begin, end - begin);
      const int parent = directory.valid() ? directory.get() : root_;
      if (::mkdirat(parent, name.c_str(), 0700) != 0 && errno != EEXIST)
        return ErrnoError(errno, "making a directory");
      ASSIGN_OR_RETURN(directory,
                       sys::OpenBeneath(parent, name, O_PATH | O_DIRECTORY, sys::Links::kRefuse));
      begin = end + 1;
    }
    return directory;
  }

  int root_;
  Checkpoints& checkpoints_;
};

/// A path that the owner has changed, as far as it can be known without its content from before.
Result<Change> OwnersChange(const projects::MergedTree& project, const std::string& path,
                            BaseDifference difference) {
  Change change{.path = path};
  ASSIGN_OR_RETURN(const auto found, project.Lookup(path));
  if (found) change.after = found->node;
  // What is there now counts: somebody may have made or removed it since the look at all.
  change.kind = !found                                 ? ChangeKind::kDeleted
                : difference == BaseDifference::kAdded ? ChangeKind::kAdded
                                                       : ChangeKind::kModified;
  return change;
}

Result<ProjectDiff> OwnersChanges(const Workspace::State& workspace, const DiffOptions& options,
                                  const ViewChoice& choice, Checkpoints& checkpoints,
                                  const std::stop_token& stop) {
  if (choice.project.empty())
    return Err(ErrorCode::kUnsupported, "the workspace's own files are no project",
               "name the project's directory");
  ProjectDiff diff{.project = choice.project};
  const auto base = ReadBase(workspace.path(), choice.view);
  // No agent has begun to change anything.
  if (!base && base.error().code == ErrorCode::kNotFound) return diff;
  if (!base) return std::unexpected(base.error());
  ASSIGN_OR_RETURN(const sys::UniqueFd root,
                   sys::Open(choice.project, O_PATH | O_DIRECTORY | O_NOFOLLOW));
  ASSIGN_OR_RETURN(const projects::BaseIndex now, projects::BaseIndex::Scan(root.get(), stop));
  const projects::LayerView layer{root.get(), projects::UpperFormat::kPlain};
  const projects::MergedTree project({layer});
  ASSIGN_OR_RETURN(const DiffFolder folder, DiffFolder::Make(workspace));
  KeptFiles kept(folder.root(), checkpoints);
  projects::ChangeList with_text;
  std::vector<Change> all;
  for (const auto& [path, difference] : projects::CompareBases(*base, now)) {
    ASSIGN_OR_RETURN(Change change, OwnersChange(project, path, difference));
    ASSIGN_OR_RETURN(const auto before, checkpoints.FindBase(choice.view, path));
    if (before && difference != BaseDifference::kAdded) {
      RETURN_IF_ERROR(kept.Add(path, *before));
      change.before = before->node;
      change.before_sha256 = before->object;
      with_text.changes.push_back(change);
    }
    all.push_back(std::move(change));
  }
  diff.changes = PublicChanges(all);
  if (options.text)
    RETURN_IF_ERROR(AddText(workspace, options, {with_text, layer, {kept.layer()}}, stop, diff));
  return diff;
}

}  // namespace

std::vector<ProjectChange> PublicChanges(const std::vector<Change>& changes) {
  std::vector<ProjectChange> list;
  for (const Change& change : changes)
    list.push_back({.kind = std::string(projects::ChangeKindName(change.kind)),
                    .path = change.path,
                    .old_path = change.old_path,
                    .before = PublicState(change.before, change.before_sha256),
                    .after = PublicState(change.after, change.after_sha256)});
  return list;
}

std::vector<LeftOutPath> PublicLeftOut(const std::vector<projects::LeftOut>& left_out) {
  std::vector<LeftOutPath> list;
  for (const projects::LeftOut& one : left_out)
    list.push_back({one.path, std::string(projects::LeftOutName(one.why)), one.size});
  return list;
}

Result<ProjectDiff> Diff(const Workspace::State& workspace, const DiffOptions& options,
                         const std::stop_token& stop) {
  ASSIGN_OR_RETURN(Checkpoints checkpoints,
                   Checkpoints::Open(workspace.path(), workspace.platform().clock()));
  ASSIGN_OR_RETURN(const ViewChoice choice, KnownView(workspace, options.project, checkpoints));
  if (options.project_edits) return OwnersChanges(workspace, options, choice, checkpoints, stop);
  ASSIGN_OR_RETURN(const ViewParts parts, ViewParts::Open(workspace, choice, checkpoints));
  return AgentsChanges(workspace, options, parts, stop);
}

}  // namespace cofferdam::platform
