#include "platform/event_queue.h"

#include <thread>

#include <gtest/gtest.h>

namespace cofferdam::platform {
namespace {

TEST(EventQueue, JoinsTextThatNobodyHasReadButNotAcrossOtherEvents) {
  EventQueue queue;
  queue.Push(TextEvent{"a"});
  queue.Push(TextEvent{"b"});
  queue.Push(ThinkingEvent{"c"});
  queue.Push(ThinkingEvent{"d"});
  queue.Push(TextEvent{"e"});
  queue.Close();
  EXPECT_EQ(std::get<TextEvent>(*queue.Next()).text, "ab");
  EXPECT_EQ(std::get<ThinkingEvent>(*queue.Next()).text, "cd");
  EXPECT_EQ(std::get<TextEvent>(*queue.Next()).text, "e");
  EXPECT_FALSE(queue.Next());
  EXPECT_FALSE(queue.Next());
}

TEST(EventQueue, AReaderWaitsForTheWriterAndLosesNothing) {
  EventQueue queue;
  std::jthread writer([&queue] {
    for (int i = 0; i < 1000; ++i) queue.Push(TextEvent{"x"});
    queue.Close();
  });
  std::string text;
  while (const auto event = queue.Next()) text += std::get<TextEvent>(*event).text;
  EXPECT_EQ(text, std::string(1000, 'x'));
}

}  // namespace
}  // namespace cofferdam::platform
