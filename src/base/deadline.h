// A point in monotonic time after which waiting ends. Everything that can block takes one.
#pragma once

#include <chrono>
#include <optional>

namespace cofferdam {

/// Value type; cheap to copy; safe to share.
class Deadline {
 public:
  using SteadyClock = std::chrono::steady_clock;

  static Deadline Never() { return Deadline(std::nullopt); }
  static Deadline After(std::chrono::milliseconds duration);
  static Deadline At(SteadyClock::time_point when) { return Deadline(when); }

  bool is_never() const { return !when_.has_value(); }
  bool Expired() const { return when_ && SteadyClock::now() >= *when_; }

  /// The time left, never negative; for Never() the largest duration.
  std::chrono::milliseconds Remaining() const;

  /// For poll(2): milliseconds rounded up, 0 when expired, -1 for Never().
  int PollTimeoutMillis() const;

  /// The nearer of two deadlines.
  static Deadline Earlier(Deadline a, Deadline b);

 private:
  explicit Deadline(std::optional<SteadyClock::time_point> when) : when_(when) {}
  std::optional<SteadyClock::time_point> when_;
};

}  // namespace cofferdam
