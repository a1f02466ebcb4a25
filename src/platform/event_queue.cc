#include "platform/event_queue.h"

#include <utility>

namespace cofferdam::platform {
namespace {

/// Joins `next` to `last` when both are text of the same kind.
template <typename Text>
bool Join(RunEvent& last, const RunEvent& next) {
  auto* text = std::get_if<Text>(&last);
  const auto* more = std::get_if<Text>(&next);
  if (text == nullptr || more == nullptr) return false;
  text->text += more->text;
  return true;
}

}  // namespace

void EventQueue::Push(RunEvent event) {
  {
    const std::lock_guard lock(mutex_);
    const bool joined = !events_.empty() && (Join<TextEvent>(events_.back(), event) ||
                                             Join<ThinkingEvent>(events_.back(), event));
    if (!joined) events_.push_back(std::move(event));
  }
  changed_.notify_one();
}

void EventQueue::Close() {
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  changed_.notify_all();
}

std::optional<RunEvent> EventQueue::Next() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return closed_ || !events_.empty(); });
  if (events_.empty()) return std::nullopt;
  RunEvent event = std::move(events_.front());
  events_.pop_front();
  return event;
}

}  // namespace cofferdam::platform
