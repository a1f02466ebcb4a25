#include "sandbox/zygote_pool.h"

#include <algorithm>
#include <utility>

namespace cofferdam::sandbox {

ZygotePool::ZygotePool(Maker maker, std::size_t max_ready)
    : maker_(std::move(maker)),
      max_ready_(max_ready),
      thread_([this](const std::stop_token& stop) { FillUntil(stop); }) {}

std::optional<Zygote> ZygotePool::Take() {
  std::optional<Zygote> zygote;
  {
    const std::lock_guard lock(mutex_);
    if (!ready_.empty()) {
      zygote = std::move(ready_.back());
      ready_.pop_back();
    }
    // A host that makes one sandbox and ends is not to pay for many.
    wanted_ = std::min(max_ready_, std::max<std::size_t>(1, wanted_ * 2));
    failed_ = false;
  }
  changed_.notify_all();
  return zygote;
}

void ZygotePool::Discard() {
  std::vector<Zygote> gone;
  const std::lock_guard lock(mutex_);
  gone.swap(ready_);
}

std::vector<Zygote> ZygotePool::Stop() {
  thread_.request_stop();
  thread_.join();
  return std::move(ready_);
}

void ZygotePool::WaitUntilFilled() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return !WantsMore(); });
}

void ZygotePool::FillUntil(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  // The wait is also over when more are wanted and the pool is to stop.
  while (changed_.wait(lock, stop, [this] { return WantsMore(); }) && !stop.stop_requested()) {
    lock.unlock();
    auto zygote = maker_();
    lock.lock();
    // Whoever needs one makes it then, and is told why it cannot be had.
    failed_ = !zygote;
    if (zygote) ready_.push_back(std::move(*zygote));
    changed_.notify_all();
  }
}

}  // namespace cofferdam::sandbox
