#include "platform/session_turns.h"

#include <utility>

#include "base/error.h"

namespace cofferdam::platform {

SessionTurns::Place SessionTurns::Enter(const std::string& session) {
  Place place(*this, session);
  const std::lock_guard lock(mutex_);
  queues_[session].push_back(place.first_now_.get());
  return place;
}

SessionTurns::Place::Place(Place&& other) noexcept = default;

SessionTurns::Place::~Place() {
  if (first_now_ == nullptr) return;
  const std::lock_guard lock(turns_->mutex_);
  const auto queue = turns_->queues_.find(session_);
  std::erase(queue->second, first_now_.get());
  // Under the lock: as soon as it is unlocked the next one may have gone too.
  if (queue->second.empty())
    turns_->queues_.erase(queue);
  else
    queue->second.front()->notify_one();
}

Status SessionTurns::Place::Wait(std::stop_token stop) {
  std::unique_lock lock(turns_->mutex_);
  const bool first = first_now_->wait(
      lock, stop, [this] { return turns_->queues_.at(session_).front() == first_now_.get(); });
  // A request that came together with the turn counts too: the run has not begun.
  if (first && !stop.stop_requested()) return {};
  return Err(ErrorCode::kCancelled, "cancelled while another run in the session went on");
}

}  // namespace cofferdam::platform
