// The host's side of the launcher: starts it, asks it for sandboxes, starts another when it dies.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <span>

#include "base/error.h"
#include "sandbox/cgroup.h"
#include "sandbox/cgroup_pool.h"
#include "sandbox/layers/launch.h"
#include "sandbox/spec.h"
#include "sandbox/zygote_pool.h"
#include "sys/fd.h"
#include "sys/process.h"

namespace cofferdam::sandbox {

/// A sandbox's first process, as its zygote made it.
struct Launched {
  std::optional<Cgroup> cgroup;  // first: it goes when the ends below are closed
  sys::UniqueFd pidfd;
  sys::UniqueFd channel;
  LaunchReply reply{};
  std::uint32_t missing_layers = 0;
  /// The zygote ends when this is closed, which is best done when the sandbox is ready.
  sys::UniqueFd zygote;
};

/// How many zygotes and control groups wait for the next sandboxes; one of each costs about 1.2 MiB
/// of kernel memory. 0: everything is made when it is asked for.
inline constexpr std::size_t kDefaultPoolSize = 16;

/// One launcher process; one of these per platform. Thread-safe. Must outlive its sandboxes; when
/// it is destroyed every sandbox of it ends.
class Launcher {
 public:
  /// Starts the process and lets it prepare the tree. kLayerMissing names the layer, the kernel
  /// setting and the remedy.
  static Result<std::unique_ptr<Launcher>> Start(std::size_t pool_size = kDefaultPoolSize);
  ~Launcher();
  Launcher(const Launcher&) = delete;
  Launcher& operator=(const Launcher&) = delete;

  /// Makes a sandbox. `mounts` as LaunchRequest says. kLayerMissing when a layer cannot be had that
  /// the request does not call optional. When the launcher has died, another is started and asked
  /// once.
  Result<Launched> Launch(const LaunchRequest& request, std::span<const int> mounts,
                          const Limits& limits);

  /// Makes an overlay; the descriptors are as OverlayRequest says. What comes back are a mount
  /// namespace and its root, or with a failed step nothing. When the launcher has died, another is
  /// started and asked once.
  struct Overlay {
    OverlayReply reply{};
    sys::UniqueFd mount_namespace;
    sys::UniqueFd root;
  };
  Result<Overlay> MountOverlay(const OverlayRequest& request, std::span<const int> fds);

  /// Takes the group of a sandbox that has ended, for another one.
  void Recycle(Cgroup cgroup);

  /// Waits until the pool of zygotes is filled. For benches.
  void WaitUntilFilled();

  /// ToolIdentity() as it was when this launcher was started.
  const HostIdentity& tool_identity() const { return tool_identity_; }

  /// The namespaces of the host process, as they were when this launcher was started.
  const NamespaceIds& host_namespaces() const { return host_namespaces_; }

  /// The control groups for sandboxes, or why there are none.
  const Result<CgroupRoot>& cgroups() const { return cgroups_; }

  /// The launcher's process, for tests and diagnosis.
  Result<pid_t> Pid() const;

 private:
  enum class WhenGone { kStartAnother, kFail };

  explicit Launcher(std::size_t pool_size);
  Status StartProcess();
  Status AskLocked(const LauncherRequest& request, std::span<const int> fds);
  Status Ask(const LauncherRequest& request, std::span<const int> fds, WhenGone when_gone);
  void EndProcess();
  Result<Zygote> MakeZygote(LayerSet skip, const Limits& limits, WhenGone when_gone);
  Result<Zygote> MakeUsualZygote();
  Result<Launched> AskZygote(Zygote zygote, const LaunchRequest& request,
                             std::span<const int> mounts, const Limits& limits) const;

  const HostIdentity tool_identity_;
  const NamespaceIds host_namespaces_;
  const Result<CgroupRoot> cgroups_;
  const std::unique_ptr<CgroupPool> cgroup_pool_;  // null without control groups
  mutable std::mutex mutex_;
  // Guarded by mutex_.
  sys::UniqueFd socket_;
  sys::Child process_;
  Limits usual_limits_;                  // of the last sandbox
  std::unique_ptr<ZygotePool> zygotes_;  // last: its thread uses everything above
};

/// The error that a failed step is to a caller: which layer, why, and what to do.
Error StepError(Step step, int error_number);

/// The layer that a kLayerMissing or kNotVerified error is about.
std::optional<Layer> LayerOf(const Error& error);

}  // namespace cofferdam::sandbox
