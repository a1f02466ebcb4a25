#include "projects/apply_journal.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sys/file.h"
#include "sys/testing/temp_dir.h"

namespace cofferdam::projects {
namespace {

using testing::HasSubstr;

constexpr char kStage[] = ".cofferdam-apply-1";
constexpr char kHeader[] = R"({"format":1,"stage":".cofferdam-apply-1"})"
                           "\n";

const std::vector<Step>& Steps() {
  static const std::vector<Step> steps = {
      {.kind = StepKind::kMode, .path = "d", .inode = 7, .old_mode = 02555, .new_mode = 02755},
      {.kind = StepKind::kRemove, .path = "d/\n\xff"},
      {.kind = StepKind::kAdd, .path = "d/new", .inode = ~std::uint64_t{0}, .modified_nanos = -1},
      {.kind = StepKind::kReplace, .path = "x", .inode = 1, .modified_nanos = 1'700'000'000'000}};
  return steps;
}

class ApplyJournalTest : public testing::Test {
 protected:
  Result<std::optional<JournalContent>> Read() const { return ReadJournalIn(directory_.get()); }
  static Result<std::optional<JournalContent>> Parse(const std::string& text) {
    return ReadJournal(storage::TextSource(text));
  }

  sys::TempDir folder_;
  const sys::UniqueFd directory_ = *sys::Open(folder_.path(), O_PATH | O_DIRECTORY);
};

TEST_F(ApplyJournalTest, GivesBackWhatWasWrittenInEveryState) {
  EXPECT_EQ(*Read(), std::nullopt);
  auto journal = ApplyJournal::Begin(directory_.get(), kStage);
  ASSERT_TRUE(journal) << journal.error().ToString();
  JournalContent expected{.stage = kStage};
  EXPECT_EQ(*Read(), expected);
  ASSERT_TRUE(journal->WriteSteps(Steps()));
  EXPECT_EQ(*Read(), expected) << "steps count when all of them are there";
  ASSERT_TRUE(journal->WriteState(ApplyState::kReady));
  expected.steps = Steps();
  expected.state = ApplyState::kReady;
  EXPECT_EQ(*Read(), expected);
  auto again = ApplyJournal::Continue(directory_.get());
  ASSERT_TRUE(again && again->WriteState(ApplyState::kUndone));
  expected.state = ApplyState::kUndone;
  EXPECT_EQ(*Read(), expected);
  ASSERT_TRUE(ApplyJournal::Remove(directory_.get()));
  EXPECT_EQ(*Read(), std::nullopt);
}

TEST_F(ApplyJournalTest, IsNotBegunOverAnotherOne) {
  ASSERT_TRUE(ApplyJournal::Begin(directory_.get(), kStage));
  const auto second = ApplyJournal::Begin(directory_.get(), kStage);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::kBusy);
}

TEST_F(ApplyJournalTest, WithoutAWholeHeaderHasNothingToSay) {
  std::ofstream(folder_ / "apply.journal") << R"({"format":1,"sta)";
  EXPECT_EQ(*Read(), std::nullopt);
  EXPECT_TRUE(*HasJournal(directory_.get()));
}

TEST_F(ApplyJournalTest, ATornLastLineWasNeverWritten) {
  const auto content = Parse(std::string(kHeader) + R"({"state":"rea)");
  ASSERT_TRUE(content && *content);
  EXPECT_EQ((*content)->state, ApplyState::kBegun);
}

TEST_F(ApplyJournalTest, SaysInWhichLineItIsDamaged) {
  const std::string good = R"({"step":"remove","path":"78"})"
                           "\n";
  for (const std::string bad :
       {"",
        "{",
        "[]",
        "{}",
        R"({"step":"remove","path":""})",
        R"({"step":"remove","path":"7"})",
        R"({"step":"remove","path":"2f78"})",
        R"({"step":"remove","path":"2e2e"})",
        R"({"step":"remove","path":"782f2e2e2f79"})",
        R"({"step":"remove","path":"782f2f79"})",
        R"({"step":"remove","path":"780079"})",
        R"({"step":"move","path":"78"})",
        R"({"step":"add","path":"78"})",
        R"({"step":"add","path":"78","inode":-1,"modified":0})",
        R"({"step":"add","path":"78","inode":1})",
        R"({"step":"mode","path":"78","inode":1,"old_mode":4096,"new_mode":0})",
        R"({"state":"applied"})",
        R"({"state":"begun"})",
        R"({"state":"done"})",
        R"({"state":"ready"}
{"step":"remove","path":"78"})",
        R"({"state":"ready"}
{"state":"ready"})",
        R"({"state":"ready"}
{"state":"undone"}
{"state":"applied"})"}) {
    const auto content = Parse(kHeader + good + bad + "\n");
    ASSERT_FALSE(content) << bad;
    EXPECT_EQ(content.error().code, ErrorCode::kCorrupt) << bad;
    EXPECT_THAT(content.error().message, HasSubstr("line ")) << bad;
  }
}

TEST_F(ApplyJournalTest, TakesNoOtherDirectoryForAStage) {
  for (const char* name : {"src", ".cofferdam-apply-", ".cofferdam-apply-/../src", "", ".."})
    EXPECT_FALSE(Parse(std::string(R"({"format":1,"stage":")") + name + "\"}\n")) << name;
}

TEST_F(ApplyJournalTest, OfAnotherVersionIsLeftToIt) {
  const auto content = Parse(R"({"format":2,"stage":".cofferdam-apply-1"})"
                             "\n");
  ASSERT_FALSE(content);
  EXPECT_EQ(content.error().code, ErrorCode::kUnsupported);
}

TEST_F(ApplyJournalTest, HasALongestLine) {
  const auto content = Parse(kHeader + std::string(1 << 20, ' ') + "\n");
  ASSERT_FALSE(content);
  EXPECT_EQ(content.error().code, ErrorCode::kCorrupt);
}

}  // namespace
}  // namespace cofferdam::projects
