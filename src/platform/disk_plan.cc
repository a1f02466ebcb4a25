#include "platform/disk_plan.h"

#include <fcntl.h>

#include "base/check.h"
#include "platform/effective.h"
#include "sandbox/disk_image.h"
#include "sandbox/disk_quota.h"
#include "sys/file.h"

namespace cofferdam::platform {
namespace {

constexpr char kHard[] = "hard";

/// The two directories that a sandbox of the workspace can write.
struct Folders {
  sys::UniqueFd work;
  sys::UniqueFd home;
  std::vector<int> all() const { return {work.get(), home.get()}; }
};

Result<Folders> OpenFolders(int workspace) {
  constexpr int kFlags = O_RDONLY | O_DIRECTORY;
  Folders folders;
  ASSIGN_OR_RETURN(folders.work,
                   sys::OpenBeneath(workspace, "files/work", kFlags, sys::Links::kRefuse));
  ASSIGN_OR_RETURN(folders.home,
                   sys::OpenBeneath(workspace, "files/home", kFlags, sys::Links::kRefuse));
  return folders;
}

Status CheckEmpty(const Folders& folders) {
  for (const int folder : folders.all()) {
    ASSIGN_OR_RETURN(const std::vector<std::string> names, sys::ListDirectory(folder));
    if (!names.empty())
      return Err(ErrorCode::kBusy, "the workspace has files already, which are not moved");
  }
  return {};
}

Status CheckQuotaFor(const Folders& folders) {
  RETURN_IF_ERROR(sandbox::CheckProjectQuota(folders.work.get()));
  ASSIGN_OR_RETURN(const std::uint32_t project, sandbox::ProjectOf(folders.work.get()));
  return project != 0 ? Status() : CheckEmpty(folders);
}

Status CheckImageFor(const Folders& folders) {
  RETURN_IF_ERROR(sandbox::CheckDiskImage());
  return CheckEmpty(folders);
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

std::vector<std::string> Roots(const Workspace::State& workspace) {
  return {workspace.path() + "/files/work", workspace.path() + "/files/home"};
}

Result<std::uint64_t> UsedBytes(const Workspace::State& workspace, DiskMechanism mechanism,
                                const Folders& folders) {
  if (mechanism == DiskMechanism::kProjectQuota) {
    const auto usage = sandbox::ProjectUsage(folders.work.get());
    if (usage) return usage->bytes;
    // Before its first run it has no project yet.
    if (usage.error().code != ErrorCode::kNotFound) return std::unexpected(usage.error());
  }
  ASSIGN_OR_RETURN(auto count, sandbox::DiskCount::Begin(Roots(workspace), {}, UINT64_MAX));
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
  return DiskPlan(workspace.platform().disk_watch(), mechanism, bytes, Roots(workspace));
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
