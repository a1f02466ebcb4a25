// The host's side of the launcher: starts it, asks it for sandboxes, starts another when it dies.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <span>

#include "base/error.h"
#include "sandbox/cgroup.h"
#include "sandbox/layers/launch.h"
#include "sandbox/spec.h"
#include "sys/fd.h"
#include "sys/process.h"

namespace cofferdam::sandbox {

/// A sandbox's first process, as the launcher made it.
struct Launched {
  sys::UniqueFd pidfd;
  LaunchReply reply;
};

/// One launcher process; one of these per platform. Thread-safe. Must outlive its sandboxes; when
/// it is destroyed every sandbox of it ends.
class Launcher {
 public:
  /// Starts the process and lets it prepare the tree. kLayerMissing names the layer, the kernel
  /// setting and the remedy.
  static Result<std::unique_ptr<Launcher>> Start();
  ~Launcher();
  Launcher(const Launcher&) = delete;
  Launcher& operator=(const Launcher&) = delete;

  /// Makes a sandbox. `fds` as LaunchRequest says. When the launcher has died, another is started
  /// and asked once.
  Result<Launched> Launch(const LaunchRequest& request, std::span<const int> fds);

  /// ToolIdentity() as it was when this launcher was started.
  const HostIdentity& tool_identity() const { return tool_identity_; }

  /// The control groups for sandboxes, or why there are none.
  const Result<CgroupRoot>& cgroups() const { return cgroups_; }

  /// The launcher's process, for tests and diagnosis.
  Result<pid_t> Pid() const;

 private:
  Launcher() : tool_identity_(ToolIdentity()), cgroups_(CgroupRoot::Open()) {}
  Status StartProcess();
  Result<Launched> Ask(const LaunchRequest& request, std::span<const int> fds);
  void EndProcess();

  HostIdentity tool_identity_;
  Result<CgroupRoot> cgroups_;
  mutable std::mutex mutex_;  // guards what follows
  sys::UniqueFd socket_;
  sys::Child process_;
};

/// The error that a failed step is to a caller: which layer, why, and what to do.
Error StepError(Step step, int error_number);

/// The layer that a kLayerMissing or kNotVerified error is about.
std::optional<Layer> LayerOf(const Error& error);

}  // namespace cofferdam::sandbox
