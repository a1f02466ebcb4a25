#include "platform/disk_plan.h"

#include <fcntl.h>
#include <unistd.h>

#include <utility>

#include "base/check.h"
#include "platform/effective.h"
#include "projects/view.h"
#include "sandbox/disk_image.h"
#include "sandbox/disk_quota.h"
#include "sys/file.h"

namespace cofferdam::platform {
namespace {

constexpr char kHard[] = "hard";

/// The directories that sandboxes of the workspace can write: two of its own, and for each project
/// that they have seen the one that takes their changes.
struct Folders {
  sys::UniqueFd work;
  sys::UniqueFd home;
  /// With those in which the kernel prepares what comes into another.
  std::vector<sys::UniqueFd> of_overlays;

  std::vector<int> own() const { return {work.get(), home.get()}; }
  std::vector<int> all() const {
    std::vector<int> fds = own();
    for (const sys::UniqueFd& fd : of_overlays) fds.push_back(fd.get());
    return fds;
  }
};

constexpr int kFolderFlags = O_RDONLY | O_DIRECTORY;

/// The views of projects that are there, by name.
Result<std::vector<std::string>> ProjectViews(int workspace) {
  const auto projects =
      sys::OpenBeneath(workspace, "files/projects", kFolderFlags, sys::Links::kRefuse);
  if (!projects && projects.error().code == ErrorCode::kNotFound) return std::vector<std::string>();
  if (!projects) return std::unexpected(projects.error());
  return sys::ListDirectory(projects->get());
}

/// Opens it when it is there.
Status OpenOneMore(int workspace, const std::string& path, std::vector<sys::UniqueFd>& folders) {
  auto folder = sys::OpenBeneath(workspace, path, kFolderFlags, sys::Links::kRefuse);
  if (folder) folders.push_back(std::move(*folder));
  if (folder || folder.error().code == ErrorCode::kNotFound) return {};
  return std::unexpected(folder.error());
}

Result<Folders> OpenFolders(int workspace) {
  Folders folders;
  ASSIGN_OR_RETURN(folders.work,
                   sys::OpenBeneath(workspace, "files/work", kFolderFlags, sys::Links::kRefuse));
  ASSIGN_OR_RETURN(folders.home,
                   sys::OpenBeneath(workspace, "files/home", kFolderFlags, sys::Links::kRefuse));
  std::vector<projects::ViewPaths> overlays = {projects::PathsOf(projects::kWorkView)};
  ASSIGN_OR_RETURN(const std::vector<std::string> views, ProjectViews(workspace));
  for (const std::string& view : views) overlays.push_back(projects::PathsOf(view));
  for (const projects::ViewPaths& paths : overlays) {
    if (paths.upper != "work")
      RETURN_IF_ERROR(
          OpenOneMore(workspace, paths.parent + "/" + paths.upper, folders.of_overlays));
    RETURN_IF_ERROR(OpenOneMore(workspace, paths.parent + "/" + paths.work, folders.of_overlays));
  }
  return folders;
}

Status CheckEmpty(int folder) {
  ASSIGN_OR_RETURN(const std::vector<std::string> names, sys::ListDirectory(folder));
  if (names.empty()) return {};
  return Err(ErrorCode::kBusy, "the workspace has files already, which are not moved");
}

Status CheckQuotaFor(const Folders& folders) {
  RETURN_IF_ERROR(sandbox::CheckProjectQuota(folders.work.get()));
  for (const int folder : folders.all()) {
    ASSIGN_OR_RETURN(const std::uint32_t project, sandbox::ProjectOf(folder));
    if (project == 0) RETURN_IF_ERROR(CheckEmpty(folder));
  }
  return {};
}

Status CheckImageFor(const Folders& folders) {
  RETURN_IF_ERROR(sandbox::CheckDiskImage());
  for (const int folder : folders.own()) RETURN_IF_ERROR(CheckEmpty(folder));
  return {};
}

Result<DiskMechanism> Choose(int workspace, const Folders& folders, const Settings& settings) {
  ASSIGN_OR_RETURN(const auto image, sandbox::FindDiskImage(workspace));
  if (image) return DiskMechanism::kImage;
  if (DiskLimitBytes(settings) == 0) return DiskMechanism::kNone;
  const Status quota = CheckQuotaFor(folders);
  if (quota) return DiskMechanism::kProjectQuota;
  if (settings.disk_limit != kHard) return DiskMechanism::kSoft;
  const Status possible = CheckImageFor(folders);
  if (possible) return DiskMechanism::kImage;
  return Err(
      ErrorCode::kDiskLimit,
      "a hard disk limit cannot be had: " + quota.error().message + "; " + possible.error().message,
      possible.error().code == ErrorCode::kBusy
          ? "make a new workspace with disk_limit=hard and copy the files into it through a "
            "sandbox, or set disk_limit to soft"
          : possible.error().hint + "; or set disk_limit to soft");
}

/// Mounts the image, after making it when it is the first time.
Status UseImage(int workspace, const Folders& folders, std::uint64_t bytes,
                sandbox::SandboxSpec& spec) {
  ASSIGN_OR_RETURN(const auto image, sandbox::FindDiskImage(workspace));
  if (!image) {
    ASSIGN_OR_RETURN(const struct stat info, sys::Stat(folders.work.get()));
    const Status made = sandbox::MakeDiskImage(workspace, bytes, {info.st_uid, info.st_gid});
    // Another run may have made it just now.
    if (!made && made.error().code != ErrorCode::kAlreadyExists) return made;
  }
  ASSIGN_OR_RETURN(const sandbox::DiskMounts mounts, sandbox::MountDiskImage(workspace, bytes));
  for (sandbox::Mount& mount : spec.mounts) {
    if (mount.target == "/workspace") mount.tree = mounts.work;
    if (mount.target == "/home/agent") mount.tree = mounts.home;
  }
  return {};
}

/// A workspace whose limit was taken away keeps its project; the project then has no limit.
Status LiftQuota(const Folders& folders) {
  ASSIGN_OR_RETURN(const std::uint32_t project, sandbox::ProjectOf(folders.work.get()));
  if (project == 0 || !sandbox::CheckProjectQuota(folders.work.get())) return {};
  return sandbox::LimitByProject(folders.all(), 0);
}

Status PutIntoForce(DiskMechanism mechanism, int workspace, const Folders& folders,
                    std::uint64_t bytes, sandbox::SandboxSpec& spec) {
  switch (mechanism) {
    case DiskMechanism::kNone:
      return LiftQuota(folders);
    case DiskMechanism::kSoft:
      return {};
    case DiskMechanism::kProjectQuota:
      return sandbox::LimitByProject(folders.all(), bytes);
    case DiskMechanism::kImage:
      return UseImage(workspace, folders, bytes, spec);
  }
  CHECK(false && "a mechanism that nobody knows");
}

Result<std::vector<std::string>> Roots(const Workspace::State& workspace) {
  std::vector<std::string> roots = {workspace.path() + "/files/work",
                                    workspace.path() + "/files/home"};
  ASSIGN_OR_RETURN(const std::vector<std::string> views, ProjectViews(workspace.folder()));
  for (const std::string& view : views) {
    const projects::ViewPaths paths = projects::PathsOf(view);
    const std::string upper = paths.parent + "/" + paths.upper;
    if (::faccessat(workspace.folder(), upper.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0)
      roots.push_back(workspace.path() + "/" + upper);
  }
  return roots;
}

Result<std::uint64_t> UsedBytes(const Workspace::State& workspace, DiskMechanism mechanism,
                                const Folders& folders) {
  if (mechanism == DiskMechanism::kProjectQuota) {
    const auto usage = sandbox::ProjectUsage(folders.work.get());
    if (usage) return usage->bytes;
    // Before its first run it has no project yet.
    if (usage.error().code != ErrorCode::kNotFound) return std::unexpected(usage.error());
  }
  ASSIGN_OR_RETURN(const std::vector<std::string> roots, Roots(workspace));
  ASSIGN_OR_RETURN(auto count, sandbox::DiskCount::Begin(roots, {}, UINT64_MAX));
  RETURN_IF_ERROR(count.GoOn(Deadline::Never()));
  return count.usage().bytes;
}

}  // namespace

std::string_view DiskMechanismName(DiskMechanism mechanism) {
  switch (mechanism) {
    case DiskMechanism::kNone:
      return "none";
    case DiskMechanism::kSoft:
      return "soft";
    case DiskMechanism::kProjectQuota:
      return "project_quota";
    case DiskMechanism::kImage:
      return "image";
  }
  CHECK(false && "a mechanism without a name");
}

Result<DiskPlan> DiskPlan::Prepare(Workspace::State& workspace, const Settings& settings,
                                   sandbox::SandboxSpec& spec) {
  ASSIGN_OR_RETURN(const Folders folders, OpenFolders(workspace.folder()));
  ASSIGN_OR_RETURN(const DiskMechanism mechanism, Choose(workspace.folder(), folders, settings));
  std::uint64_t bytes = DiskLimitBytes(settings);
  RETURN_IF_ERROR(PutIntoForce(mechanism, workspace.folder(), folders, bytes, spec));
  if (mechanism == DiskMechanism::kImage) {
    ASSIGN_OR_RETURN(const auto image, sandbox::FindDiskImage(workspace.folder()));
    if (image) bytes = image->bytes;
  }
  ASSIGN_OR_RETURN(std::vector<std::string> roots, Roots(workspace));
  return DiskPlan(workspace.platform().disk_watch(), mechanism, bytes, std::move(roots));
}

DiskGuard DiskPlan::Guard(sandbox::LocalSandbox& sandbox) const {
  if (mechanism_ != DiskMechanism::kSoft) return DiskGuard(std::nullopt);
  return DiskGuard(watch_->Watch(sandbox, roots_, bytes_));
}

record::DiskLimit DiskPlan::ForRecord() const {
  return {.mechanism = std::string(DiskMechanismName(mechanism_)),
          .bytes = static_cast<std::int64_t>(bytes_)};
}

Result<DiskInfo> DescribeDisk(const Workspace::State& workspace, const Settings& settings) {
  ASSIGN_OR_RETURN(const Folders folders, OpenFolders(workspace.folder()));
  DiskInfo info{.limit_bytes = DiskLimitBytes(settings)};
  const auto mechanism = Choose(workspace.folder(), folders, settings);
  if (!mechanism) {
    info.mechanism = "refused";
    info.problem = mechanism.error().message;
    return info;
  }
  info.mechanism = DiskMechanismName(*mechanism);
  ASSIGN_OR_RETURN(const auto image, sandbox::FindDiskImage(workspace.folder()));
  if (image) {
    info.limit_bytes = image->bytes;
    info.used_bytes = image->allocated_bytes;
    return info;
  }
  ASSIGN_OR_RETURN(info.used_bytes, UsedBytes(workspace, *mechanism, folders));
  return info;
}

std::vector<DiskDiagnosis> DiagnoseDisk(const std::string& path) {
  std::vector<DiskDiagnosis> found;
  const auto add = [&found](DiskMechanism mechanism, const Status& status, const char* detail) {
    found.push_back({mechanism, status.has_value(), status ? detail : status.error().message,
                     status ? "" : status.error().hint});
  };
  const auto directory = sys::Open(path, O_RDONLY | O_DIRECTORY);
  const Status opened = directory ? Status() : std::unexpected(directory.error());
  add(DiskMechanism::kProjectQuota, opened ? sandbox::CheckProjectQuota(directory->get()) : opened,
      "the kernel refuses what is beyond the limit");
  add(DiskMechanism::kImage, sandbox::CheckDiskImage(),
      "with disk_limit=hard, where there is no project quota");
  add(DiskMechanism::kSoft, {},
      "files are counted at each turn and every 10 s, and what is over is ended");
  return found;
}

}  // namespace cofferdam::platform
