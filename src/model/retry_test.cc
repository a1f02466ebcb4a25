#include "model/retry.h"

#include <thread>

#include <gtest/gtest.h>

namespace cofferdam::model {
namespace {

using std::chrono::milliseconds;

constexpr std::int64_t kNow = 784111777'000;  // Sun, 06 Nov 1994 08:49:37 GMT

std::optional<milliseconds> After(std::vector<net::Header> headers) {
  return RetryAfter(headers, kNow);
}

TEST(Retry, FollowsTheStatus) {
  for (const int status : {408, 409, 429, 500, 503, 529}) EXPECT_TRUE(IsRetryable(status, {}));
  for (const int status : {301, 400, 401, 402, 403, 404, 413, 422})
    EXPECT_FALSE(IsRetryable(status, {}));
}

TEST(Retry, TheServersWordOverridesTheStatus) {
  EXPECT_FALSE(IsRetryable(529, {{"x-should-retry", "false"}}));
  EXPECT_TRUE(IsRetryable(400, {{"x-should-retry", "true"}}));
  EXPECT_TRUE(IsRetryable(529, {{"x-should-retry", "perhaps"}}));
}

TEST(RetryAfter, ReadsMillisecondsSecondsAndDates) {
  EXPECT_EQ(After({{"retry-after-ms", "1500"}}), milliseconds(1500));
  EXPECT_EQ(After({{"retry-after", "7"}}), milliseconds(7000));
  EXPECT_EQ(After({{"retry-after", "0.25"}}), milliseconds(250));
  EXPECT_EQ(After({{"retry-after", "Sun, 06 Nov 1994 08:49:47 GMT"}}), milliseconds(10'000));
  EXPECT_EQ(After({{"retry-after", "Sun, 06 Nov 1994 08:49:07 GMT"}}), milliseconds(0));
}

TEST(RetryAfter, PrefersMilliseconds) {
  EXPECT_EQ(After({{"retry-after", "7"}, {"retry-after-ms", "20"}}), milliseconds(20));
  EXPECT_EQ(After({{"retry-after", "7"}, {"retry-after-ms", "x"}}), milliseconds(7000));
}

TEST(RetryAfter, IgnoresWhatIsNoTimeAndBoundsWhatIsTooLong) {
  EXPECT_EQ(After({}), std::nullopt);
  for (const char* text : {"", "soon", "-5", "nan", "inf", "7 seconds please"})
    EXPECT_EQ(After({{"retry-after", text}}), std::nullopt) << text;
  EXPECT_EQ(After({{"retry-after", "999999999999999999999"}}), std::chrono::hours(24));
}

TEST(RetryDelay, DoublesUpToItsMaximumLessAQuarterAtMost) {
  const RetryPolicy policy;
  const int expected[] = {500, 1000, 2000, 4000, 8000, 8000};
  for (int retry = 0; retry < 6; ++retry) {
    const auto delay = RetryDelay(policy, retry, std::nullopt).count();
    EXPECT_LE(delay, expected[retry]);
    EXPECT_GE(delay, expected[retry] * 3 / 4);
  }
  EXPECT_LE(RetryDelay(policy, 1'000'000, std::nullopt), policy.max_delay);
}

TEST(RetryDelay, IsTheServersWishWhenThereIsOne) {
  EXPECT_EQ(RetryDelay({}, 0, milliseconds(12'345)), milliseconds(12'345));
}

TEST(WaitFor, DoesNotBeginAWaitThatTheDeadlineForbids) {
  const Status status =
      WaitFor(std::chrono::hours(1), Deadline::After(std::chrono::minutes(1)), {});
  EXPECT_EQ(status.error().code, ErrorCode::kTimeout);
}

TEST(WaitFor, IsEndedByAStopRequest) {
  std::stop_source stop;
  std::jthread stopper([&stop] { stop.request_stop(); });
  EXPECT_EQ(WaitFor(std::chrono::hours(1), Deadline::Never(), stop.get_token()).error().code,
            ErrorCode::kCancelled);
}

TEST(WaitFor, EndsByItself) { EXPECT_TRUE(WaitFor(milliseconds(1), Deadline::Never(), {})); }

}  // namespace
}  // namespace cofferdam::model
