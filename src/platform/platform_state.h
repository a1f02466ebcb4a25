// What the handles of the public API share: one object for an open platform, one for an open
// workspace.
#pragma once

#include <sys/stat.h>

#include <condition_variable>
#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>

#include <cofferdam/platform.h>

#include "base/clock.h"
#include "crypto/secret.h"
#include "model/provider.h"
#include "net/http_client.h"
#include "platform/directory_lock.h"
#include "platform/kept_sandboxes.h"
#include "platform/session_turns.h"
#include "platform/state_directory.h"
#include "platform/view.h"
#include "platform/workspace_ids.h"
#include "policy/admission.h"
#include "sandbox/disk_watch.h"
#include "sandbox/launcher.h"
#include "sys/fd.h"

namespace cofferdam {

/// Thread-safe. Workspaces and runs keep it alive.
class Platform::State : public std::enable_shared_from_this<Platform::State> {
 public:
  /// `slots`: of admission, at least 1.
  State(platform::StateDirectory directory, Settings settings,
        std::map<std::string, crypto::SecretString> api_keys, std::size_t slots);

  const platform::StateDirectory& directory() const { return directory_; }
  const Settings& settings() const { return settings_; }
  const Clock& clock() const { return clock_; }
  policy::Admission& admission() { return admission_; }
  platform::KeptSandboxes& kept() { return kept_; }
  /// Counts what the sandboxes of this platform write; its thread ends with this object.
  sandbox::DiskWatch& disk_watch() { return disk_watch_; }

  /// The open workspace of that name; the same object for everybody who asks while it is in use.
  Result<std::shared_ptr<Workspace::State>> OpenWorkspace(const std::string& id);
  /// Makes the next OpenWorkspace begin anew, after the workspace was deleted.
  void Forget(const std::string& id);

  /// The launcher, started on first use. An error is not remembered: the cause may be gone next
  /// time.
  Result<sandbox::Launcher*> Launcher();
  /// A provider for one run.
  Result<std::unique_ptr<model::Provider>> MakeProvider(const Settings& settings,
                                                        const std::string& script);

 private:
  std::shared_ptr<Workspace::State> FindOpen(const std::string& id, const struct stat& folder);

  const platform::StateDirectory directory_;
  const Settings settings_;
  const std::map<std::string, crypto::SecretString> api_keys_;
  const SystemClock clock_;
  policy::Admission admission_;
  sandbox::DiskWatch disk_watch_{sandbox::kDiskInterval};

  std::mutex mutex_;
  // Guarded by mutex_.
  std::unique_ptr<sandbox::Launcher> launcher_;
  std::unique_ptr<net::HttpClient> http_;
  std::map<std::string, std::weak_ptr<Workspace::State>> workspaces_;

  platform::KeptSandboxes kept_;  // last: its sandboxes need the launcher
};

/// Thread-safe.
class Workspace::State {
 public:
  State(std::shared_ptr<Platform::State> platform, std::string id, sys::UniqueFd folder,
        platform::OwnIdentity identity, Settings settings)
      : platform_(std::move(platform)),
        id_(std::move(id)),
        folder_(std::move(folder)),
        identity_(identity),
        settings_(std::move(settings)) {}

  Platform::State& platform() const { return *platform_; }
  const std::string& id() const { return id_; }
  /// O_PATH.
  int folder() const { return folder_.get(); }
  std::string path() const;
  /// For every sandbox of it.
  const platform::OwnIdentity& identity() const { return identity_; }
  platform::SessionTurns& turns() { return turns_; }
  platform::Views& views() { return views_; }

  Settings settings() const;
  Status SetSettings(const Settings& settings);

  /// Tells other processes, as long as somebody holds it, that the workspace is in use. The same
  /// for all, so that a run that waits costs one descriptor less. kBusy while it is being deleted.
  Result<std::shared_ptr<platform::DirectoryLock>> Use();

  /// Counts a run as alive until `Ended` is called with the same id.
  void Started(const std::string& run_id, std::stop_source stop);
  void Ended(const std::string& run_id);
  /// Cancels every living run and waits until none is left.
  void EndRuns();

 private:
  const std::shared_ptr<Platform::State> platform_;
  const std::string id_;
  const sys::UniqueFd folder_;
  const platform::OwnIdentity identity_;
  platform::SessionTurns turns_;
  platform::Views views_;

  mutable std::mutex mutex_;
  std::condition_variable run_ended_;
  // Guarded by mutex_.
  Settings settings_;
  std::map<std::string, std::stop_source> runs_;
  std::weak_ptr<platform::DirectoryLock> in_use_;
};

}  // namespace cofferdam
