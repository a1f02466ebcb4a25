// Sandboxes between two runs of a session: frozen, so that they use no processor, and ended when
// nobody has come back in time.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <compare>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/deadline.h"
#include "base/error.h"
#include "sandbox/local_sandbox.h"
#include "sandbox/spec.h"

namespace cofferdam::platform {

/// What a sandbox is made from: what was asked for, and which directories the sources of its mounts
/// were. A sandbox keeps those, whatever a path leads to later.
struct SandboxPlan {
  struct Place {
    dev_t device;
    ino_t inode;
    bool operator==(const Place&) const = default;
  };
  sandbox::SandboxSpec spec = {};
  std::vector<Place> places = {};
  /// What has to stay in use as long as the sandbox is kept.
  std::shared_ptr<const void> in_use = nullptr;

  /// Looks at the sources. An error is of a source that cannot be opened.
  static Result<SandboxPlan> For(sandbox::SandboxSpec spec);
  /// Whether a sandbox of one is as good as a sandbox of the other; only their ids may differ.
  bool Fits(const SandboxPlan& other) const;
};

/// Whose a sandbox is.
struct SandboxOwner {
  std::string workspace;
  std::string session;
  auto operator<=>(const SandboxOwner&) const = default;
};

/// Thread-safe. A thread of its own, which the first kept one starts, ends what is due. The
/// sandboxes' launcher must outlive it.
class KeptSandboxes {
 public:
  using Time = std::chrono::steady_clock::time_point;

  struct Options {
    /// Of all workspaces together; the oldest goes for a new one.
    std::size_t most = 1;
    /// While it says so the oldest goes. Called by every thread that keeps, and now and then while
    /// something is kept.
    std::function<bool()> memory_is_short = [] { return false; };
  };

  explicit KeptSandboxes(Options options) : options_(std::move(options)) {}
  /// Ends all.
  ~KeptSandboxes() = default;
  KeptSandboxes(const KeptSandboxes&) = delete;
  KeptSandboxes& operator=(const KeptSandboxes&) = delete;

  /// Freezes the sandbox, which no operation may be using, and keeps it until `until`. On an error
  /// it is ended: kUnsupported where nothing can be frozen and for one with a Mount::tree, which no
  /// later plan has; kSandboxLost when it has ended already; kBusy while memory is short.
  Status Keep(const SandboxOwner& owner, SandboxPlan plan,
              std::unique_ptr<sandbox::LocalSandbox> sandbox, Time until);

  /// Wakes the owner's sandbox and gives it away. Null when there is none, it was made from another
  /// plan, or it does not answer; in the latter cases it is ended.
  std::unique_ptr<sandbox::LocalSandbox> Take(const SandboxOwner& owner, const SandboxPlan& plan,
                                              Deadline deadline);

  /// Ends all of a workspace.
  void End(const std::string& workspace);
  /// Ends what was kept until `now` or earlier.
  void EndIdle(Time now);

  std::size_t size() const;

 private:
  struct Kept {
    SandboxPlan plan;
    std::unique_ptr<sandbox::LocalSandbox> sandbox;
    Time since;
    Time until;
  };
  using Map = std::map<SandboxOwner, Kept>;

  /// Takes out, and ends outside of the lock, whatever `is_due` says.
  void EndWhere(const std::function<bool(const Map::value_type&)>& is_due);
  /// False when there was none.
  bool EndOldest();
  void Watch(const std::stop_token& stop);

  const Options options_;
  mutable std::mutex mutex_;
  std::condition_variable_any changed_;
  // Guarded by mutex_.
  Map kept_;
  std::uint64_t comings_ = 0;

  std::jthread watcher_;  // last: it uses everything above
};

}  // namespace cofferdam::platform
