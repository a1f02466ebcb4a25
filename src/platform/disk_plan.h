// The disk limit of a workspace's files: which mechanism keeps it, what has to be done for it
// before a sandbox is made, and the guard of a sandbox while it is used.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <cofferdam/settings.h>

#include "base/error.h"
#include "platform/platform_state.h"
#include "record/events.h"
#include "sandbox/disk_watch.h"
#include "sandbox/local_sandbox.h"
#include "sandbox/spec.h"

namespace cofferdam::platform {

/// What keeps a limit: nothing, our own counting, the kernel's project quota, a file system of a
/// fixed size.
enum class DiskMechanism { kNone, kSoft, kProjectQuota, kImage };

/// "none", "soft", "project_quota", "image": as records and reports say it.
std::string_view DiskMechanismName(DiskMechanism mechanism);

/// Watches one sandbox where the kernel does not keep the limit. Used by one thread at a time;
/// destroyed before the sandbox.
class DiskGuard {
 public:
  explicit DiskGuard(std::optional<sandbox::DiskWatch::Watched> watched)
      : watched_(std::move(watched)) {}

  /// After a turn or a command: kDiskLimit when the files are over the limit; the sandbox has then
  /// been ended.
  Status Check() { return watched_ ? watched_->Check() : Status(); }

 private:
  std::optional<sandbox::DiskWatch::Watched> watched_;
};

/// Immutable. The platform must outlive it and its guards.
///
///   ASSIGN_OR_RETURN(const DiskPlan plan, DiskPlan::Prepare(workspace, settings, spec));
///   ASSIGN_OR_RETURN(auto sandbox, LocalSandbox::Create(launcher, spec, deadline));
///   DiskGuard guard = plan.Guard(*sandbox);
///   …
///   RETURN_IF_ERROR(guard.Check());
class DiskPlan {
 public:
  /// Chooses the mechanism, puts it into force, and lets `spec` take part in it. kDiskLimit when a
  /// hard limit is asked for that cannot be had; the hint says what to do about it.
  static Result<DiskPlan> Prepare(Workspace::State& workspace, const Settings& settings,
                                  sandbox::SandboxSpec& spec);

  DiskGuard Guard(sandbox::LocalSandbox& sandbox) const;
  DiskMechanism mechanism() const { return mechanism_; }
  record::DiskLimit ForRecord() const;

 private:
  DiskPlan(sandbox::DiskWatch& watch, DiskMechanism mechanism, std::uint64_t bytes,
           std::vector<std::string> roots)
      : watch_(&watch), mechanism_(mechanism), bytes_(bytes), roots_(std::move(roots)) {}

  sandbox::DiskWatch* watch_;
  DiskMechanism mechanism_;
  std::uint64_t bytes_;
  std::vector<std::string> roots_;
};

/// What Workspace::Disk says: how the next run with these settings would be limited. Changes
/// nothing.
Result<DiskInfo> DescribeDisk(const Workspace::State& workspace, const Settings& settings);

/// Whether a mechanism can be had where a state directory is.
struct DiskDiagnosis {
  DiskMechanism mechanism;
  bool available = false;
  std::string detail;
  /// What to do about it; empty when it is available.
  std::string remedy;
};
/// Strictest first.
std::vector<DiskDiagnosis> DiagnoseDisk(const std::string& path);

}  // namespace cofferdam::platform
