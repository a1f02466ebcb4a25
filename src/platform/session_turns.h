// Whose turn it is in a session: runs in one session come one after the other.
#pragma once

#include <condition_variable>
#include <deque>
#include <map>
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
    Place(SessionTurns& turns, std::string session, std::uint64_t number)
        : turns_(&turns), session_(std::move(session)), number_(number) {}

    SessionTurns* turns_;  // null after a move
    std::string session_;
    std::uint64_t number_;
  };

  /// Queues up; does not wait.
  Place Enter(const std::string& session);

 private:
  std::mutex mutex_;
  std::condition_variable_any changed_;
  // Guarded by mutex_.
  std::map<std::string, std::deque<std::uint64_t>> queues_;
  std::uint64_t last_ = 0;
};

}  // namespace cofferdam::platform
