#include "record/verify.h"

#include <algorithm>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "record/events.h"
#include "storage/atomic_file.h"
#include "sys/testing/temp_dir.h"

namespace cofferdam::record {
namespace {

using testing::HasSubstr;

class VerifyChainTest : public testing::Test {
 protected:
  VerifyChainTest() {
    lines_.push_back(
        *HeaderLine({.platform = "p", .workspace = "w", .session = "s", .run = "r", .time = "t"}));
    head_ = HeaderHash(lines_[0]);
    for (const std::string_view type : {kRunStarted, kToolStarted, kToolEnded, kRunEnded})
      Add(type, lines_.size() - 1);
  }

  // Appends an event with a right hash.
  void Add(std::string_view type, std::uint64_t seq) {
    Event event{.seq = seq,
                .time = "t",
                .type = std::string(type),
                .data = {{"n", seq}},
                .prev = head_,
                .hash = ""};
    head_ = event.hash = *EventHash(event);
    lines_.push_back(*EventLine(event));
  }

  std::string Text() const {
    std::string text;
    for (const std::string& line : lines_) text += line + "\n";
    return text;
  }

  static Result<ChainSummary> Verify(std::string_view text,
                                     TornTail torn_tail = TornTail::kRefuse) {
    return VerifyChain(storage::TextSource(text), torn_tail);
  }

  static void ExpectWrong(std::string_view text, std::string_view what) {
    const auto chain = Verify(text);
    ASSERT_FALSE(chain) << what;
    EXPECT_EQ(chain.error().code, ErrorCode::kCorrupt);
    EXPECT_THAT(chain.error().message, HasSubstr(what));
  }

  std::vector<std::string> lines_;
  std::string head_;
};

TEST_F(VerifyChainTest, SaysWhatAnIntactRecordIs) {
  const ChainSummary chain = *Verify(Text());
  EXPECT_EQ(chain.events, 4u);
  EXPECT_EQ(chain.head, head_);
  EXPECT_EQ(chain.header.run, "r");
  EXPECT_TRUE(chain.complete);
}

TEST_F(VerifyChainTest, ARecordThatStopsEarlierIsIntactButNotComplete) {
  lines_.pop_back();
  EXPECT_FALSE(Verify(Text())->complete);
  lines_.resize(1);
  const ChainSummary chain = *Verify(Text());
  EXPECT_EQ(chain.events, 0u);
  EXPECT_EQ(chain.head, HeaderHash(lines_[0]));
}

TEST_F(VerifyChainTest, FindsAFlippedBitInEveryByte) {
  const std::string text = Text();
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::string changed = text;
    changed[i] = static_cast<char>(changed[i] ^ (1 << i % 8));
    EXPECT_FALSE(Verify(changed)) << "byte " << i;
  }
}

TEST_F(VerifyChainTest, NamesTheLineThatWasChanged) {
  lines_[2].replace(lines_[2].find("\"n\":1"), 5, "\"n\":9");
  ExpectWrong(Text(), "line 3: the hash does not match the event");
}

TEST_F(VerifyChainTest, FindsRemovedRepeatedAndReorderedLines) {
  const auto intact = lines_;
  lines_.erase(lines_.begin() + 2);
  ExpectWrong(Text(), "line 3: event 2 where event 1 should be");
  lines_ = intact;
  lines_.insert(lines_.begin() + 2, lines_[2]);
  ExpectWrong(Text(), "line 4: event 1 where event 2 should be");
  lines_ = intact;
  std::swap(lines_[2], lines_[3]);
  ExpectWrong(Text(), "line 3: event 2 where event 1 should be");
  lines_ = intact;
  lines_.erase(lines_.begin());
  ExpectWrong(Text(), "line 1: field 'schema' is missing");
}

TEST_F(VerifyChainTest, FindsAForgedEventWithARightHashOfItsOwn) {
  Event forged = *ParseEventLine(lines_[2]);
  forged.data["n"] = 9;
  forged.hash = *EventHash(forged);
  lines_[2] = *EventLine(forged);
  ExpectWrong(Text(), "line 4: not bound to the line before");
}

TEST_F(VerifyChainTest, BindsTheEventsToTheirHeader) {
  lines_[0].replace(lines_[0].find("\"w\""), 3, "\"x\"");
  ExpectWrong(Text(), "line 2: not bound to the line before");
}

TEST_F(VerifyChainTest, RefusesAnythingAfterTheEndOfTheRun) {
  Add(kError, 4);
  ExpectWrong(Text(), "line 6: an event after the end of the run");
}

TEST_F(VerifyChainTest, RefusesAnotherSchema) {
  lines_[0].replace(lines_[0].find("events/1"), 8, "events/2");
  ExpectWrong(Text(), "line 1: the schema is not cofferdam.events/1");
}

TEST_F(VerifyChainTest, ATornTailIsAnErrorOrNeverWritten) {
  const std::string text = Text() + "{\"data\"";
  ExpectWrong(text, "line 6: cut off");
  EXPECT_EQ(Verify(text, TornTail::kIgnore)->events, 4u);
  ExpectWrong(text.substr(0, 10), "line 1: cut off");
  EXPECT_EQ(Verify(text.substr(0, 10), TornTail::kIgnore).error().code, ErrorCode::kNotFound)
      << "nothing was acknowledged";
}

TEST_F(VerifyChainTest, RefusesAFileWithoutAHeader) {
  ExpectWrong("", "line 1: no header");
  ExpectWrong("\n", "line 1: ");
}

TEST_F(VerifyChainTest, RefusesALineBeyondTheLimitWithoutReadingItAll) {
  std::size_t read = 0;
  const auto chain = VerifyChain(
      [&read](std::span<char> room) -> Result<std::size_t> {
        std::ranges::fill(room, ' ');
        read += room.size();
        return room.size();
      },
      TornTail::kRefuse);
  EXPECT_EQ(chain.error().code, ErrorCode::kCorrupt);
  EXPECT_THAT(chain.error().message, HasSubstr("line 1 is longer than 4194304 bytes"));
  EXPECT_LT(read, kMaxLineBytes + 200'000);
}

TEST_F(VerifyChainTest, ReadsAFile) {
  const sys::TempDir temp;
  ASSERT_TRUE(storage::WriteFileAtomically(temp / "events.jsonl", Text(), 0600));
  EXPECT_EQ(VerifyChain(temp / "events.jsonl")->head, head_);
  EXPECT_EQ(VerifyChain(temp / "missing").error().code, ErrorCode::kNotFound);
}

}  // namespace
}  // namespace cofferdam::record
