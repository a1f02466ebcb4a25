// The disk limit of a workspace, through the public API: how it is kept, what ends with it, and who
// says so.
#include <filesystem>
#include <string>

#include "fixture.h"
#include "sandbox/disk_image.h"

namespace cofferdam::e2e {
namespace {

using testing::AnyOf;
using testing::Contains;
using testing::HasSubstr;
using testing::IsSupersetOf;
using testing::Not;

class DiskTest : public PlatformFixture {
 protected:
  /// The "disk" of the event sandbox.made.
  static json::Json RecordedDisk(const RunResult& result) {
    for (const json::Json& event : Events(result))
      if (event.at("type") == "sandbox.made") return event.at("data").at("disk");
    return {};
  }

  Result<ExecOutcome> Shell(const std::string& line, const Settings& settings = {}) {
    return alice_->Exec({.argv = {"/bin/sh", "-c", line}, .settings = settings},
                        [this](bool, std::string_view bytes) { output_ += bytes; }, {});
  }

  std::string output_;
};

constexpr char kTwoFiles[] = R"(
turns:
  - tool_calls:
      - {name: bash, arguments: {command: "for f in a b; do head -c 10485760 /dev/zero > $f; done"}}
  - text: never said
)";

TEST_F(DiskTest, ARunThatIsOverTheLimitFailsAndSaysBecauseOfWhat) {
  RunOptions options = Options(kTwoFiles);
  options.settings.disk_mib = 16;
  const RunResult result = Play(options);
  EXPECT_EQ(result.outcome, RunOutcome::kFailed);
  ASSERT_TRUE(result.error);
  EXPECT_EQ(result.error->code, ErrorCode::kDiskLimit);
  EXPECT_THAT(result.error->message, HasSubstr("more than 16.0 MiB (disk_mib)"));
  EXPECT_THAT(EventTypes(result), Contains("error"));
  EXPECT_TRUE(alice_->VerifyRun(result.run_id)->complete);
}

TEST_F(DiskTest, TheSameRunWithinTheLimitGoesOn) {
  RunOptions options = Options(kTwoFiles);
  options.settings.disk_mib = 64;
  const RunResult result = Play(options);
  EXPECT_FALSE(result.error) << result.error->ToString();
  EXPECT_EQ(RecordedDisk(result).at("bytes"), 64 << 20);
  EXPECT_THAT(RecordedDisk(result).at("mechanism"), AnyOf("soft", "project_quota"));
}

TEST_F(DiskTest, WithoutALimitTheRecordSaysSo) {
  RunOptions options = Options(kTwoFiles);
  options.settings.disk_mib = 0;
  const RunResult result = Play(options);
  EXPECT_FALSE(result.error) << result.error->ToString();
  EXPECT_EQ(RecordedDisk(result), (json::Json{{"mechanism", "none"}, {"bytes", 0}}));
}

TEST_F(DiskTest, ACommandThatIsOverTheLimitFailsAndTheNextOneCanCleanUp) {
  const Settings settings{.disk_mib = 16};
  const auto over = Shell("for f in a b; do head -c 10485760 /dev/zero > $f; done", settings);
  ASSERT_FALSE(over);
  EXPECT_EQ(over.error().code, ErrorCode::kDiskLimit);
  EXPECT_FALSE(Shell("true", settings)) << "it still is";
  EXPECT_TRUE(Shell("rm a", settings));
  EXPECT_TRUE(Shell("true", settings));
}

TEST_F(DiskTest, AFileThatClaimsMoreThanTheLimitIsRefused) {
  const auto outcome = Shell("exec truncate -s 4G sparse", {.disk_mib = 16});
  ASSERT_TRUE(outcome) << outcome.error().ToString();
  EXPECT_NE(outcome->exit_code, 0);
}

TEST_F(DiskTest, AWorkspaceKnowsWhatItTakes) {
  ASSERT_TRUE(alice_->SetSettings({.disk_mib = 100}));
  PutFile("file", std::string(3 << 20, 'x'));
  const auto disk = alice_->Disk();
  ASSERT_TRUE(disk) << disk.error().ToString();
  EXPECT_THAT(disk->mechanism, AnyOf("soft", "project_quota"));
  EXPECT_EQ(disk->limit_bytes, 100ULL << 20);
  EXPECT_GE(disk->used_bytes, 3ULL << 20);
  EXPECT_LT(disk->used_bytes, 4ULL << 20);
}

TEST_F(DiskTest, AHardLimitOnAWorkspaceWithFilesIsRefusedWithTheWayOut) {
  PutFile("file", "here already");
  const auto outcome = Shell("true", {.disk_limit = "hard"});
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, ErrorCode::kDiskLimit);
  EXPECT_THAT(outcome.error().hint, HasSubstr("disk_limit to soft"));
  ASSERT_TRUE(alice_->SetSettings({.disk_limit = "hard"}));
  EXPECT_EQ(alice_->Disk()->mechanism, "refused");
}

