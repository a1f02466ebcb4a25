#include "platform/session_turns.h"

#include <optional>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace cofferdam::platform {
namespace {

TEST(SessionTurns, LetsThemInInTheOrderInWhichTheyCame) {
  SessionTurns turns;
  std::mutex mutex;
  std::vector<int> order;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 20; ++i)
      threads.emplace_back([&mutex, &order, i, place = turns.Enter("s")]() mutable {
        SessionTurns::Place mine = std::move(place);
        ASSERT_TRUE(mine.Wait({}));
        const std::lock_guard lock(mutex);
        order.push_back(i);
      });
  }
  ASSERT_EQ(order.size(), 20U);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(order[static_cast<std::size_t>(i)], i);
}

TEST(SessionTurns, SessionsDoNotWaitForEachOther) {
  SessionTurns turns;
  SessionTurns::Place first = turns.Enter("a");
  SessionTurns::Place other = turns.Enter("b");
  EXPECT_TRUE(first.Wait({}));
  EXPECT_TRUE(other.Wait({}));
}

TEST(SessionTurns, AStopRequestEndsTheWaitAndTheNextOneIsNotHeldUp) {
  SessionTurns turns;
  std::optional first = turns.Enter("s");
  std::optional second = turns.Enter("s");
  SessionTurns::Place third = turns.Enter("s");
  std::stop_source stop;
  std::jthread canceller([&stop] { stop.request_stop(); });
  const Status waited = second->Wait(stop.get_token());
  ASSERT_FALSE(waited);
  EXPECT_EQ(waited.error().code, ErrorCode::kCancelled);
  second.reset();
  first.reset();
  EXPECT_TRUE(third.Wait({}));
}

}  // namespace
}  // namespace cofferdam::platform
