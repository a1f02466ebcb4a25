#include "projects/merged_tree.h"

#include <fcntl.h>
#include <limits.h>

#include <algorithm>
#include <cerrno>

#include "sys/file.h"

namespace cofferdam::projects {
namespace {

// So many descriptors does a walk hold, about, however deep it is.
constexpr std::size_t kMaxOpenParts = 256;
// Redirects of redirects make a path longer; the kernel's own are far shorter.
constexpr std::size_t kMaxSearchBytes = 64 << 10;

Result<sys::UniqueFd> Duplicate(int fd) {
  sys::UniqueFd copy(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (!copy.valid()) return ErrnoError(errno, "duplicating a descriptor");
  return copy;
}

}  // namespace

// One name on its way through the layers.
struct MergedTree::Search {
  // A name in the directory; or, once a redirect has led there, a path from the root on, with '/'.
  std::string name;
  // The layers below this one have no say.
  bool stop = false;
};

Result<MergedDirectory> MergedTree::Root() const {
  MergedDirectory root;
  for (std::size_t layer = 0; layer < layers_.size(); ++layer) {
    ASSIGN_OR_RETURN(sys::UniqueFd directory,
                     sys::OpenAt(layers_[layer].root, ".", O_RDONLY | O_DIRECTORY));
    ASSIGN_OR_RETURN(const struct stat info, sys::Stat(directory.get()));
    root.parts.push_back({layer, std::move(directory), info.st_dev, info.st_ino});
  }
  return root;
}

Result<std::vector<std::string>> MergedTree::Names(const MergedDirectory& directory) {
  std::vector<std::string> all;
  for (const DirectoryPart& part : directory.parts) {
    ASSIGN_OR_RETURN(std::vector<std::string> names, SortedNames(part.directory.get()));
    std::vector<std::string> both;
    std::set_union(std::move_iterator(all.begin()), std::move_iterator(all.end()),
                   std::move_iterator(names.begin()), std::move_iterator(names.end()),
                   std::back_inserter(both));
    all = std::move(both);
  }
  return all;
}

Result<std::optional<Found>> MergedTree::LookupIn(const MergedDirectory& directory,
                                                  const std::string& name) const {
  if (!IsName(name)) return std::nullopt;
  Search search{name};
  std::optional<Found> found;
  MergedDirectory root;
  const std::vector<DirectoryPart>* parts = &directory.parts;
  for (std::size_t i = 0; i < parts->size() && !search.stop; ++i) {
    const DirectoryPart& part = (*parts)[i];
    const std::size_t layer = part.layer;
    ASSIGN_OR_RETURN(std::optional<Found> here, SearchLayer(part, search));
    if (!here) continue;
    if (!found)
      found = std::move(here);
    else
      std::ranges::move(here->directory.parts, std::back_inserter(found->directory.parts));
    // From here on it is looked for from the root of the layers below this one.
    if (search.name.starts_with('/') && parts != &root.parts) {
      ASSIGN_OR_RETURN(root, Root());
      parts = &root.parts;
      i = layer;
    }
  }
  return found;
}

Result<std::optional<Found>> MergedTree::SearchLayer(const DirectoryPart& part,
                                                     Search& search) const {
  if (!search.name.starts_with('/'))
    return SearchName(part.directory.get(), part.layer, search, 0, search.name.size());
  int directory = part.directory.get();
  std::optional<Found> above;
  // Counted from the end, since a redirect on the way changes what came before.
  for (std::size_t rest = search.name.size() - 1;;) {
    const std::size_t begin = search.name.size() - rest;
    const std::size_t end = std::min(search.name.find('/', begin), search.name.size());
    rest = search.name.size() - end;
    ASSIGN_OR_RETURN(std::optional<Found> here,
                     SearchName(directory, part.layer, search, begin, end));
    if (!here || rest == 0) return here;
    // A mount point on the way: nothing of it is looked at.
    if (here->directory.parts.empty()) return std::nullopt;
    above = std::move(here);
    directory = above->directory.parts[0].directory.get();
    --rest;
  }
}

// Looks for the part of the searched name between `begin` and `end`.
Result<std::optional<Found>> MergedTree::SearchName(int directory, std::size_t layer,
                                                    Search& search, std::size_t begin,
                                                    std::size_t end) const {
  Found found{.node = {}, .info = {}, .layer = layer, .parent = {}, .name = {}};
  found.name = search.name.substr(begin, end - begin);
  if (::fstatat(directory, found.name.c_str(), &found.info,
                AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) != 0) {
    if (errno == ENOENT || errno == ENAMETOOLONG) return std::nullopt;
    return ErrnoError(errno, "reading file attributes");
  }
  ASSIGN_OR_RETURN(found.parent, Duplicate(directory));
  if (S_ISDIR(found.info.st_mode)) return SearchDirectory(std::move(found), search, begin, end);
  search.stop = true;
  if (end != search.name.size()) return std::nullopt;
  auto node = ReadNode(directory, found.name, found.info, layers_[layer].format);
  if (!node && node.error().code == ErrorCode::kNotFound) return std::nullopt;
  if (!node) return std::unexpected(std::move(node).error());
  if (node->kind == NodeKind::kWhiteout) return std::nullopt;
  found.node = std::move(*node);
  return found;
}

Result<std::optional<Found>> MergedTree::SearchDirectory(Found found, Search& search,
                                                         std::size_t begin, std::size_t end) const {
  auto opened = OpenDirectory(found.parent.get(), found.name, found.info);
  if (!opened && opened.error().code == ErrorCode::kNotFound) return std::nullopt;
  const bool is_mount_point = !opened && opened.error().code == ErrorCode::kBusy;
  if (!opened && !is_mount_point) return std::unexpected(std::move(opened).error());
  const UpperFormat format = is_mount_point ? UpperFormat::kPlain : layers_[found.layer].format;
  ASSIGN_OR_RETURN(found.node,
                   ReadDirectory(is_mount_point ? -1 : opened->get(), found.info, format));
  if (!is_mount_point)
    found.directory.parts.push_back(
        {found.layer, std::move(*opened), found.info.st_dev, found.info.st_ino});
  const std::string& redirect = found.node.redirect;
  if (found.node.opaque) {
    search.stop = true;
  } else if (redirect.starts_with('/')) {
    // Even beneath an opaque directory: the way leads out of it.
    search.stop = false;
    search.name.replace(0, end, redirect);
  } else if (!redirect.empty()) {
    search.name.replace(begin, end - begin, redirect);
  }
  if (search.name.size() > kMaxSearchBytes)
    return Err(ErrorCode::kCorrupt, "an overlay's redirects lead to a path that is too long");
  return found;
}

Result<std::optional<Found>> MergedTree::Lookup(const std::string& path) const {
  ASSIGN_OR_RETURN(MergedDirectory directory, Root());
  for (std::size_t begin = 0;;) {
    const std::size_t end = std::min(path.find('/', begin), path.size());
    ASSIGN_OR_RETURN(std::optional<Found> found,
                     LookupIn(directory, path.substr(begin, end - begin)));
    if (!found || end == path.size()) return found;
    if (found->node.kind != NodeKind::kDirectory) return std::nullopt;
    directory = std::move(found->directory);
    begin = end + 1;
  }
}

namespace {

using Visitor = std::function<Result<Descend>(const std::string& path, const Found&)>;

class MergedWalk {
 public:
  MergedWalk(const MergedTree& tree, std::size_t layers, const Visitor& visit,
             const std::stop_token& stop, const std::function<void(const std::string&)>& unreadable)
      : tree_(tree),
        max_open_(std::max<std::size_t>(2, kMaxOpenParts / std::max<std::size_t>(1, layers))),
        visit_(visit),
        stop_(stop),
        unreadable_(unreadable) {}

