#include "platform/checkpoint_events.h"

#include <gmock/gmock.h>

namespace cofferdam::platform {
namespace {

using json::Json;
using projects::NodeKind;

const std::string kOne(64, '1');
const std::string kTwo(64, '2');

projects::Node File(std::uint64_t size, std::uint32_t mode = 0644) {
  return {.kind = NodeKind::kFile, .mode = mode, .size = size};
}

class CheckpointEventsTest : public testing::Test {
 protected:
  CheckpointEventsTest() {
    outcome_.taken.checkpoint = projects::Checkpoint{.id = 7, .view = "work"};
    outcome_.taken.checkpoint->label = {.reason = "turn", .turn = 3};
  }
  void Add(projects::UpperChange change) { outcome_.taken.changes.push_back(std::move(change)); }
  /// The data of all events but the last, which is of the checkpoint.
  std::vector<Json> Files() {
    std::vector<Json> files;
    for (const record::NewEvent& event : CheckpointEvents(outcome_))
      if (event.type == record::kFileChanged) files.push_back(event.data);
    return files;
  }
  Json Checkpoint() { return CheckpointEvents(outcome_).back().data; }

  OpenView::Outcome outcome_;
};

TEST_F(CheckpointEventsTest, SayNothingWhenNoneWasMade) {
  outcome_.taken.checkpoint.reset();
  EXPECT_TRUE(CheckpointEvents(outcome_).empty());
}

TEST_F(CheckpointEventsTest, AFileIsComparedWithTheCheckpointBefore) {
  Add({.path = "a",
       .node = File(2),
       .object = kTwo,
       .node_before = File(1),
       .object_before = kOne});
  Add({.path = "b", .node_before = File(1), .object_before = kOne});
  const auto files = Files();
  ASSERT_EQ(files.size(), 2U);
  EXPECT_EQ(files[0].at("before").at("sha256"), kOne);
  EXPECT_EQ(files[0].at("after"), (Json{{"sha256", kTwo}, {"size", 2}}));
  EXPECT_TRUE(files[1].at("after").is_null());
}

TEST_F(CheckpointEventsTest, AFileThatIsNewInTheUpperIsComparedWithTheLayersBelow) {
  const projects::Node whiteout{.kind = NodeKind::kWhiteout};
  Add({.path = "changed", .node = File(2), .object = kTwo});
  Add({.path = "gone", .node = whiteout});
  Add({.path = "gone-directory", .node = whiteout});
  Add({.path = "copied-up", .node = File(1), .object = kOne});
  for (const char* path : {"changed", "gone", "copied-up"})
    outcome_.below[path] = {.node = File(1), .object = kOne};
  outcome_.below["gone-directory"] = {.node = {.kind = NodeKind::kDirectory}};
  const auto files = Files();
  ASSERT_EQ(files.size(), 3U) << "what was only copied up is as it was";
  EXPECT_EQ(files[0].at("before").at("sha256"), kOne);
  EXPECT_EQ(files[0].at("after").at("sha256"), kTwo);
  EXPECT_EQ(files[1].at("path"), "gone");
  EXPECT_EQ(files[1].at("before").at("sha256"), kOne);
  EXPECT_TRUE(files[1].at("after").is_null());
  EXPECT_EQ(files[2].at("kind"), "directory");
}

TEST_F(CheckpointEventsTest, AnotherModeIsAChangeAndAnotherTimeIsNone) {
  projects::Node later = File(1);
  later.modified_nanos = 5;
  Add({.path = "touched",
       .node = later,
       .object = kOne,
       .node_before = File(1),
       .object_before = kOne});
  Add({.path = "mode",
       .node = File(1, 0755),
       .object = kOne,
       .node_before = File(1),
       .object_before = kOne});
  const auto files = Files();
  ASSERT_EQ(files.size(), 1U);
  EXPECT_EQ(files[0].at("path"), "mode");
  EXPECT_EQ(files[0].at("before"), files[0].at("after"));
}

TEST_F(CheckpointEventsTest, WhatHasNoContentIsNotSaidToBeGone) {
  Add({.path = "too-large", .node = File(1), .node_before = File(1), .object_before = kOne});
  Add({.path = "directory", .node = {{.kind = NodeKind::kDirectory}}});
  outcome_.taken.left_out = {{"too-large", projects::LeftOut::Why::kTooLarge, 1}};
  EXPECT_TRUE(Files().empty());
  EXPECT_EQ(Checkpoint().at("left_out"),
            Json::array({{{"path", "too-large"}, {"why", "too_large"}, {"size", 1}}}));
  EXPECT_EQ(PublicCheckpoint(outcome_).left_out, std::vector<std::string>{"too-large"});
}

TEST_F(CheckpointEventsTest, TooManyAreCounted) {
  for (std::size_t i = 0; i < kMaxToldFiles + 2; ++i)
    Add({.path = "f" + std::to_string(i), .node = File(1), .object = kOne});
  for (int i = 0; i < 200; ++i)
    outcome_.taken.left_out.push_back(
        {std::string(4000, 'x'), projects::LeftOut::Why::kSpecial, 0});
  EXPECT_EQ(Files().size(), kMaxToldFiles);
  const Json checkpoint = Checkpoint();
  EXPECT_EQ(checkpoint.at("checkpoint"), 7);
  EXPECT_EQ(checkpoint.at("turn"), 3);
  EXPECT_EQ(checkpoint.at("not_listed"), 2);
  EXPECT_EQ(checkpoint.at("left_out_count"), 200);
  EXPECT_LT(json::Dump(checkpoint).size(), 1U << 20);
}

}  // namespace
}  // namespace cofferdam::platform
