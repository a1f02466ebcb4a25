#include "sandbox/disk_quota.h"

#include <fcntl.h>
#include <linux/dqblk_xfs.h>
#include <linux/fs.h>
#include <linux/quota.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "sys/file.h"

namespace cofferdam::sandbox {
namespace {

constexpr char kRemedy[] =
    "ext4: make it with mkfs.ext4 -O project,quota and mount it with prjquota; XFS: mount it with "
    "prjquota; and run as root";
/// Some number is free in so many tries, or somebody has taken them on purpose.
constexpr std::uint32_t kTries = 64;

int Quota(int directory, unsigned command, std::uint32_t project, void* data) {
  const long done = ::syscall(SYS_quotactl_fd, directory, QCMD(command, PRJQUOTA), project, data);
  return done == 0 ? 0 : errno;
}

Result<if_dqblk> ReadProject(int directory, std::uint32_t project) {
  if_dqblk block{};
  const int error_number = Quota(directory, Q_GETQUOTA, project, &block);
  // XFS says so of a project that was never used.
  if (error_number == ENOENT) return if_dqblk{};
  if (error_number != 0) return ErrnoError(error_number, "reading a project quota");
  return block;
}

Status WriteLimit(int directory, std::uint32_t project, std::uint64_t bytes) {
  if_dqblk block{};
  block.dqb_bhardlimit = bytes / QIF_DQBLKSIZE;
  block.dqb_ihardlimit = bytes / kBytesPerFile;
  block.dqb_valid = QIF_LIMITS;
  if (const int error_number = Quota(directory, Q_SETQUOTA, project, &block))
    return ErrnoError(error_number, "setting a project quota");
  ASSIGN_OR_RETURN(const if_dqblk seen, ReadProject(directory, project));
  if (seen.dqb_bhardlimit == block.dqb_bhardlimit && seen.dqb_ihardlimit == block.dqb_ihardlimit)
    return {};
  return Err(ErrorCode::kNotVerified, "a project quota is not what was set");
}

Result<std::uint32_t> FreeProject(int directory) {
  ASSIGN_OR_RETURN(const struct stat info, sys::Stat(directory));
  for (std::uint32_t i = 0; i < kTries; ++i) {
    const auto project = static_cast<std::uint32_t>(info.st_ino) + i;
    if (project == 0) continue;
    ASSIGN_OR_RETURN(const if_dqblk block, ReadProject(directory, project));
    if (block.dqb_curspace == 0 && block.dqb_curinodes == 0) return project;
  }
  return Err(ErrorCode::kBusy, "the numbers of projects that could be ours are in use");
}

Status Join(int directory, std::uint32_t project) {
  fsxattr attributes{};
  if (::ioctl(directory, FS_IOC_FSGETXATTR, &attributes) != 0)
    return ErrnoError(errno, "reading a directory's project");
  const bool inherits = (attributes.fsx_xflags & FS_XFLAG_PROJINHERIT) != 0;
  if (attributes.fsx_projid == project && inherits) return {};
  ASSIGN_OR_RETURN(const std::vector<std::string> names, sys::ListDirectory(directory));
  if (!names.empty())
    return Err(ErrorCode::kBusy, "there are files already that belong to no project");
  attributes.fsx_projid = project;
  attributes.fsx_xflags |= FS_XFLAG_PROJINHERIT;
  if (::ioctl(directory, FS_IOC_FSSETXATTR, &attributes) != 0)
    return ErrnoError(errno, "giving a directory a project");
  return {};
}

std::unexpected<Error> Unsupported(const std::string& why) {
  return Err(ErrorCode::kUnsupported, "there is no project quota here: " + why, kRemedy);
}

}  // namespace

Status CheckProjectQuota(int directory) {
  if (::geteuid() != 0) return Unsupported("only root can set one");
  fs_quota_stat state{};
  const int error_number = Quota(directory, Q_XGETQSTAT, 0, &state);
  if (error_number == ENOSYS || error_number == ESRCH)
    return Unsupported("the kernel or the file system has none, or it is not mounted with one");
  if (error_number != 0) return Unsupported(ErrnoError(error_number, "asking").error().message);
  if ((state.qs_flags & FS_QUOTA_PDQ_ACCT) == 0) return Unsupported("it is not mounted with one");
  if ((state.qs_flags & FS_QUOTA_PDQ_ENFD) == 0)
    return Unsupported("it is counted but not enforced");
  return {};
}

Result<std::uint32_t> ProjectOf(int directory) {
  fsxattr attributes{};
  if (::ioctl(directory, FS_IOC_FSGETXATTR, &attributes) == 0) return attributes.fsx_projid;
  if (errno == ENOTTY || errno == EOPNOTSUPP) return 0;
  return ErrnoError(errno, "reading a directory's project");
}

Status LimitByProject(const std::vector<int>& directories, std::uint64_t bytes) {
  ASSIGN_OR_RETURN(std::uint32_t project, ProjectOf(directories.front()));
  if (project == 0) {
    ASSIGN_OR_RETURN(project, FreeProject(directories.front()));
  }
  // The limit first: nothing is in the project yet, or it is in force anyway.
  RETURN_IF_ERROR(WriteLimit(directories.front(), project, bytes));
  for (const int directory : directories) RETURN_IF_ERROR(Join(directory, project));
  return {};
}

Result<DiskUsage> ProjectUsage(int directory) {
  ASSIGN_OR_RETURN(const std::uint32_t project, ProjectOf(directory));
  if (project == 0) return Err(ErrorCode::kNotFound, "the directory has no project");
  ASSIGN_OR_RETURN(const if_dqblk block, ReadProject(directory, project));
  return DiskUsage{.bytes = block.dqb_curspace, .files = block.dqb_curinodes};
}

}  // namespace cofferdam::sandbox