  Status Run(const std::string& path) {
    ASSIGN_OR_RETURN(std::optional<MergedDirectory> top, Open(path));
    if (!top) return {};
    path_ = path;
    RETURN_IF_ERROR(Enter(std::move(*top)));
    while (!levels_.empty()) {
      if (stop_.stop_requested()) return Err(ErrorCode::kCancelled, "the walk was cancelled");
      if (levels_.back().next == levels_.back().names.size())
        levels_.pop_back();
      else
        RETURN_IF_ERROR(VisitNext());
    }
    return {};
  }

 private:
  struct Level {
    std::optional<MergedDirectory> directory;  // closed while the walk is far below it
    std::size_t path_size = 0;                 // of the directory's path, in path_
    std::vector<std::string> names;
    std::size_t next = 0;
  };

  Result<std::optional<MergedDirectory>> Open(const std::string& path) const {
    if (path.empty()) return tree_.Root();
    ASSIGN_OR_RETURN(std::optional<Found> found, tree_.Lookup(path));
    if (!found || found->node.kind != NodeKind::kDirectory) return std::nullopt;
    return std::move(found->directory);
  }

  Status Enter(MergedDirectory directory) {
    ASSIGN_OR_RETURN(std::vector<std::string> names, MergedTree::Names(directory));
    levels_.push_back({std::move(directory), path_.size(), std::move(names)});
    if (levels_.size() > max_open_) levels_[levels_.size() - 1 - max_open_].directory.reset();
    return {};
  }

