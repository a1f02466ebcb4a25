// Opening files beneath a directory that is already open, so that no name given by a tenant can
// lead out of it, and directories as owned objects.
#pragma once

#include <sys/stat.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "sys/fd.h"

namespace cofferdam::sys {

/// How far a path may lead. Both forms refuse magic links (/proc/*/fd).
enum class Links {
  kBeneath,  // symlinks are followed as long as everything stays beneath the directory
  kRefuse,   // no symlink at all
};

/// openat2(2). `path` is relative to `directory` and may not leave it: "..", absolute paths and
/// symlinks that lead out are ErrorCode::kPermissionDenied. O_CLOEXEC is always set.
Result<UniqueFd> OpenBeneath(int directory, const std::string& path, int flags, Links links,
                             mode_t mode = 0);

/// Opens one name in a directory, which may be anybody's: no symlink is followed and no mount is
/// entered (sys_errno says which: ELOOP, EXDEV). Does not block on a fifo. O_CLOEXEC is always set.
Result<UniqueFd> OpenEntry(int directory, const std::string& name, int flags);

/// openat(2) for paths that the caller trusts. O_CLOEXEC is always set.
Result<UniqueFd> Open(const std::string& path, int flags, mode_t mode = 0);
Result<UniqueFd> OpenAt(int directory, const std::string& path, int flags, mode_t mode = 0);

/// open(2) for paths that somebody else has named, below whatever is the root: symlinks are
/// followed, but no magic link (/proc/*/fd, /proc/*/exe), which would lead to what the caller has
/// open. O_CLOEXEC is always set.
Result<UniqueFd> OpenNamed(const std::string& path, int flags, mode_t mode = 0);

/// Makes a directory unless it is there; `path` may have missing parents (each gets `mode`).
Status MakeDirectories(const std::string& path, mode_t mode);

/// The whole file, at most `max_bytes`. Meant for /proc, cgroup files and configuration.
Result<std::string> ReadFile(const std::string& path, std::size_t max_bytes = 1 << 20);
Result<std::string> ReadFileAt(int directory, const std::string& path,
                               std::size_t max_bytes = 1 << 20);

/// Opens an existing file for writing and writes `text` in one call, as /proc and cgroup files
/// want.
Status WriteFileAt(int directory, const std::string& path, std::string_view text);

/// Entry names without "." and "..", unordered.
Result<std::vector<std::string>> ListDirectory(int directory);

Result<struct stat> Stat(int fd);

/// Removes `name` below `directory` and all in it, however deep it is and whatever rights it takes
/// from its owner; never follows a symlink, never leaves the file system by a mount point it meets.
/// An absent name is success.
Status RemoveTree(int directory, const std::string& name);

struct Owner {
  uid_t uid;
  gid_t gid;
};

/// Gives what belongs to the owner of the directory `name` below `directory` to `to`: the directory
/// and all in it, its uid and its gid each. What belongs to others stays theirs. Never follows a
/// symlink, never leaves the file system by a mount point it meets. The directory itself comes
/// last: while it has its old owner the work is not complete, and can be done again.
Status GiveTree(int directory, const std::string& name, Owner to);

}  // namespace cofferdam::sys
