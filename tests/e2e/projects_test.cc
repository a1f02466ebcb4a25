// Projects that agents work on, through the public API: what is kept apart, taken over, taken back.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "fixture.h"
#include "sessions/session.h"

namespace cofferdam::e2e {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
namespace fs = std::filesystem;

class ProjectsTest : public PlatformFixture {
 protected:
  void SetUp() override {
    PlatformFixture::SetUp();
    ASSERT_EQ(::chmod(temp_.path().c_str(), 0755), 0);
    ASSERT_TRUE(sys::MakeDirectories(project_ + "/src", 0755));
    Put("main.c", "one\ntwo\nthree\nfour\nfive\n");
    Put("src/old.c", "old\n");
    Put("keep", "kept\n");
    ASSERT_TRUE(alice_->SetSettings({.project = project_}));
  }

  void Put(const std::string& name, const std::string& bytes) const {
    std::ofstream(project_ + "/" + name, std::ios::binary) << bytes;
  }
  std::string Get(const std::string& name) const {
    return sys::ReadFile(project_ + "/" + name).value_or("(none)");
  }

  /// One turn for each command.
  static std::string Commands(const std::vector<std::string>& commands) {
    std::string script = "turns:\n";
    for (const std::string& command : commands)
      script +=
          "  - tool_calls: [{name: bash, arguments: {command: " + json::Dump(command) + "}}]\n";
    return script + "  - text: '{{results}}'\n";
  }
  RunResult Work(const std::vector<std::string>& commands, const std::string& session = "main") {
    RunResult result = Play(Options(Commands(commands), session));
    EXPECT_FALSE(result.error) << result.error->ToString();
    return result;
  }
  /// What an agent sees.
  std::string See(const std::string& command) {
    std::string out;
    const auto sink = [&out](bool, std::string_view bytes) { out += bytes; };
    const auto outcome = alice_->Exec({.argv = {"sh", "-c", command}}, sink, {});
    EXPECT_TRUE(outcome) << outcome.error().ToString();
    return out;
  }

  std::vector<std::string> Changed() {
    const auto diff = alice_->Diff({.text = false});
    EXPECT_TRUE(diff) << diff.error().ToString();
    std::vector<std::string> lines;
    for (const ProjectChange& change : diff.value_or(ProjectDiff()).changes)
      lines.push_back(change.kind + " " + change.path);
    return lines;
  }
  RewindResult Rewind(const RewindOptions& options) {
    const auto result = alice_->Rewind(options);
    EXPECT_TRUE(result) << result.error().ToString();
    return result.value_or(RewindResult());
  }

