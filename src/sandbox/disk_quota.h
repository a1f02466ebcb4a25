// The kernel's own limit for a directory tree: project quota, as ext4 and XFS have it. The kernel
// counts everything (blocks, inodes, what is deleted but open) and refuses what is beyond.
//
// A project is a number. Ours is taken from the inode number of the tree's first directory, which
// nobody else has on its file system; it stands in the directories themselves and is inherited by
// all that is made below. Inside a sandbox it cannot be changed: the kernel lets only the initial
// user namespace do that.
//
// Safe to use from any thread.
#pragma once

#include <cstdint>
#include <vector>

#include "base/error.h"
#include "sandbox/disk_usage.h"

namespace cofferdam::sandbox {

/// Whether project quotas are enforced where `directory` is, and this process may set them.
/// kUnsupported says what is missing, and the hint how to get it.
Status CheckProjectQuota(int directory);

/// The project of a directory; 0 is none.
Result<std::uint32_t> ProjectOf(int directory);

/// Gives all of `directories` one project, unless they have it, and the project a limit: so many
/// bytes, and a file for each kBytesPerFile of them. 0 takes the limit away. Descriptors of one
/// file system, open for reading. A directory that has no project yet must be empty: kBusy.
Status LimitByProject(const std::vector<int>& directories, std::uint64_t bytes);

/// What the kernel has counted for the project of `directory`. kNotFound without one.
Result<DiskUsage> ProjectUsage(int directory);

}  // namespace cofferdam::sandbox
