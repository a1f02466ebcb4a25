#include "record/event_log.h"

#include <fcntl.h>
#include <sys/resource.h>

#include <algorithm>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/testing/fake_clock.h"
#include "record/verify.h"
#include "storage/atomic_file.h"
#include "storage/testing/file_size_limit.h"
#include "sys/testing/temp_dir.h"

namespace cofferdam::record {
namespace {

using testing::ElementsAre;

class EventLogTest : public testing::Test {
 protected:
  Result<std::unique_ptr<EventLog>> Create() const {
    return EventLog::Create(directory_.get(), "events.jsonl", header_, clock_);
  }
  Result<std::unique_ptr<EventLog>> Resume() const {
    return EventLog::Resume(directory_.get(), "events.jsonl", clock_);
  }
  Result<ChainSummary> Verify() const { return VerifyChain(temp_ / "events.jsonl"); }
  std::string Text() const { return *sys::ReadFile(temp_ / "events.jsonl", 16 << 20); }
  void Put(std::string_view text) const {
    ASSERT_TRUE(storage::WriteFileAtomically(temp_ / "events.jsonl", text, 0600));
  }

  const sys::TempDir temp_;
  const sys::UniqueFd directory_ = *sys::Open(temp_.path(), O_PATH | O_DIRECTORY);
  FakeClock clock_;
  const RunHeader header_{
      .platform = "p", .workspace = "w", .session = "s", .run = "r", .time = "t"};
};

TEST_F(EventLogTest, WritesARecordThatVerifies) {
  const auto log = *Create();
  const Event first = *log->Append(RunStarted("scripted/test", "hello"));
  clock_.Advance(1500);
  const Event last = *log->Append(RunEnded({.outcome = "completed"}));
  EXPECT_EQ(first.seq, 0u);
  EXPECT_EQ(first.time, "2023-11-14T22:13:20.000Z");
  EXPECT_EQ(last.seq, 1u);
  EXPECT_EQ(last.time, "2023-11-14T22:13:21.500Z");
  EXPECT_EQ(last.prev, first.hash);
  const ChainSummary chain = *Verify();
  EXPECT_EQ(chain.header, header_);
  EXPECT_EQ(chain.events, 2u);
  EXPECT_EQ(chain.head, log->head().hash);
  EXPECT_TRUE(chain.complete);
  EXPECT_TRUE(log->head().complete);
}

TEST_F(EventLogTest, RecordsAGroupWholeOrNotAtAll) {
  const auto log = *Create();
  EXPECT_EQ(log->AppendGroup({{.type = "a"}, {.type = "b"}})->size(), 2u);
  EXPECT_FALSE(log->AppendGroup({{.type = "c"}, {.type = "not a type"}}));
  EXPECT_EQ(log->head().events, 2u);
  EXPECT_EQ(Verify()->events, 2u);
}

TEST_F(EventLogTest, RefusesWhatCouldNotBeRead) {
  const auto log = *Create();
  for (const char* type : {"", "A", "a b", "ä"})
    EXPECT_EQ(log->Append({.type = type}).error().code, ErrorCode::kInvalidArgument) << type;
  EXPECT_FALSE(log->Append({.type = std::string(65, 'a')}));
  EXPECT_FALSE(log->Append({.type = "a", .data = json::Json::array()}));
  EXPECT_FALSE(log->Append({.type = "a", .data = {{"\xFF", 1}}}));
  EXPECT_FALSE(
      log->Append({.type = "a", .data = {{"n", std::numeric_limits<double>::infinity()}}}));
  EXPECT_EQ(Verify()->events, 0u);
}

TEST_F(EventLogTest, RecordsWhatHasToBeWrittenOtherwise) {
  const auto log = *Create();
  const Event event =
      *log->Append({.type = "a", .data = {{"n", 18446744073709551615u}, {"s", "\xFF"}}});
  EXPECT_EQ(event.data, (json::Json{{"n", "18446744073709551615"}, {"s", "\uFFFD"}}));
  EXPECT_TRUE(Verify());
}

TEST_F(EventLogTest, HoldsItsLinesToTheLimitToTheByte) {
  const auto log = *Create();
  const Event probe = *log->Append({.type = "a", .data = {{"s", ""}}});
  const std::size_t rest = EventLine(probe)->size();
  const auto with_text = [](std::size_t size) {
    return NewEvent{.type = "a", .data = {{"s", std::string(size, 'x')}}};
  };
  EXPECT_EQ(log->Append(with_text(kMaxLineBytes - rest + 1)).error().code, ErrorCode::kTooLarge);
  EXPECT_TRUE(log->Append(with_text(kMaxLineBytes - rest)));
  EXPECT_EQ(Verify()->events, 2u);
}

TEST_F(EventLogTest, EndsWithTheEndOfTheRun) {
  const auto log = *Create();
  ASSERT_TRUE(log->Append(RunEnded({})));
  EXPECT_EQ(log->Append({.type = "a"}).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(Resume().value()->Append({.type = "a"}).error().code, ErrorCode::kInvalidArgument);
  EXPECT_TRUE(Verify());
}

TEST_F(EventLogTest, DoesNotBeginWhereARecordIs) {
  ASSERT_TRUE(Create());
  EXPECT_EQ(Create().error().code, ErrorCode::kAlreadyExists);
  EXPECT_EQ(Verify()->events, 0u);
}

TEST_F(EventLogTest, BeginsAgainAfterAWriterThatDiedInItsHeader) {
  Put("{\"platform\":");
  const auto log = *Create();
  EXPECT_EQ(log->torn_bytes(), 12u);
  EXPECT_TRUE(Verify());
}

TEST_F(EventLogTest, GoesOnAfterAWriterThatDiedInTheMiddleOfALine) {
  ASSERT_TRUE((*Create())->Append({.type = "a"}));
  Put(Text() + "{\"data\":{");
  const auto log = *Resume();
  EXPECT_EQ(log->torn_bytes(), 9u);
  EXPECT_EQ(log->header(), header_);
  EXPECT_EQ(log->Append({.type = "b"})->seq, 1u);
  EXPECT_EQ(Verify()->events, 2u);
}

TEST_F(EventLogTest, DoesNotGoOnWithADamagedRecordAndLeavesItAsItIs) {
  ASSERT_TRUE((*Create())->AppendGroup({{.type = "a"}, {.type = "b"}}));
  std::string text = Text() + "torn";
  text[text.find("\"seq\":0") + 6] = '7';
  Put(text);
  EXPECT_EQ(Resume().error().code, ErrorCode::kCorrupt);
  EXPECT_EQ(Text(), text);
  EXPECT_EQ(EventLog::Resume(directory_.get(), "missing", clock_).error().code,
            ErrorCode::kNotFound);
}

TEST_F(EventLogTest, RecordsNothingWhenTheDiskIsFullAndGoesOnWhenThereIsRoom) {
  EXPECT_TRUE(storage::InChildWithFileSizeLimit(2000, [&] {
    const auto log = *Create();
    const bool refused =
        !log->Append({.type = "a", .data = {{"s", std::string(4000, 'x')}}}).has_value();
    const bool unchanged = log->head().events == 0 && Verify()->events == 0;
    const bool small = log->Append({.type = "b"}).has_value();
    return refused && unchanged && small && Verify()->events == 1;
  }));
}

TEST_F(EventLogTest, ObserversSeeEachEventInOrderOnceItIsOnDisk) {
  const auto log = *Create();
  std::vector<std::uint64_t> seen;
  const std::uint64_t number = log->AddObserver([&](const Event& event) {
    EXPECT_GT(Verify()->events, event.seq);
    seen.push_back(event.seq);
  });
  ASSERT_TRUE(log->Append({.type = "a"}));
  EXPECT_FALSE(log->Append({.type = "not a type"}));
  ASSERT_TRUE(log->AppendGroup({{.type = "b"}, {.type = "c"}}));
  log->RemoveObserver(number);
  ASSERT_TRUE(log->Append({.type = "d"}));
  EXPECT_THAT(seen, ElementsAre(0, 1, 2));
}

TEST_F(EventLogTest, SeveralThreadsMakeOneChain) {
  const auto log = *Create();
  std::vector<std::uint64_t> seen;  // Observers are called one at a time.
  log->AddObserver([&](const Event& event) { seen.push_back(event.seq); });
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t)
      threads.emplace_back([&log, t] {
        for (int i = 0; i < 20; ++i)
          EXPECT_TRUE(log->Append({.type = "a", .data = {{"thread", t}, {"i", i}}}));
      });
  }
  EXPECT_EQ(Verify()->events, 80u);
  EXPECT_TRUE(std::ranges::is_sorted(seen));
  EXPECT_EQ(seen.size(), 80u);
}

}  // namespace
}  // namespace cofferdam::record