  const std::string project_ = temp_ / "project";
};

TEST_F(ProjectsTest, WhatAnAgentChangesIsInTheDiffAndNotInTheProject) {
  Work({"sed -i s/two/TWO/ main.c; rm keep; echo new > src/new.c"});
  EXPECT_EQ(Get("main.c"), "one\ntwo\nthree\nfour\nfive\n");
  EXPECT_EQ(Get("keep"), "kept\n");
  const auto diff = alice_->Diff();
  ASSERT_TRUE(diff) << diff.error().ToString();
  EXPECT_EQ(diff->project, project_);
  ASSERT_EQ(diff->changes.size(), 3U);
  EXPECT_EQ(diff->changes[0].kind, "deleted");
  EXPECT_EQ(diff->changes[0].path, "keep");
  EXPECT_EQ(diff->changes[1].kind, "modified");
  EXPECT_EQ(diff->changes[1].added_lines, 1U);
  EXPECT_EQ(diff->changes[1].removed_lines, 1U);
  EXPECT_EQ(diff->changes[2].after->size, 4U);
  EXPECT_THAT(diff->patch, AllOf(HasSubstr("--- a/main.c\n+++ b/main.c\n"),
                                 HasSubstr("-two\n+TWO\n"), HasSubstr("deleted file mode 100644")));
  EXPECT_FALSE(diff->truncated);
}

TEST_F(ProjectsTest, ApplyTakesAllOverAndThenNothingIsKeptApart) {
  Work(
      {"sed -i s/two/TWO/ main.c; rm keep; mkdir -p deep/er; echo x > deep/er/file; ln -s main.c "
       "link; chmod +x src/old.c"});
  const auto result = alice_->Apply();
  ASSERT_TRUE(result) << result.error().ToString();
  EXPECT_THAT(result->conflicts, IsEmpty());
  EXPECT_EQ(Get("main.c"), "one\nTWO\nthree\nfour\nfive\n");
  EXPECT_EQ(Get("keep"), "(none)");
  EXPECT_EQ(Get("deep/er/file"), "x\n");
  EXPECT_EQ(fs::read_symlink(project_ + "/link"), "main.c");
  struct stat info{};
  ASSERT_EQ(::stat((project_ + "/src/old.c").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0755U);
  ASSERT_EQ(::stat((project_ + "/deep/er/file").c_str(), &info), 0);
  EXPECT_EQ(info.st_uid, ::geteuid()) << "the project's owner's";
  EXPECT_THAT(Changed(), IsEmpty());
  EXPECT_EQ(See("cat main.c"), "one\nTWO\nthree\nfour\nfive\n");
  EXPECT_THAT(alice_->Apply()->changes, IsEmpty());
}

TEST_F(ProjectsTest, EditsOfTheOwnersAreKeptApartAndMergedWhereTheyFit) {
  Work({"sed -i s/five/FIVE/ main.c; echo more >> src/old.c"});
  Put("main.c", "ONE\ntwo\nthree\nfour\nfive\n");
  Put("mine", "mine\n");
  const auto edits = alice_->Diff({.project_edits = true});
  ASSERT_TRUE(edits) << edits.error().ToString();
  ASSERT_EQ(edits->changes.size(), 2U);
  EXPECT_EQ(edits->changes[0].path, "main.c");
  EXPECT_EQ(edits->changes[0].kind, "modified");
  EXPECT_EQ(edits->changes[1].path, "mine");
  EXPECT_EQ(edits->changes[1].kind, "added");
  EXPECT_THAT(edits->patch, AllOf(HasSubstr("-one\n+ONE\n"), Not(HasSubstr("FIVE"))));
  const auto result = alice_->Apply();
  ASSERT_TRUE(result) << result.error().ToString();
  EXPECT_THAT(result->merged, ElementsAre("main.c"));
  EXPECT_EQ(Get("main.c"), "ONE\ntwo\nthree\nfour\nFIVE\n");
  EXPECT_EQ(Get("mine"), "mine\n");
  EXPECT_EQ(Get("src/old.c"), "old\nmore\n");
}

TEST_F(ProjectsTest, WhatContradictsTheOwnersEditsIsNotApplied) {
  Work({"sed -i s/two/agent/ main.c; rm keep; echo x > new"});
  Put("main.c", "one\nowner\nthree\nfour\nfive\n");
  Put("keep", "edited\n");
  const auto result = alice_->Apply();
  ASSERT_TRUE(result) << result.error().ToString();
  ASSERT_EQ(result->conflicts.size(), 2U);
  EXPECT_EQ(result->conflicts[0].path, "keep");
  EXPECT_EQ(result->conflicts[1].path, "main.c");
  EXPECT_THAT(result->changes, IsEmpty());
  EXPECT_EQ(Get("main.c"), "one\nowner\nthree\nfour\nfive\n");
  EXPECT_EQ(Get("new"), "(none)");
  EXPECT_THAT(Changed(), ElementsAre("deleted keep", "modified main.c", "added new"));
}

TEST_F(ProjectsTest, DiscardTakesAllBackAndCanBeRewound) {
  Work({"echo x >> main.c; rm -r src"});
  const auto discarded = alice_->Discard();
  ASSERT_TRUE(discarded) << discarded.error().ToString();
  EXPECT_GT(discarded->checkpoint, 0);
  EXPECT_THAT(Changed(), IsEmpty());
  EXPECT_EQ(See("cat src/old.c"), "old\n");
  Rewind({.checkpoint = discarded->checkpoint});
  EXPECT_EQ(See("tail -n1 main.c; ls src 2>&1 | wc -l"), "x\n1\n");
  EXPECT_THAT(Changed(), Contains("modified main.c"));
}

TEST_F(ProjectsTest, NothingToDiscardIsNoCheckpoint) {
  Work({"true"});
  const auto discarded = alice_->Discard();
  ASSERT_TRUE(discarded) << discarded.error().ToString();
  EXPECT_EQ(discarded->checkpoint, 0);
}

TEST_F(ProjectsTest, EveryTurnCanBeTakenBackWithWhatTheModelKnowsOfIt) {
  Work({"echo 1 > a", "echo 2 > a; echo 2 > b", "rm a; echo 3 > c"});
  const RewindResult result = Rewind({.to_turn = 2});
  EXPECT_EQ(result.turn, 2);
  EXPECT_TRUE(result.files);
  EXPECT_EQ(See("cat a b; ls c 2>&1 | grep -c 'No such'"), "2\n2\n1\n");
  const auto transcript = Transcript();
  ASSERT_EQ(transcript.size(), 6U);
  EXPECT_THAT(transcript.back(), AllOf(HasSubstr("user: [A note from the host."),
                                       HasSubstr("after turn 2 of this conversation")));
  // The provider checks that the conversation is one that goes on.
  const RunResult next = Work({"cat a"});
  EXPECT_EQ(next.text, "2\n");
  Rewind({.to_turn = 0});
  EXPECT_EQ(See("ls"), "keep\nmain.c\nsrc\n");
  EXPECT_EQ(Transcript().size(), 1U);
}

TEST_F(ProjectsTest, WithoutATargetTheLastRunIsTakenBack) {
  Work({"echo 1 > a"});
  Work({"echo 2 > a", "echo 3 > a"});
  EXPECT_EQ(Rewind({}).turn, 2) << "the first run has two turns, its answer is one";
  EXPECT_EQ(See("cat a"), "1\n");
  EXPECT_EQ(Rewind({}).turn, 0);
  EXPECT_EQ(See("ls a 2>&1 | grep -c 'No such'"), "1\n");
}

TEST_F(ProjectsTest, ARewindCanBeRewound) {
  Work({"echo 1 > a", "echo 2 > a"});
  See("echo by hand > h");
  const RewindResult result = Rewind({.to_turn = 1});
  EXPECT_EQ(See("cat a; ls h 2>&1 | grep -c 'No such'"), "1\n1\n");
  Rewind({.checkpoint = result.before, .chat = false});
  EXPECT_EQ(See("cat a h"), "2\nby hand\n");
}

TEST_F(ProjectsTest, FilesAndConversationCanBeRewoundAlone) {
  Work({"echo 1 > a", "echo 2 > a"});
  Rewind({.to_turn = 1, .files = false});
  EXPECT_EQ(See("cat a"), "2\n");
  EXPECT_THAT(Transcript().back(), HasSubstr("files in /workspace were left as they are"));
  Rewind({.to_turn = 1, .chat = false});
  EXPECT_EQ(See("cat a"), "1\n");
  EXPECT_THAT(Transcript().back(), HasSubstr("files in /workspace were put back"));
}

TEST_F(ProjectsTest, WhatOtherSessionsChangedIsNotTakenBackUnlessThatIsSaid) {
  Work({"echo 1 > a"}, "first");
  Work({"echo 2 > b"}, "second");
  const auto refused = alice_->Rewind({.session = "first", .to_turn = 0});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kConflict);
  EXPECT_THAT(refused.error().message, HasSubstr("'second'"));
  EXPECT_EQ(See("cat a b"), "1\n2\n");
  Rewind({.session = "first", .to_turn = 0, .also_others = true});
  EXPECT_EQ(See("ls"), "keep\nmain.c\nsrc\n");
}

TEST_F(ProjectsTest, WhatWasAppliedIsNotTakenBack) {
  Work({"echo 1 > a", "echo 2 > a"});
  ASSERT_TRUE(alice_->Apply());
  Work({"echo 3 > a"});
  const auto refused = alice_->Rewind({.to_turn = 1});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kUnsupported);
  EXPECT_EQ(Rewind({.to_turn = 3}).turn, 3) << "what was applied is there still";
  EXPECT_EQ(See("cat a"), "2\n");
}

