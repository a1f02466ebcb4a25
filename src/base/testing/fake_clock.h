// A clock that stands still until the test moves it.
#pragma once

#include <atomic>

#include "base/clock.h"

namespace cofferdam {

class FakeClock final : public Clock {
 public:
  explicit FakeClock(std::int64_t unix_millis = 1'700'000'000'000) : now_(unix_millis) {}
  std::int64_t UnixMillis() const override { return now_.load(); }
  void Advance(std::int64_t millis) { now_ += millis; }

 private:
  std::atomic<std::int64_t> now_;
};

}  // namespace cofferdam
