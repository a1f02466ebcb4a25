#include "base/deadline.h"

#include <algorithm>
#include <climits>

namespace cofferdam {

Deadline Deadline::After(std::chrono::milliseconds duration) {
  const auto now = SteadyClock::now();
  if (duration >=
      std::chrono::duration_cast<std::chrono::milliseconds>(SteadyClock::time_point::max() - now))
    return Never();
  return Deadline(now + duration);
}

std::chrono::milliseconds Deadline::Remaining() const {
  if (!when_) return std::chrono::milliseconds::max();
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(*when_ - SteadyClock::now());
  return std::max(left, std::chrono::milliseconds(0));
}

int Deadline::PollTimeoutMillis() const {
  if (!when_) return -1;
  return static_cast<int>(std::min<std::chrono::milliseconds::rep>(Remaining().count(), INT_MAX));
}

Deadline Deadline::Earlier(Deadline a, Deadline b) {
  if (!a.when_) return b;
  if (!b.when_) return a;
  return *a.when_ <= *b.when_ ? a : b;
}

}  // namespace cofferdam
