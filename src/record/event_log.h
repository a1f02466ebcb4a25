// Writing a run's record.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "record/chain.h"
#include "record/events.h"
#include "storage/append_log.h"

namespace cofferdam::record {

/// Called with each event once it is on disk, in order, from the thread that appended it. Must be
/// quick and must not call the log.
using Observer = std::function<void(const Event&)>;

/// The one writer of one record. Thread-safe: events get their place in the order in which the
/// calls come, and are on disk when a call returns. A clock outlives the log.
///
///   ASSIGN_OR_RETURN(auto log, EventLog::Create(run_directory, "events.jsonl", header, clock));
///   RETURN_IF_ERROR(log->Append(RunStarted("scripted/test", message)));
class EventLog {
 public:
  /// Begins a record with `header` in the file `name` of `directory`. ErrorCode::kAlreadyExists
  /// when the file has a whole line; a torn header of a writer that crashed is replaced.
  static Result<std::unique_ptr<EventLog>> Create(int directory, const std::string& name,
                                                  const RunHeader& header, const Clock& clock);

  /// Goes on with a record whose writer died: verifies it and cuts off a torn last line, which was
  /// never acknowledged. ErrorCode::kCorrupt, and the file is left untouched, when it does not
  /// verify.
  static Result<std::unique_ptr<EventLog>> Resume(int directory, const std::string& name,
                                                  const Clock& clock);

  EventLog(const EventLog&) = delete;
  EventLog& operator=(const EventLog&) = delete;

  const RunHeader& header() const { return header_; }
  /// How many bytes of a torn line Create or Resume cut off.
  std::uint64_t torn_bytes() const { return torn_bytes_; }

  /// Records one event, or several with one sync. `data` is recorded as MakePortable makes it.
  /// ErrorCode::kInvalidArgument for a type that is not of a-z 0-9 . _ (1 to 64), for data that is
  /// not an object or cannot be made portable, and for events after run.ended; kTooLarge for a line
  /// beyond kMaxLineBytes. After any error nothing was recorded, and later appends may succeed.
  Result<Event> Append(NewEvent event);
  Result<std::vector<Event>> AppendGroup(std::vector<NewEvent> events);

  /// Where the record ends: what a receipt signs.
  struct Head {
    std::uint64_t events = 0;
    std::string hash;
    /// Whether run.ended was recorded.
    bool complete = false;
  };
  Head head() const;

  /// Adds an observer of the events from now on and returns its number. After RemoveObserver has
  /// returned it is not called any more.
  std::uint64_t AddObserver(Observer observer);
  void RemoveObserver(std::uint64_t number);

 private:
  EventLog(storage::AppendLog log, RunHeader header, Head head, const Clock& clock);

  const RunHeader header_;
  const std::uint64_t torn_bytes_;
  const Clock& clock_;
  mutable std::mutex mutex_;
  // Guarded by mutex_.
  storage::AppendLog log_;
  Head head_;
  std::map<std::uint64_t, Observer> observers_;
  std::uint64_t last_observer_ = 0;
};

}  // namespace cofferdam::record
