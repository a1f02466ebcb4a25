// Walking a tree that somebody hostile has made, and may still be changing. By descriptor only:
// no name is ever looked up through a symlink, or through anything that was swapped in between.
#pragma once

#include <sys/stat.h>

#include <functional>
#include <stop_token>
#include <string>

#include "base/error.h"
#include "projects/node.h"
#include "sys/fd.h"

namespace cofferdam::projects {

/// What the walk stands before. Borrowed for the call of the visitor.
struct TreeEntry {
  /// From the root on.
  const std::string& path;
  /// The directory that holds it, O_PATH, and its name there.
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
/// Mount points are not entered. Deep trees cost no stack and a bounded number of descriptors.
/// kCancelled; an error of the visitor ends the walk and is its result.
Status WalkTree(int root, const TreeVisitor& visit, const std::stop_token& stop = {});

/// The node of that name, as `format` says what it means. `info` is its lstat.
/// kNotFound when it has vanished or is something else by now.
Result<Node> ReadNode(int parent, const std::string& name, const struct stat& info,
                      UpperFormat format);

/// Opens a regular file of that name for reading, without following a symlink and without blocking
/// on what is no file. kNotFound when it is not the one of `info` any more.
Result<sys::UniqueFd> OpenFile(int parent, const std::string& name, const struct stat& info);

/// The stamp of a file whose lstat is `info`. `now_nanos` is the real-time clock before the lstat: a
/// file that was changed just then gets a stamp that fits nothing, since the kernel's clock is
/// coarse and the next change might leave the same time.
Stamp StampOf(const struct stat& info, std::int64_t now_nanos);

/// A path for a person: control bytes and what is no UTF-8 as \xNN, at most 4096 bytes.
std::string PathForPerson(const std::string& path);

}  // namespace cofferdam::projects
