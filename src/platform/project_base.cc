#include "platform/project_base.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "projects/tree_copy.h"
#include "storage/atomic_file.h"
#include "sys/file.h"

namespace cofferdam::platform {
namespace {

constexpr std::size_t kMaxBaseBytes = std::size_t{1} << 30;

std::string BasePath(const std::string& workspace, const std::string& view) {
  return workspace + "/checkpoints/base-" + view;
}

Status RemoveBase(const std::string& path) {
  if (::unlink(path.c_str()) == 0 || errno == ENOENT) return {};
  return ErrnoError(errno, "removing " + path);
}

/// Makes the copy what the project is now. What is neither a file nor a directory nor a link, and
/// what cannot be read, is not in it.
Status CopyProject(int project, const ViewParts& parts, const std::stop_token& stop) {
  ASSIGN_OR_RETURN(const sys::UniqueFd copy,
                   sys::OpenAt(parts.lowers().back().root.get(), ".", O_RDONLY | O_DIRECTORY));
  ASSIGN_OR_RETURN(const std::vector<std::string> old, sys::ListDirectory(copy.get()));
  for (const std::string& name : old) RETURN_IF_ERROR(sys::RemoveTree(copy.get(), name));
  ASSIGN_OR_RETURN(const struct stat info, sys::Stat(project));
  const projects::NewOwner owner{.from = {info.st_uid, info.st_gid},
                                 .to = {parts.identity().uid, parts.identity().gid}};
  RETURN_IF_ERROR(
      projects::CopyTree({project, projects::UpperFormat::kPlain}, copy.get(), owner, stop));
  if (::syncfs(copy.get()) != 0) return ErrnoError(errno, "syncing the copy of the project");
  return {};
}

/// Checkpoints from before are of changes to another project: to go back to them and apply would
/// overwrite what its owner has changed since.
Status BeginAnew(const ViewParts& parts, projects::Checkpoints& checkpoints) {
  ASSIGN_OR_RETURN(const auto before, checkpoints.List(parts.view()));
  const bool none = std::ranges::none_of(before, [&before](const projects::Checkpoint& one) {
    return one.epoch == before.back().epoch && one.changed > 0;
  });
  if (none) return {};
  return checkpoints.BeginEpoch(parts.view(), {.reason = "project_changed"});
}

}  // namespace

Result<projects::BaseIndex> ReadBase(const std::string& workspace, const std::string& view) {
  const std::string path = BasePath(workspace, view);
  ASSIGN_OR_RETURN(const std::string bytes, sys::ReadFile(path, kMaxBaseBytes));
  auto base = projects::BaseIndex::Decode(bytes);
  if (!base) return std::unexpected(base.error().With(path));
  return base;
}

// Without an index everything is done again, so it goes first.
Status ForgetBase(const std::string& workspace, const std::string& view,
                  projects::Checkpoints& checkpoints) {
  RETURN_IF_ERROR(RemoveBase(BasePath(workspace, view)));
  return checkpoints.ForgetBases(view);
}

Status PrepareBase(const std::string& workspace, const ViewParts& parts,
                   projects::Checkpoints& checkpoints, const std::stop_token& stop) {
  if (parts.choice().project.empty()) return {};
  const std::string path = BasePath(workspace, parts.view());
  const auto known = ReadBase(workspace, parts.view());
  ASSIGN_OR_RETURN(const bool empty, parts.upper_is_empty());
  if (!empty) return known ? Status() : std::unexpected(known.error());
  ASSIGN_OR_RETURN(const sys::UniqueFd project,
                   sys::Open(parts.choice().project, O_PATH | O_DIRECTORY | O_NOFOLLOW));
  ASSIGN_OR_RETURN(const projects::BaseIndex now, projects::BaseIndex::Scan(project.get(), stop));
  if (known && projects::CompareBases(*known, now).empty()) return {};
  RETURN_IF_ERROR(BeginAnew(parts, checkpoints));
  RETURN_IF_ERROR(ForgetBase(workspace, parts.view(), checkpoints));
  if (parts.choice().mode == projects::ProjectMode::kCopy)
    RETURN_IF_ERROR(CopyProject(project.get(), parts, stop));
  return storage::WriteFileAtomically(path, now.Encode(), 0600);
}

}  // namespace cofferdam::platform
