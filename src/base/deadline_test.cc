#include "base/deadline.h"

#include <gtest/gtest.h>

#include "base/clock.h"

namespace cofferdam {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;

TEST(Deadline, NeverDoesNotExpireAndPollsForever) {
  EXPECT_FALSE(Deadline::Never().Expired());
  EXPECT_EQ(Deadline::Never().PollTimeoutMillis(), -1);
  EXPECT_TRUE(Deadline::After(milliseconds::max()).is_never());
}

TEST(Deadline, APastOneHasExpiredAndPollsWithoutWaiting) {
  const Deadline past = Deadline::After(milliseconds(-5));
  EXPECT_TRUE(past.Expired());
  EXPECT_EQ(past.Remaining(), milliseconds(0));
  EXPECT_EQ(past.PollTimeoutMillis(), 0);
}

TEST(Deadline, EarlierPicksTheNearerAndTreatsNeverAsFar) {
  const Deadline near = Deadline::After(hours(1));
  const Deadline far = Deadline::After(hours(9));
  EXPECT_LE(Deadline::Earlier(far, near).Remaining(), hours(1));
  EXPECT_LE(Deadline::Earlier(Deadline::Never(), near).Remaining(), hours(1));
}

TEST(Clock, FormatsUtcWithMilliseconds) {
  EXPECT_EQ(FormatUtc(0), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(FormatUtc(1'700'000'000'123), "2023-11-14T22:13:20.123Z");
  EXPECT_EQ(FormatUtc(-1), "1969-12-31T23:59:59.999Z");
}

}  // namespace
}  // namespace cofferdam
