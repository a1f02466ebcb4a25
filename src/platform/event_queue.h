// The events of a run on their way from its thread to whoever reads them.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>

#include <cofferdam/run.h>

namespace cofferdam::platform {

/// Never blocks the writer and loses nothing: what keeps it small is that pieces of text that
/// nobody has read yet are joined, so that it holds at most as much as the run's transcript.
/// Thread-safe.
class EventQueue {
 public:
  void Push(RunEvent event);
  /// No event comes any more.
  void Close();
  /// The next event; waits for one. Nothing once the queue is closed and empty.
  std::optional<RunEvent> Next();

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<RunEvent> events_;  // guarded by mutex_
  bool closed_ = false;          // guarded by mutex_
};

}  // namespace cofferdam::platform
