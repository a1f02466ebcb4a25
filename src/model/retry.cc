#include "model/retry.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <condition_variable>
#include <mutex>
#include <random>
#include <string>
#include <string_view>

namespace cofferdam::model {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kLongestRetryAfter = std::chrono::hours(24);

std::optional<std::string_view> Find(const std::vector<net::Header>& headers,
                                     std::string_view name) {
  const auto found = std::ranges::find(headers, name, &net::Header::name);
  if (found == headers.end()) return std::nullopt;
  return found->value;
}

// `text` as a number of units of `millis_per_unit`; fractions are allowed.
std::optional<milliseconds> ParseDuration(std::string_view text, double millis_per_unit) {
  double value = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  const double millis = value * millis_per_unit;
  if (!std::isfinite(millis) || millis < 0) return std::nullopt;
  return milliseconds(static_cast<milliseconds::rep>(
      std::min(millis, static_cast<double>(kLongestRetryAfter.count()))));
}

}  // namespace

Status WaitFor(milliseconds duration, Deadline deadline, std::stop_token stop) {
  if (!deadline.is_never() && deadline.Remaining() < duration)
    return Err(ErrorCode::kTimeout, "the deadline is nearer than the next try");
  std::mutex mutex;
  std::condition_variable_any stopped;
  std::unique_lock lock(mutex);
  stopped.wait_for(lock, stop, duration, [] { return false; });
  if (stop.stop_requested()) return Err(ErrorCode::kCancelled, "cancelled before the next try");
  return {};
}

bool IsRetryable(int status, const std::vector<net::Header>& headers) {
  if (const auto wish = Find(headers, "x-should-retry")) {
    if (*wish == "true") return true;
    if (*wish == "false") return false;
  }
  return status == 408 || status == 409 || status == 429 || status >= 500;
}

std::optional<milliseconds> RetryAfter(const std::vector<net::Header>& headers,
                                       std::int64_t now_unix_millis) {
  if (const auto text = Find(headers, "retry-after-ms"))
    if (const auto duration = ParseDuration(*text, 1)) return duration;
  const auto text = Find(headers, "retry-after");
  if (!text) return std::nullopt;
  if (const auto duration = ParseDuration(*text, 1000)) return duration;
  const auto date = net::ParseHttpDate(*text);
  if (!date) return std::nullopt;
  const milliseconds left(*date * 1000 - now_unix_millis);
  return std::clamp(left, milliseconds(0), kLongestRetryAfter);
}

milliseconds RetryDelay(const RetryPolicy& policy, int retry,
                        std::optional<milliseconds> retry_after) {
  if (retry_after) return *retry_after;
  milliseconds delay = policy.first_delay;
  for (int i = 0; i < retry && delay < policy.max_delay; ++i) delay *= 2;
  delay = std::min(delay, policy.max_delay);
  std::random_device random;
  std::uniform_int_distribution<milliseconds::rep> spread(0, delay.count() / 4);
  return delay - milliseconds(spread(random));
}

}  // namespace cofferdam::model
