// Copying a tree that somebody hostile has made. By descriptor only; what cannot be copied is
// named.
#pragma once

#include <stop_token>
#include <vector>

#include "base/error.h"
#include "projects/changes.h"
#include "projects/merged_tree.h"
#include "projects/node.h"
#include "sys/file.h"

namespace cofferdam::projects {

/// Whose the copies of the files of `from` are; the files of others stay theirs. Somebody who is
/// not the superuser owns all copies.
struct NewOwner {
  sys::Owner from;
  sys::Owner to;
};

/// Copies everything below `from` into the empty directory `to`, which nobody else writes, and
/// gives that the mode and time of `from`. Contents (a reflink where it can be had, holes as
/// holes), symlinks, whiteouts and what makes a directory opaque or redirected as `format` says it,
/// permissions, times, attributes user.*; never setuid, setgid or sticky bits, access lists,
/// capabilities of files. Hard links come apart. Devices, fifos, sockets and files that cannot be
/// read are left out and named. Nothing is synced. An error, kCancelled too, leaves what is copied.
Result<std::vector<LeftOut>> CopyTree(const LayerView& from, int to, const NewOwner& owner,
                                      const std::stop_token& stop = {});

/// The same with what layers show together; `owners` has one for each. The copy is
/// UpperFormat::kPlain.
Result<std::vector<LeftOut>> CopyMergedTree(const std::vector<LayerView>& layers, int to,
                                            const std::vector<NewOwner>& owners,
                                            const std::stop_token& stop = {});

}  // namespace cofferdam::projects