  Status VisitNext() {
    RETURN_IF_ERROR(Reopen());
    Level& level = levels_.back();
    if (level.next == level.names.size()) return {};
    const std::string& name = level.names[level.next++];
    path_.resize(level.path_size);
    if (!path_.empty()) path_ += '/';
    path_ += name;
    auto found = tree_.LookupIn(*level.directory, name);
    if (!found && found.error().code == ErrorCode::kPermissionDenied && unreadable_) {
      unreadable_(path_);
      return {};
    }
    if (!found) return std::unexpected(found.error().With("'" + PathForPerson(path_) + "'"));
    if (!*found) return {};
    ASSIGN_OR_RETURN(const Descend descend, visit_(path_, **found));
    if (descend == Descend::kNo || (*found)->node.kind != NodeKind::kDirectory) return {};
    return Enter(std::move((*found)->directory));
  }

  std::string PathOf(std::size_t level) const { return path_.substr(0, levels_[level].path_size); }
  std::string NameOf(std::size_t level) const {
    const std::size_t above = levels_[level - 1].path_size;
    return PathOf(level).substr(above == 0 ? 0 : above + 1);
  }

  // The last directory, and with it those above it that will be wanted next.
  Status Reopen() {
    if (levels_.back().directory) return {};
    const std::size_t first = levels_.size() - std::min(levels_.size(), max_open_ / 2);
    ASSIGN_OR_RETURN(std::optional<MergedDirectory> directory, Open(PathOf(first)));
    for (std::size_t i = first; directory && i + 1 < levels_.size(); ++i) {
      ASSIGN_OR_RETURN(std::optional<Found> below, tree_.LookupIn(*directory, NameOf(i + 1)));
      levels_[i].directory = std::move(directory);
      directory.reset();
      if (below && below->node.kind == NodeKind::kDirectory)
        directory = std::move(below->directory);
    }
    // It has vanished meanwhile.
    if (!directory) levels_.back().names.clear();
    if (!directory) levels_.back().next = 0;
    levels_.back().directory = std::move(directory);
    return {};
  }

  const MergedTree& tree_;
  std::size_t max_open_;
  const Visitor& visit_;
  const std::stop_token& stop_;
  const std::function<void(const std::string&)>& unreadable_;
  std::vector<Level> levels_;
  std::string path_;
};

}  // namespace

Status MergedTree::Walk(
    const std::string& path,
    const std::function<Result<Descend>(const std::string& path, const Found&)>& visit,
    const std::stop_token& stop,
    const std::function<void(const std::string& path)>& unreadable) const {
  return MergedWalk(*this, layers_.size(), visit, stop, unreadable).Run(path);
}

}  // namespace cofferdam::projects
