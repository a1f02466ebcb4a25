#include "sandbox/cgroup_pool.h"

#include <chrono>
#include <utility>

namespace cofferdam::sandbox {
namespace {

constexpr std::chrono::seconds kEmptyTimeout{2};

}  // namespace

CgroupPool::CgroupPool(const CgroupRoot& root, std::size_t max_ready)
    : root_(root),
      max_ready_(max_ready),
      thread_([this](std::stop_token stop) { TidyUntil(std::move(stop)); }) {}

Result<Cgroup> CgroupPool::Take(const Limits& limits) {
  std::unique_lock lock(mutex_);
  if (ready_.empty()) {
    lock.unlock();
    return root_.Make(limits);
  }
  Cgroup group = std::move(ready_.back());
  ready_.pop_back();
  lock.unlock();
  RETURN_IF_ERROR(group.SetLimits(limits));
  return group;
}

void CgroupPool::Return(Cgroup group) {
  {
    const std::lock_guard lock(mutex_);
    returned_.push_back(std::move(group));
  }
  returned_one_.notify_one();
}

void CgroupPool::TidyUntil(std::stop_token stop) {
  std::unique_lock lock(mutex_);
  while (returned_one_.wait(lock, stop, [this] { return !returned_.empty(); })) {
    Cgroup group = std::move(returned_.front());
    returned_.pop_front();
    const bool is_wanted = ready_.size() < max_ready_;
    lock.unlock();
    // One that cannot be emptied is removed here, by its destructor.
    const bool recycled = is_wanted && group.Recycle(Deadline::After(kEmptyTimeout));
    if (!recycled) {
      const Cgroup removed = std::move(group);
    }
    lock.lock();
    if (recycled) ready_.push_back(std::move(group));
  }
}

}  // namespace cofferdam::sandbox
