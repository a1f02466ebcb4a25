// Walking a tree that somebody hostile has made, and may still be changing. By descriptor only:
// no name is ever looked up through a symlink, or through anything that was swapped in between.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "projects/node.h"
#include "sys/fd.h"

namespace cofferdam::projects {

/// What the walk stands before. Borrowed for the call of the visitor.
struct TreeEntry {
  /// From the root on. Of any length: a tree may be deeper than a path can be long.
  const std::string& path;
  /// The directory that holds it, and its name there.
  int parent;
  const std::string& name;
  /// As lstat says it.
  const struct stat& info;
};

enum class Descend { kYes, kNo };
using TreeVisitor = std::function<Result<Descend>(const TreeEntry& entry)>;

/// Calls `visit` for everything below `root` (a directory's descriptor, O_PATH is enough), a
/// directory before what is in it, names in the order of their bytes. What has vanished or has been
/// swapped for something else since its name was read is left out, as if it had never been there.
/// Mount points are visited, and not entered. Deep trees cost no stack and a bounded number of
/// descriptors. A directory that this process may not read is visited and its path then given to
/// `unreadable`; without one it ends the walk with kPermissionDenied. kCancelled; an error of the
/// visitor ends the walk and is its result.
Status WalkTree(int root, const TreeVisitor& visit, const std::stop_token& stop = {},
                const std::function<void(const std::string& path)>& unreadable = {});

/// The node of that name, as `format` says what it means. `info` is its lstat.
/// kNotFound when it has vanished or is something else by now; kCorrupt for a directory whose
/// redirect no overlay would have written; kPermissionDenied when it may not be read.
Result<Node> ReadNode(int parent, const std::string& name, const struct stat& info,
                      UpperFormat format);

/// Opens a regular file of that name for reading, without following a symlink and without blocking
/// on what is no file. kNotFound when it is not the one of `info` any more.
Result<sys::UniqueFd> OpenFile(int parent, const std::string& name, const struct stat& info);

/// Opens a directory of that name so that it can be listed and its attributes be read. kNotFound
/// when it is not the one of `info` any more; kBusy when something is mounted on it.
Result<sys::UniqueFd> OpenDirectory(int parent, const std::string& name, const struct stat& info);

/// The names in a directory (O_PATH is not enough), in the order of their bytes.
Result<std::vector<std::string>> SortedNames(int directory);

/// ReadNode of a directory that is open already.
Result<Node> ReadDirectory(int directory, const struct stat& info, UpperFormat format);

/// Whether a directory can have something of that name: not empty, "." or "..", no slash, no NUL,
/// at most 255 bytes.
bool IsName(std::string_view name);

/// The real-time clock.
std::int64_t RealTimeNanos();

/// A file that was changed so shortly before a look may be changed again without its ctime becoming
/// another: the kernel's clock is coarse.
inline constexpr std::int64_t kStampSettleNanos = 20'000'000;

/// The stamp of a file whose lstat is `info`. `now_nanos` is RealTimeNanos() before the lstat: a
/// file that was changed just then gets a stamp that fits nothing.
Stamp StampOf(const struct stat& info, std::int64_t now_nanos);

/// Whether a file with the one stamp is what it was when it had the other.
bool StampsFit(const Stamp& a, const Stamp& b);

/// A path for a person: what a terminal would act upon, what is no UTF-8, and a backslash as \xNN,
/// so that no two paths look the same; at most 4096 bytes, a longer one ends in "...".
std::string PathForPerson(const std::string& path);

}  // namespace cofferdam::projects
