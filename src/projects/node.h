// What one name in a tree of files is. Values; pure.
//
// Paths are bytes of any kind, relative to a root, without leading or trailing slash, "." or "..";
// the root itself is the empty path.
#pragma once

#include <cstdint>
#include <string>

namespace cofferdam::projects {

enum class NodeKind : std::uint8_t {
  kFile = 1,
  kDirectory = 2,
  kSymlink = 3,
  /// In an overlay's upper or in one of its layers: what the layers below have of this name is
  /// gone.
  kWhiteout = 4,
  /// A device, a fifo, a socket: never stored and never applied, always named.
  kOther = 5,
};

/// How a directory on the disk says what only an overlay understands.
enum class UpperFormat : std::uint8_t {
  /// No overlay: nothing there is a whiteout, and no attribute means anything.
  kPlain = 1,
  /// Written by an overlay of the superuser's: attributes trusted.overlay.*, which nobody in a
  /// sandbox can forge. user.overlay.* means nothing.
  kTrusted = 2,
  /// Written by an overlay with `userxattr`: user.overlay.*, which the overlay lets nobody set
  /// through it.
  kUser = 3,
};

struct Node {
  NodeKind kind = NodeKind::kOther;
  /// The permission bits of a file or a directory, 0777 at most: no setuid, setgid or sticky bit.
  std::uint32_t mode = 0;
  /// Of a file.
  std::uint64_t size = 0;
  std::int64_t modified_nanos = 0;
  /// Of a symlink: where it points, any bytes.
  std::string target = {};
  /// Of a directory in an upper or a layer: nothing of the layers below shines through.
  bool opaque = false;
  /// Of such a directory: the path that it has in the layers below, when it was renamed: from the
  /// layers' root when it begins with '/', else a name beside it. Empty when it was not.
  std::string redirect = {};

  bool operator==(const Node&) const = default;
};

/// What tells, without reading a file, that nobody has changed it since: what the kernel says of
/// it. A zero `changed_nanos` fits nothing.
struct Stamp {
  std::uint64_t inode = 0;
  std::uint64_t size = 0;
  std::int64_t changed_nanos = 0;  // ctime

  bool operator==(const Stamp&) const = default;
};

}  // namespace cofferdam::projects
