// When a provider's refusal is worth another try, and after how long. The rule is that of the
// official Anthropic and OpenAI client libraries (spec: x-should-retry, retry-after-ms,
// retry-after).
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <vector>

#include "base/deadline.h"
#include "base/error.h"
#include "net/http_client.h"

namespace cofferdam::model {

/// Waits for the given time: kCancelled when `stop` is requested first, kTimeout when `deadline` is
/// nearer than that, in which case it does not wait at all.
using Waiter = std::function<Status(std::chrono::milliseconds duration, Deadline deadline,
                                    std::stop_token stop)>;

/// The Waiter that waits.
Status WaitFor(std::chrono::milliseconds duration, Deadline deadline, std::stop_token stop);

struct RetryPolicy {
  int max_retries = 2;
  std::chrono::milliseconds first_delay{500};
  std::chrono::milliseconds max_delay{8'000};
  /// A server that wants more patience than this gets no retry; its wish is in the error's hint.
  std::chrono::milliseconds max_retry_after{60'000};
  /// Tests put their own here, so that they do not wait.
  Waiter wait = WaitFor;
};

/// Whether a response with this status may be asked for again: as x-should-retry says, else for
/// 408, 409, 429 and everything from 500.
bool IsRetryable(int status, const std::vector<net::Header>& headers);

/// How long the server wants us to wait, from retry-after-ms, else retry-after as seconds or as a
/// date seen from `now_unix_millis`. Never negative, at most a day; nullopt when it says nothing
/// sensible.
std::optional<std::chrono::milliseconds> RetryAfter(const std::vector<net::Header>& headers,
                                                    std::int64_t now_unix_millis);

/// The time before retry number `retry` (from 0): the server's wish, else first_delay doubled each
/// time up to max_delay, less up to a quarter by chance so that many clients do not come at once.
std::chrono::milliseconds RetryDelay(const RetryPolicy& policy, int retry,
                                     std::optional<std::chrono::milliseconds> retry_after);

}  // namespace cofferdam::model