TEST_F(ProjectsTest, OwnersEditsSinceADiscardAreSafeFromWhatWasDiscarded) {
  Work({"echo agent > main.c"});
  const auto discarded = alice_->Discard();
  ASSERT_TRUE(discarded);
  Put("main.c", "owner\n");
  Work({"true"}, "other");
  const auto back = alice_->Rewind({.checkpoint = discarded->checkpoint});
  if (back) {
    static_cast<void>(alice_->Apply());
  }
  EXPECT_EQ(Get("main.c"), "owner\n");
}

TEST_F(ProjectsTest, ARewindIsRefusedWhileARunGoesOn) {
  Work({"echo 1 > a"});
  auto run = alice_->Run(Options(
      "turns: [{tool_calls: [{name: bash, arguments: {command: echo 2 > a}}]}, {hang: true}]",
      "other"));
  ASSERT_TRUE(run);
  for (const RunEvent& event : (*run)->Events())
    if (std::holds_alternative<ToolEndedEvent>(event)) break;
  EXPECT_EQ(alice_->Rewind({.session = "main"}).error().code, ErrorCode::kBusy);
  EXPECT_EQ(alice_->Rewind({.session = "other"}).error().code, ErrorCode::kBusy);
  EXPECT_EQ(alice_->Discard().error().code, ErrorCode::kBusy);
  EXPECT_EQ(alice_->Apply().error().code, ErrorCode::kBusy);
  (*run)->Cancel();
  (*run)->Wait();
}

