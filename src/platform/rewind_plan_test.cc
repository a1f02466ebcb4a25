#include "platform/rewind_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cofferdam::platform {
namespace {

using projects::Checkpoint;
using testing::ElementsAre;
using testing::IsEmpty;

/// A history of checkpoints; ids count from 1.
class History {
 public:
  History& In(const std::string& view) {
    view_ = view;
    return *this;
  }
  History& Turn(const std::string& session, std::int64_t turn, const std::string& run = "run") {
    return Add({.reason = "turn", .session = session, .run = run, .turn = turn});
  }
  History& Other(const std::string& reason, const std::string& session = {}, std::int64_t turn = 0,
                 const std::string& run = {}) {
    return Add({.reason = reason, .session = session, .run = run, .turn = turn});
  }
  History& Apply() {
    ++epoch_;
    return Other("apply");
  }
  History& Abandoned() {
    all_.back().abandoned = true;
    return *this;
  }
  const AllCheckpoints& get() const { return all_; }

 private:
  History& Add(projects::CheckpointLabel label) {
    all_.push_back(
        {.id = std::ssize(all_) + 1, .view = view_, .label = std::move(label), .epoch = epoch_});
    return *this;
  }

  AllCheckpoints all_;
  std::string view_ = "work";
  std::int64_t epoch_ = 0;
};

std::int64_t After(const History& history, std::int64_t turn) {
  const auto target = FilesAfterTurn(history.get(), "s", turn);
  EXPECT_TRUE(target && *target);
  return target && *target ? (*target)->checkpoint : -1;
}

TEST(FilesAfterTurn, AreTheNewestOfTheSessionThatAreNotOfALaterTurn) {
  const History history = History().Turn("s", 1).Turn("s", 3).Turn("s", 4);
  EXPECT_EQ(After(history, 1), 1);
  EXPECT_EQ(After(history, 2), 1) << "turn 2 changed nothing";
  EXPECT_EQ(After(history, 3), 2);
  EXPECT_EQ(After(history, 9), 3);
}

TEST(FilesAfterTurn, BeforeTheFirstOnesAreWhatTheSessionFound) {
  EXPECT_EQ(After(History().Turn("s", 2), 1), 0);
  EXPECT_EQ(After(History().Turn("t", 1).Other("start", "s").Turn("s", 2), 1), 2);
}

TEST(FilesAfterTurn, OfASessionThatChangedNoneAreNone) {
  const auto target = FilesAfterTurn(History().Turn("t", 1).get(), "s", 1);
  ASSERT_TRUE(target);
  EXPECT_FALSE(*target);
}

TEST(FilesAfterTurn, WhatWasTakenBackDoesNotCount) {
  const History history =
      History().Turn("s", 1).Turn("s", 2).Abandoned().Other("rewind", "s", 1).Turn("s", 3);
  EXPECT_EQ(After(history, 1), 3) << "which has the files of 1";
  EXPECT_EQ(After(history, 2), 3) << "the new turn 2 changed nothing";
  EXPECT_EQ(After(history, 3), 4);
}

TEST(FilesAfterTurn, ARewindOfFilesAloneCountsForTheTurnsAfterIt) {
  const History history = History().Turn("s", 1).Turn("s", 2).Other("rewind", "s", 3);
  EXPECT_EQ(After(history, 2), 2);
  EXPECT_EQ(After(history, 3), 3);
}

TEST(FilesAfterTurn, AreKnownAlsoWhenAllTurnsWereTakenBack) {
  EXPECT_EQ(
      After(History().Turn("s", 1).Abandoned().Other("rewind", "s", 0).Other("rewind", "s", 1), 0),
      2);
}

TEST(FilesAfterTurn, AreThoseOfTheViewThatTheLaterTurnsChanged) {
  const History history = History().In("a").Turn("s", 1).In("b").Turn("s", 2);
  EXPECT_EQ(FilesAfterTurn(history.get(), "s", 1)->value(), (FilesTarget{"b", 0}));
  EXPECT_EQ(FilesAfterTurn(history.get(), "s", 0).error().code, ErrorCode::kUnsupported);
}

TEST(FilesBeforeRun, AreWhatTheRunFound) {
  const History history = History()
                              .Turn("s", 1, "one")
                              .Other("start", "s", 0, "two")
                              .Turn("s", 2, "two")
                              .Turn("s", 3, "three");
  EXPECT_EQ(FilesBeforeRun(history.get(), "one"), (FilesTarget{"work", 0}));
  EXPECT_EQ(FilesBeforeRun(history.get(), "two"), (FilesTarget{"work", 2}));
  EXPECT_EQ(FilesBeforeRun(history.get(), "three"), (FilesTarget{"work", 3}));
  EXPECT_EQ(FilesBeforeRun(history.get(), "four"), std::nullopt);
}

TEST(CheckReachable, WhatWasAppliedCannotBeTakenBack) {
  const History history = History().Turn("s", 1).Turn("s", 2).Apply().Turn("s", 3);
  EXPECT_EQ(CheckReachable(history.get(), {"work", 1}).error().code, ErrorCode::kUnsupported);
  EXPECT_EQ(CheckReachable(history.get(), {"work", 0}).error().code, ErrorCode::kUnsupported);
  EXPECT_EQ(*CheckReachable(history.get(), {"work", 4}), (FilesTarget{"work", 4}));
  EXPECT_FALSE(IsReachable(history.get(), history.get()[1]));
  EXPECT_TRUE(IsReachable(history.get(), history.get()[3]));
}

TEST(CheckReachable, TheStateThatWasAppliedIsTheOneAfterTheApply) {
  const History history = History().Turn("s", 1).Turn("s", 2).Apply().Turn("s", 3);
  EXPECT_EQ(*CheckReachable(history.get(), {"work", 2}), (FilesTarget{"work", 0}));
}

TEST(CheckReachable, AnApplyToAnotherProjectChangesNothing) {
  const History history = History().In("a").Turn("s", 1).In("b").Apply();
  EXPECT_EQ(*CheckReachable(history.get(), {"a", 0}), (FilesTarget{"a", 0}));
}

TEST(OthersSince, AreTheSessionsWhoseTurnsWouldBeTakenBack) {
  const History history = History()
                              .Turn("t", 1)
                              .Turn("s", 1)
                              .Turn("u", 1)
                              .Turn("u", 2)
                              .Turn("v", 1)
                              .Abandoned()
                              .In("other")
                              .Turn("w", 1);
  EXPECT_THAT(OthersSince(history.get(), {"work", 2}, "s"), ElementsAre("u"));
  EXPECT_THAT(OthersSince(history.get(), {"work", 0}, "s"), ElementsAre("t", "u"));
  EXPECT_THAT(OthersSince(history.get(), {"work", 4}, "s"), IsEmpty());
}

TEST(RewindPlan, WhatIsForgottenCannotBeGoneBackToAndWhatCameAfterCan) {
  History history;
  history.Other("forgotten").Turn("s", 4).Turn("s", 5);
  const auto before = FilesAfterTurn(history.get(), "s", 3);
  ASSERT_TRUE(before && *before);
  const auto refused = CheckReachable(history.get(), **before);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kUnsupported);
  EXPECT_FALSE(IsReachable(history.get(), history.get()[0]));
  const auto later = FilesAfterTurn(history.get(), "s", 4);
  ASSERT_TRUE(later && *later);
  EXPECT_TRUE(CheckReachable(history.get(), **later));
}

}  // namespace
}  // namespace cofferdam::platform
