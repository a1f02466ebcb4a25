// The hard limit where the file system has no quota: a workspace's files in a file system of their
// own, ext4 in the sparse file "files.img" of the workspace's folder, on a loop device.
//
// It is mounted for one sandbox at a time, never at a place of the host's tree: a mount that is
// attached nowhere goes to the launcher, and is gone with the last sandbox that has it. The loop
// device lets go of the file by itself then, so a host that dies leaves nothing behind. All users
// of one image share one device, which is found by the file that it shows.
//
// What is in the image is a tenant's. Its bytes are written by this machine's kernel and mke2fs
// only: no sandbox can reach the image, so the file system is not one that a tenant has made up.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "base/error.h"
#include "sandbox/spec.h"
#include "sys/fd.h"

namespace cofferdam::sandbox {

inline constexpr char kImageName[] = "files.img";
/// Smaller ones are no use: the file system needs some of it.
inline constexpr std::uint64_t kMinImageBytes = std::uint64_t{16} << 20;

/// Whether images can be made and mounted here. kUnsupported says what is missing, and the hint how
/// to get it.
Status CheckDiskImage();

/// The image of a workspace folder, when it has one: then its files are in there.
struct DiskImage {
  std::uint64_t bytes = 0;
  /// What it takes of the disk on which it lies.
  std::uint64_t allocated_bytes = 0;
};
Result<std::optional<DiskImage>> FindDiskImage(int folder);

/// Makes an image of that size with the directories "work" and "home", which belong to `owner`. It
/// is there whole or not at all. kAlreadyExists.
Status MakeDiskImage(int folder, std::uint64_t bytes, HostIdentity owner);

/// Mounts for one sandbox, attached nowhere; nosuid and nodev.
struct DiskMounts {
  std::shared_ptr<const sys::UniqueFd> work;
  std::shared_ptr<const sys::UniqueFd> home;
};
/// Attaches the image, which is checked and, when `bytes` is more than it has, grown first, unless
/// a sandbox uses it already. kCorrupt for one that cannot be repaired; it is left as it is.
Result<DiskMounts> MountDiskImage(int folder, std::uint64_t bytes);

}  // namespace cofferdam::sandbox
