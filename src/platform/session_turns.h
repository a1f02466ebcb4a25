// Whose turn it is in a session: runs in one session come one after the other.
#pragma once

#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>

#include "base/error.h"

namespace cofferdam::platform {

/// The queues of a workspace's sessions, first come first served, within this process. Thread-safe.
class SessionTurns {
 public:
  /// A place in a session's queue. Leaving it (destruction) lets the next one in. The SessionTurns
  /// must outlive it. Used by one thread at a time.
  class Place {
   public:
    Place(Place&& other) noexcept;
    Place& operator=(Place&&) = delete;
    ~Place();

    /// Waits until everybody who came before has left. kCancelled on a stop request.
    Status Wait(std::stop_token stop);

   private:
    friend class SessionTurns;
    // One for each place: an end wakes the next one in the session, not everybody who waits.
    using FirstNow = std::condition_variable_any;
    Place(SessionTurns& turns, std::string session)
        : turns_(&turns), session_(std::move(session)), first_now_(std::make_unique<FirstNow>()) {}

    SessionTurns* turns_;
    std::string session_;
    std::unique_ptr<FirstNow> first_now_;  // null after a move
  };

  /// Queues up; does not wait.
  Place Enter(const std::string& session);

 private:
  std::mutex mutex_;
  std::map<std::string, std::deque<Place::FirstNow*>> queues_;  // guarded by mutex_
};

}  // namespace cofferdam::platform