TEST_F(ProjectsTest, AKeptSandboxIsEndedByARewind) {
  ASSERT_TRUE(alice_->SetSettings({.keep_sandbox_s = 600, .project = project_}));
  Work({"echo 1 > a; touch /tmp/mark"});
  Work({"echo 2 > a"});
  Rewind({});
  EXPECT_THAT(Work({"ls /tmp; cat a"}).text, AllOf(Not(HasSubstr("mark")), HasSubstr("1")));
}

TEST_F(ProjectsTest, TheWorkspacesOwnFilesAreRewoundTheSameWay) {
  ASSERT_TRUE(alice_->SetSettings({}));
  Work({"echo 1 > a", "echo 2 > a; mkdir d"});
  EXPECT_THAT(Changed(), ElementsAre("added a", "added d"));
  Rewind({.to_turn = 1});
  EXPECT_EQ(GetFile("a"), "1\n");
  EXPECT_FALSE(fs::exists(alice_->work_folder() + "/d"));
  EXPECT_EQ(alice_->Apply().error().code, ErrorCode::kUnsupported);
}

TEST_F(ProjectsTest, CheckpointsSayWhatTheyAre) {
  Work({"echo 1 > a", "true", "echo 3 > a"});
  const auto all = alice_->Checkpoints("main");
  ASSERT_TRUE(all) << all.error().ToString();
  std::vector<std::int64_t> turns;
  for (const CheckpointInfo& checkpoint : *all) {
    EXPECT_EQ(checkpoint.reason, "turn");
    EXPECT_EQ(checkpoint.project, project_);
    EXPECT_TRUE(checkpoint.reachable);
    turns.push_back(checkpoint.turn);
  }
  EXPECT_THAT(turns, ElementsAre(1, 3));
  EXPECT_THAT(*alice_->Checkpoints("other"), IsEmpty());
}

TEST_F(ProjectsTest, WhatCannotBeIsSaid) {
  EXPECT_EQ(alice_->Diff({.project = project_}).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(alice_->Rewind({}).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(alice_->Rewind({.session = "no"}).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(alice_->Rewind({.checkpoint = 99}).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(alice_->Rewind({.files = false, .chat = false}).error().code,
            ErrorCode::kInvalidArgument);
  Work({"echo 1 > a"});
  EXPECT_EQ(alice_->Rewind({.to_turn = 9}).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(alice_->Diff({.project = "/etc"}).error().code, ErrorCode::kMountRefused);
}

TEST_F(ProjectsTest, ACopyIsAppliedAndThenMadeAnew) {
  ASSERT_TRUE(alice_->SetSettings({.project = project_, .project_mode = "copy"}));
  Work({"echo 1 > a"});
  ASSERT_TRUE(alice_->Apply());
  EXPECT_EQ(Get("a"), "1\n");
  EXPECT_EQ(See("cat a"), "1\n");
}

}  // namespace
}  // namespace cofferdam::e2e
