#include "platform/kept_sandboxes.h"

#include <fcntl.h>

#include <algorithm>
#include <utility>

#include "sys/fd.h"
#include "sys/file.h"

namespace cofferdam::platform {
namespace {

// For a sandbox that is woken; it answers within a few milliseconds or not at all.
constexpr std::chrono::seconds kWakeTimeout{2};
constexpr std::chrono::seconds kMemoryInterval{5};

}  // namespace

Result<SandboxPlan> SandboxPlan::For(sandbox::SandboxSpec spec) {
  SandboxPlan plan{.spec = std::move(spec)};
  for (const sandbox::Mount& mount : plan.spec.mounts) {
    // A shared mount is compared itself.
    if (mount.shared != nullptr) continue;
    ASSIGN_OR_RETURN(const sys::UniqueFd source, sys::Open(mount.source, O_PATH | O_NOFOLLOW));
    ASSIGN_OR_RETURN(const struct stat info, sys::Stat(source.get()));
    plan.places.push_back({info.st_dev, info.st_ino});
  }
  return plan;
}

bool SandboxPlan::Fits(const SandboxPlan& other) const {
  sandbox::SandboxSpec same_id = other.spec;
  same_id.id = spec.id;
  return spec == same_id && places == other.places;
}

Status KeptSandboxes::Keep(const SandboxOwner& owner, SandboxPlan plan,
                           std::unique_ptr<sandbox::LocalSandbox> sandbox, Time until) {
  if (std::ranges::any_of(plan.spec.mounts,
                          [](const auto& mount) { return mount.tree != nullptr; }))
    return Err(ErrorCode::kUnsupported,
               "a mount of its own, as of files in an image, ends with it");
  RETURN_IF_ERROR(sandbox->Freeze());
  while (size() >= options_.most && EndOldest()) {
  }
  while (options_.memory_is_short())
    if (!EndOldest()) return Err(ErrorCode::kBusy, "memory is short");
  Kept kept{std::move(plan), std::move(sandbox), std::chrono::steady_clock::now(), until};
  {
    const std::lock_guard lock(mutex_);
    // What was there is ended with `kept`, outside of the lock.
    std::swap(kept_[owner], kept);
    ++comings_;
    if (!watcher_.joinable())
      watcher_ = std::jthread([this](const std::stop_token& stop) { Watch(stop); });
  }
  changed_.notify_all();
  return {};
}

std::unique_ptr<sandbox::LocalSandbox> KeptSandboxes::Take(const SandboxOwner& owner,
                                                           const SandboxPlan& plan,
                                                           Deadline deadline) {
  Map::node_type taken;
  {
    const std::lock_guard lock(mutex_);
    taken = kept_.extract(owner);
  }
  if (taken.empty() || !taken.mapped().plan.Fits(plan)) return nullptr;
  std::unique_ptr<sandbox::LocalSandbox> sandbox = std::move(taken.mapped().sandbox);
  const Deadline answer = Deadline::Earlier(deadline, Deadline::After(kWakeTimeout));
  if (!sandbox->Thaw() || !sandbox->Ping(answer)) return nullptr;
  return sandbox;
}

void KeptSandboxes::End(const std::string& workspace) {
  EndWhere([&workspace](const Map::value_type& kept) { return kept.first.workspace == workspace; });
}

void KeptSandboxes::EndIdle(Time now) {
  EndWhere([now](const Map::value_type& kept) { return kept.second.until <= now; });
}

std::size_t KeptSandboxes::size() const {
  const std::lock_guard lock(mutex_);
  return kept_.size();
}

void KeptSandboxes::EndWhere(const std::function<bool(const Map::value_type&)>& is_due) {
  std::vector<Map::node_type> due;
  const std::lock_guard lock(mutex_);
  for (auto kept = kept_.begin(); kept != kept_.end();) {
    const auto next = std::next(kept);
    if (is_due(*kept)) due.push_back(kept_.extract(kept));
    kept = next;
  }
}

bool KeptSandboxes::EndOldest() {
  Map::node_type oldest;
  const std::lock_guard lock(mutex_);
  if (kept_.empty()) return false;
  oldest = kept_.extract(std::ranges::min_element(
      kept_, {}, [](const Map::value_type& kept) { return kept.second.since; }));
  return true;
}

void KeptSandboxes::Watch(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, stop, [this] { return !kept_.empty(); });
      Time next = std::chrono::steady_clock::now() + kMemoryInterval;
      for (const auto& [owner, kept] : kept_) next = std::min(next, kept.until);
      // One that comes later may be due earlier.
      changed_.wait_until(lock, stop, next,
                          [this, before = comings_] { return comings_ != before; });
    }
    if (stop.stop_requested()) return;
    EndIdle(std::chrono::steady_clock::now());
    while (options_.memory_is_short() && EndOldest()) {
    }
  }
}

}  // namespace cofferdam::platform
