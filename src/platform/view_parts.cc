#include "platform/view_parts.h"

#include <fcntl.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

#include "base/check.h"
#include "platform/platform_state.h"
#include "projects/layers.h"
#include "sys/file.h"

namespace cofferdam::platform {
namespace {

/// Of the user who runs this, or empty.
std::string OwnHome() {
  struct passwd entry{};
  struct passwd* found = nullptr;
  std::array<char, 4096> buffer{};
  if (::getpwuid_r(::geteuid(), &entry, buffer.data(), buffer.size(), &found) != 0 || !found)
    return {};
  return entry.pw_dir;
}

Status CheckProject(const std::string& directory, const std::string& state_directory) {
  if (const Status source = sandbox::CheckMountSource(directory, state_directory, OwnHome());
      !source)
    return std::unexpected(source.error().With("the project"));
  ASSIGN_OR_RETURN(const sys::UniqueFd fd, sys::Open(directory, O_PATH | O_NOFOLLOW));
  ASSIGN_OR_RETURN(const struct stat info, sys::Stat(fd.get()));
  if (S_ISDIR(info.st_mode)) return {};
  return Err(ErrorCode::kMountRefused, "the project " + directory + " is no directory");
}

Status MakeDirectory(int parent, const std::string& name) {
  if (::mkdirat(parent, name.c_str(), 0700) == 0 || errno == EEXIST) return {};
  return ErrnoError(errno, "making " + name);
}

/// A directory of the tools: there, and theirs, or not there.
Status MakeForTools(int parent, const std::string& name, const sandbox::HostIdentity& identity) {
  if (::faccessat(parent, name.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0) return {};
  const std::string temporary = name + ".new";
  RETURN_IF_ERROR(MakeDirectory(parent, temporary));
  if (::fchownat(parent, temporary.c_str(), identity.uid, identity.gid, AT_SYMLINK_NOFOLLOW) != 0)
    return ErrnoError(errno, "giving " + name + " to the user of the tools");
  if (::renameat(parent, temporary.c_str(), parent, name.c_str()) == 0 || errno == EEXIST ||
      errno == ENOTEMPTY)
    return {};
  return ErrnoError(errno, "making " + name);
}

Result<sys::UniqueFd> OpenParent(int workspace, const projects::ViewPaths& paths,
                                 const ViewChoice& choice) {
  if (!choice.project.empty()) {
    RETURN_IF_ERROR(MakeDirectory(workspace, "files/projects"));
    RETURN_IF_ERROR(MakeDirectory(workspace, paths.parent));
  }
  return sys::OpenBeneath(workspace, paths.parent, O_PATH | O_DIRECTORY, sys::Links::kRefuse);
}

projects::UpperFormat FormatHere() {
  return sandbox::OverlaysAreTrusted() ? projects::UpperFormat::kTrusted
                                       : projects::UpperFormat::kUser;
}

std::string Named(const ViewChoice& choice) {
  return choice.project.empty() ? "the workspace's files" : "the project " + choice.project;
}

/// What is remembered of the view, and fits what is asked for now.
Result<std::optional<projects::ViewRecord>> RecordOf(const ViewChoice& choice, bool upper_is_empty,
                                                     projects::Checkpoints& checkpoints,
                                                     std::int64_t now) {
  ASSIGN_OR_RETURN(auto record, projects::ReadView(checkpoints.database(), choice.view));
  // The workspace's own files are an overlay from a fork on, and a plain directory before.
  if (!record && choice.project.empty()) return std::nullopt;
  if (!record) record = {.view = choice.view, .created_millis = now};
  if (!upper_is_empty && record->format != FormatHere())
    return Err(ErrorCode::kUnsupported,
               Named(choice) + ": the changes were written " +
                   (sandbox::OverlaysAreTrusted() ? "when the host was no superuser"
                                                  : "when the host was the superuser"),
               "run the host as the same user as before");
  if (!upper_is_empty && record->mode != choice.mode)
    return Err(ErrorCode::kInvalidArgument,
               Named(choice) + " has changes that were made in the mode " +
                   std::string(projects::ProjectModeName(record->mode)),
               "apply or discard them first, or stay with that mode");
  record->source = choice.project;
  record->mode = choice.mode;
  record->format = FormatHere();
  record->used_millis = now;
  RETURN_IF_ERROR(projects::WriteView(checkpoints.database(), *record));
  return record;
}

Result<std::vector<ViewLower>> LayersOf(const std::vector<std::string>& ids,
                                        const std::string& state_directory) {
  std::vector<ViewLower> lowers;
  if (ids.empty()) return lowers;
  ASSIGN_OR_RETURN(const projects::Layers layers, projects::Layers::Open(state_directory));
  for (const std::string& id : ids) {
    ASSIGN_OR_RETURN(const projects::Layer layer, layers.Read(id));
    ASSIGN_OR_RETURN(sys::UniqueFd root, layers.OpenTree(id));
    lowers.push_back({.path = layers.TreePath(id),
                      .owner = {layer.owner.uid, layer.owner.gid},
                      .format = layer.format,
                      .root = std::move(root)});
  }
  return lowers;
}

Result<ViewLower> ProjectLower(const std::string& directory) {
  ASSIGN_OR_RETURN(sys::UniqueFd root, sys::Open(directory, O_PATH | O_DIRECTORY | O_NOFOLLOW));
  ASSIGN_OR_RETURN(const struct stat info, sys::Stat(root.get()));
  return ViewLower{.path = directory, .owner = {info.st_uid, info.st_gid}, .root = std::move(root)};
}

}  // namespace

Result<ViewChoice> ChooseView(const Settings& settings, const std::string& state_directory) {
  const std::string project = settings.project.value_or("");
  if (project.empty()) return ViewChoice();
  RETURN_IF_ERROR(CheckProject(project, state_directory));
  ViewChoice choice{.view = projects::ProjectKey(project), .project = project};
  if (settings.project_mode) {
    ASSIGN_OR_RETURN(choice.mode, projects::ProjectModeFromName(*settings.project_mode));
  }
  return choice;
}

Result<std::optional<sandbox::HostIdentity>> OwnerOfProject(const std::string& directory) {
  if (::geteuid() != 0) return std::nullopt;
  ASSIGN_OR_RETURN(const ViewLower lower, ProjectLower(directory));
  return lower.owner;
}

Result<ViewParts> ViewParts::Open(const Workspace::State& workspace, const ViewChoice& choice,
                                  projects::Checkpoints& checkpoints) {
  CHECK(choice.has_upper());
  ViewParts parts;
  parts.choice_ = choice;
  parts.paths_ = projects::PathsOf(choice.view);
  parts.parent_path_ = workspace.path() + "/" + parts.paths_.parent;
  const auto& own = workspace.identity();
  parts.identity_ = own ? *own : sandbox::ToolIdentity();
  ASSIGN_OR_RETURN(parts.parent_, OpenParent(workspace.folder(), parts.paths_, choice));
  RETURN_IF_ERROR(MakeForTools(parts.parent(), parts.paths_.upper, parts.identity_));
  ASSIGN_OR_RETURN(parts.upper_, sys::OpenBeneath(parts.parent(), parts.paths_.upper,
                                                  O_RDONLY | O_DIRECTORY, sys::Links::kRefuse));
  ASSIGN_OR_RETURN(const bool empty, parts.upper_is_empty());
  ASSIGN_OR_RETURN(parts.record_,
                   RecordOf(choice, empty, checkpoints, workspace.platform().clock().UnixMillis()));
  if (!parts.record_) return parts;
  RETURN_IF_ERROR(MakeForTools(parts.parent(), parts.paths_.work, parts.identity_));
  ASSIGN_OR_RETURN(parts.lowers_,
                   LayersOf(parts.record_->layers, workspace.platform().directory().path()));
  if (choice.project.empty()) return parts;
  ViewLower lower;
  if (choice.mode == projects::ProjectMode::kCopy) {
    lower.path = parts.parent_path_ + "/" + kCopyDirectory;
    lower.owner = parts.identity_;
    RETURN_IF_ERROR(MakeForTools(parts.parent(), kCopyDirectory, parts.identity_));
    ASSIGN_OR_RETURN(lower.root, sys::OpenBeneath(parts.parent(), kCopyDirectory,
                                                  O_PATH | O_DIRECTORY, sys::Links::kRefuse));
  } else {
    ASSIGN_OR_RETURN(lower, ProjectLower(choice.project));
  }
  parts.lowers_.push_back(std::move(lower));
  return parts;
}

projects::UpperFormat ViewParts::format() const {
  return record_ ? record_->format : projects::UpperFormat::kPlain;
}

projects::Upper ViewParts::upper() const {
  return {.root = upper_.get(), .format = format(), .owner = {identity_.uid, identity_.gid}};
}

std::vector<projects::LayerView> ViewParts::lower_layers() const {
  std::vector<projects::LayerView> layers;
  for (const ViewLower& lower : lowers_) layers.push_back({lower.root.get(), lower.format});
  return layers;
}

sandbox::OverlaySpec ViewParts::overlay_spec() const {
  sandbox::OverlaySpec spec;
  spec.parent = parent_path_;
  spec.upper = paths_.upper;
  spec.work = paths_.work;
  spec.identity = identity_;
  for (const ViewLower& lower : lowers_) spec.lowers.push_back({lower.path, lower.owner});
  return spec;
}

Result<bool> ViewParts::upper_is_empty() const {
  ASSIGN_OR_RETURN(const sys::UniqueFd directory,
                   sys::OpenAt(upper_.get(), ".", O_RDONLY | O_DIRECTORY));
  ASSIGN_OR_RETURN(const std::vector<std::string> names, sys::ListDirectory(directory.get()));
  return names.empty();
}

}  // namespace cofferdam::platform