class HardDiskTest : public DiskTest {
 protected:
  void SetUp() override {
    DiskTest::SetUp();
    if (const Status possible = sandbox::CheckDiskImage(); !possible)
      GTEST_SKIP() << possible.error().ToString();
    ASSERT_TRUE(alice_->SetSettings({.disk_mib = 32, .disk_limit = "hard"}));
    EXPECT_EQ(alice_->Disk()->mechanism, "image");
  }
};

TEST_F(HardDiskTest, TheKernelRefusesWhatIsBeyondItAndTheRunGoesOn) {
  const RunResult result = Play(R"(
turns:
  - tool_calls:
      - name: bash
        arguments: {command: "for f in a b c d; do head -c 10485760 /dev/zero > $f; done"}
  - expect: {results: [{contains: No space left on device}]}
    text: I see.
)");
  ASSERT_FALSE(result.error) << result.error->ToString();
  EXPECT_EQ(RecordedDisk(result), (json::Json{{"mechanism", "image"}, {"bytes", 32 << 20}}));
}

TEST_F(HardDiskTest, FilesOutlastTheRunsAndAreNotInTheHostsFolder) {
  ASSERT_TRUE(Shell("echo kept > file"));
  ASSERT_TRUE(Shell("cat file"));
  EXPECT_EQ(output_, "kept\n");
  EXPECT_TRUE(std::filesystem::is_empty(alice_->work_folder()));
}

// Whatever is asked for afterwards: that is where the files are.
TEST_F(HardDiskTest, AWorkspaceWithAnImageKeepsIt) {
  ASSERT_TRUE(Shell("echo kept > file"));
  ASSERT_TRUE(alice_->SetSettings({.disk_mib = 0}));
  ASSERT_TRUE(Shell("cat file"));
  EXPECT_EQ(output_, "kept\n");
  EXPECT_EQ(alice_->Disk()->mechanism, "image");
  EXPECT_EQ(alice_->Disk()->limit_bytes, 32ULL << 20);
}

TEST_F(HardDiskTest, WhatTheHostCannotSeeHasNoCheckpointsAndTheRecordSaysSo) {
  const RunResult result =
      Play("turns: [{tool_calls: [{name: write, arguments: {path: a, content: x}}]}, {text: x}]");
  ASSERT_FALSE(result.error) << result.error->ToString();
  EXPECT_THAT(EventTypes(result), Not(Contains("checkpoint.taken")));
  std::vector<json::Json> told;
  for (const json::Json& event : Events(result))
    if (event.at("type") == "view.opened" || event.at("type") == "file.changed")
      told.push_back(event.at("data"));
  ASSERT_EQ(told.size(), 2U);
  EXPECT_EQ(told[0].at("checkpoints"), false);
  EXPECT_EQ(told[1].at("path"), "a") << "the tool's own word";
}

TEST_F(HardDiskTest, AProjectsChangesCannotComeIntoAnImage) {
  ASSERT_TRUE(sys::MakeDirectories(temp_ / "project", 0755));
  ASSERT_TRUE(Shell("true"));
  const auto exec = [this](const char* mode) {
    return alice_->Exec(
        {.argv = {"true"}, .settings = {.project = temp_ / "project", .project_mode = mode}},
        [](bool, std::string_view) {}, {});
  };
  const auto refused = exec("overlay");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kUnsupported);
  EXPECT_THAT(refused.error().message, HasSubstr("image"));
  EXPECT_TRUE(exec("read-only"));
}

TEST_F(HardDiskTest, ItsSandboxesAreNotKeptForALaterRun) {
  RunOptions options = Options("turns: [{tool_calls: [{name: ls}]}, {text: x}]");
  options.settings.keep_sandbox_s = 1000;
  for (int i = 0; i < 2; ++i) {
    const RunResult result = Play(options);
    ASSERT_FALSE(result.error) << result.error->ToString();
    EXPECT_THAT(EventTypes(result), IsSupersetOf({"sandbox.made", "sandbox.kept"}));
    for (const json::Json& event : Events(result))
      if (event.at("type") == "sandbox.kept") {
        EXPECT_FALSE(event.at("data").at("kept"));
      }
  }
}

TEST_F(HardDiskTest, DeletingTheWorkspaceDeletesTheImage) {
  ASSERT_TRUE(Shell("echo kept > file"));
  ASSERT_TRUE(platform_->DeleteWorkspace("alice", LiveRuns::kRefuse));
  EXPECT_TRUE(std::filesystem::is_empty(temp_ / "state/workspaces"));
}

}  // namespace
}  // namespace cofferdam::e2e
