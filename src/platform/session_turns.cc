#include "platform/session_turns.h"

#include <utility>

#include "base/error.h"

namespace cofferdam::platform {

SessionTurns::Place SessionTurns::Enter(const std::string& session) {
  const std::lock_guard lock(mutex_);
  queues_[session].push_back(++last_);
  return Place(*this, session, last_);
}

SessionTurns::Place::Place(Place&& other) noexcept
    : turns_(std::exchange(other.turns_, nullptr)),
      session_(std::move(other.session_)),
      number_(other.number_) {}

SessionTurns::Place::~Place() {
  if (turns_ == nullptr) return;
  {
    const std::lock_guard lock(turns_->mutex_);
    const auto queue = turns_->queues_.find(session_);
    std::erase(queue->second, number_);
    if (queue->second.empty()) turns_->queues_.erase(queue);
  }
  turns_->changed_.notify_all();
}

Status SessionTurns::Place::Wait(std::stop_token stop) {
  std::unique_lock lock(turns_->mutex_);
  const bool first = turns_->changed_.wait(
      lock, stop, [this] { return turns_->queues_.at(session_).front() == number_; });
  // A request that came together with the turn counts too: the run has not begun.
  if (first && !stop.stop_requested()) return {};
  return Err(ErrorCode::kCancelled, "cancelled while another run in the session went on");
}

}  // namespace cofferdam::platform
