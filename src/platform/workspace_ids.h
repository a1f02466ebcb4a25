// A workspace's own host ids: who gets which, and that its files belong to them.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/error.h"
#include "platform/directory_lock.h"
#include "platform/platform_db.h"
#include "sandbox/spec.h"

namespace cofferdam::platform {

/// The first uid and the first gid of a workspace's range, under which its tools run; nothing where
/// there are no ranges, since the host is an ordinary user's or maps too few ids: then
/// sandbox::ToolIdentity() is everybody's.
using OwnIdentity = std::optional<sandbox::HostIdentity>;

/// Thread-safe. The steps that make, move and remove a folder are the caller's (StateDirectory); it
/// holds the exclusive DirectoryLock on the folder from before Take or Move until the last of them,
/// so that after a crash at any point what is in use can be told from what is left over.
class WorkspaceIds {
 public:
  /// `workspaces` is the open directory of all folders; a new database learns from them which
  /// ranges are in use. Errors as PlatformDb::Open.
  static Result<WorkspaceIds> Open(const std::string& state_directory,
                                   const std::string& platform_id, int workspaces);

  /// For a workspace that is being made in `folder`, before anything in it belongs to the ids.
  Result<OwnIdentity> Take(const std::string& workspace, const std::string& folder) const;
  /// The folder is about to be renamed, or was.
  Status Move(const std::string& from, const std::string& to) const;
  /// Nothing is left of the folder.
  Status Release(const std::string& folder) const;

  /// The ids of a workspace whose open folder is `folder`, and its files belong to them. A
  /// workspace without a range, as one that an older version made, gets one now, and so do its
  /// files. kBusy while its files would have to change hands and somebody works with them.
  Result<OwnIdentity> Settle(int workspaces, const std::string& workspace, int folder) const;

  /// After a crash: frees what belongs to folders that are gone from `workspaces`. What cannot be
  /// told yet keeps its range.
  Status ReleaseLost(int workspaces) const;

 private:
  WorkspaceIds(std::unique_ptr<PlatformDb> db, std::string platform_id)
      : db_(std::move(db)), platform_id_(std::move(platform_id)) {}
  Status LearnFromFiles(int workspaces) const;
  // Either nobody else works with the folder now, or there is nothing to do any more.
  struct Alone {
    OwnIdentity settled;
    std::optional<DirectoryLock> lock;
  };
  Result<Alone> WaitUntilAlone(const std::string& workspace, int folder) const;
  Result<OwnIdentity> Settled(const std::string& workspace, int folder) const;
  Result<std::uint32_t> FindOrTake(int workspaces, const std::string& workspace,
                                   const IdSpace& space) const;

  std::unique_ptr<PlatformDb> db_;
  std::string platform_id_;
};

}  // namespace cofferdam::platform
