// Projects as /workspace, and the checkpoints of what is changed there.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <thread>

#include "crypto/hex.h"
#include "crypto/sha256.h"
#include "fixture.h"
#include "program.h"
#include "projects/view.h"

namespace cofferdam::e2e {
namespace {

using json::Json;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

/// Whom the project belongs to, when the test may give it away.
constexpr uid_t kOwner = 12'345;

std::string OneCommand(const std::string& command) {
  return "turns:\n  - tool_calls: [{name: bash, arguments: {command: " + json::Dump(Json(command)) +
         "}}]\n  - text: '{{results}}'\n";
}

std::string Sha256(const std::string& bytes) { return crypto::HexEncode(crypto::Sha256(bytes)); }

class ProjectTest : public PlatformFixture {
 protected:
  void SetUp() override {
    PlatformFixture::SetUp();
    ASSERT_TRUE(sys::MakeDirectories(project_ + "/src", 0755));
    Put("a.txt", "one\n");
    Put("src/gone.txt", "gone\n");
    Put(".gitignore", "*.o\n");
    GiveAway();
  }

  void Put(const std::string& name, const std::string& bytes) {
    std::ofstream(project_ + "/" + name, std::ios::binary) << bytes;
  }
  void GiveAway() {
    if (::geteuid() != 0) return;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(project_))
      ASSERT_EQ(::lchown(entry.path().c_str(), kOwner, kOwner), 0);
    ASSERT_EQ(::chown(project_.c_str(), kOwner, kOwner), 0);
  }

  /// Path to content of every file below a directory; of what is no file its kind.
  static std::map<std::string, std::string> Tree(const std::string& root) {
    std::map<std::string, std::string> files;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(root)) {
      const std::string name = std::filesystem::relative(entry.path(), root);
      if (entry.is_regular_file())
        files[name] = *sys::ReadFile(entry.path());
      else
        files[name] = entry.is_directory() ? "directory" : "other";
    }
    return files;
  }

  RunResult PlayProject(const std::string& script, const std::string& mode = "overlay",
                        const std::string& session = "main") {
    RunOptions options = Options(script, session);
    options.settings.project = project_;
    options.settings.project_mode = mode;
    return Play(options);
  }
  /// Runs a command in the project; its output.
  std::string Do(const std::string& command, const std::string& mode = "overlay") {
    const RunResult result =
        PlayProject(OneCommand(command), mode, "do-" + std::to_string(++done_));
    EXPECT_FALSE(result.error) << result.error->ToString();
    return result.text;
  }

  /// The data of the run's events of a type.
  static std::vector<Json> Data(const RunResult& result, const std::string& type) {
    std::vector<Json> data;
    for (const Json& event : Events(result))
      if (event.at("type") == type) data.push_back(event.at("data"));
    return data;
  }
  /// Path to the change that was recorded.
  static std::map<std::string, Json> Changes(const RunResult& result) {
    std::map<std::string, Json> changes;
    for (const Json& data : Data(result, "file.changed")) changes[data.at("path")] = data;
    return changes;
  }

  std::string Upper() const {
    return temp_ / "state/workspaces/alice/files/projects/" + projects::ProjectKey(project_) +
           "/upper";
  }

  const std::string project_ = temp_ / "project";
  int done_ = 0;
};

TEST_F(ProjectTest, IsUntouchedByWhatAnAgentDoesAndTheNextRunSeesIt) {
  const auto before = Tree(project_);
  EXPECT_THAT(Do("cat a.txt; echo two > a.txt; echo new > src/new.txt; rm src/gone.txt;"
                 "stat -c %U:%G . a.txt"),
              HasSubstr("one\nagent:agent\nagent:agent\n"));
  EXPECT_EQ(Tree(project_), before);
  const auto upper = Tree(Upper());
  EXPECT_EQ(upper.at("a.txt"), "two\n");
  EXPECT_EQ(upper.at("src/new.txt"), "new\n");
  EXPECT_EQ(upper.at("src/gone.txt"), "other") << "a whiteout";
  EXPECT_FALSE(upper.contains(".gitignore"));
  EXPECT_THAT(Do("cat a.txt; ls src"), HasSubstr("two\nnew.txt\n"));
  EXPECT_THAT(Call("bash", "{command: 'ls -A'}"), Not(HasSubstr("a.txt")))
      << "the workspace's own files are others";
}

TEST_F(ProjectTest, ARunSaysWhatEachTurnHasChangedWhateverMadeIt) {
  const RunResult result = PlayProject(R"(
turns:
  - tool_calls:
      - {name: write, arguments: {path: a.txt, content: "two\n"}}
      - {name: bash, arguments: {command: "rm src/gone.txt; echo o > src/x.o; ln -s x.o src/l"}}
  - tool_calls: [{name: ls}]
  - tool_calls: [{name: bash, arguments: {command: "rm -r src; echo three > a.txt"}}]
  - text: Done.
)");
  ASSERT_FALSE(result.error) << result.error->ToString();
  const auto opened = Data(result, "view.opened");
  ASSERT_EQ(opened.size(), 1U);
  EXPECT_EQ(opened[0].at("project"), project_);
  EXPECT_EQ(opened[0].at("mode"), "overlay");
  EXPECT_EQ(opened[0].at("checkpoints"), true);
  const auto checkpoints = Data(result, "checkpoint.taken");
  ASSERT_EQ(checkpoints.size(), 2U) << "the second turn changed nothing";
  EXPECT_EQ(checkpoints[0].at("turn"), 1);
  EXPECT_EQ(checkpoints[1].at("turn"), 3);
  EXPECT_EQ(checkpoints[0].at("view"), projects::ProjectKey(project_));
  const auto file = [](const std::string& bytes) {
    return Json{{"sha256", Sha256(bytes)}, {"size", bytes.size()}};
  };
  std::vector<Json> told = Data(result, "file.changed");
  ASSERT_GE(told.size(), 5U);
  const auto first = [&told](const std::string& path) {
    for (const Json& data : told)
      if (data.at("path") == path) return data;
    return Json();
  };
  EXPECT_EQ(first("a.txt").at("before"), file("one\n"));
  EXPECT_EQ(first("a.txt").at("after"), file("two\n"));
  EXPECT_EQ(first("src/gone.txt").at("before"), file("gone\n"));
  EXPECT_TRUE(first("src/gone.txt").at("after").is_null());
  EXPECT_TRUE(first("src/x.o").at("before").is_null());
  EXPECT_EQ(first("src/x.o").at("after"), file("o\n")) << "also what git ignores";
  EXPECT_EQ(first("src/l").at("kind"), "symlink");
  const auto last = Changes(result);
  EXPECT_EQ(last.at("a.txt").at("before"), file("two\n"));
  EXPECT_EQ(last.at("a.txt").at("after"), file("three\n"));
  EXPECT_TRUE(last.at("src/x.o").at("after").is_null());
  EXPECT_TRUE(alice_->VerifyRun(result.run_id)->complete);
}

TEST_F(ProjectTest, TurnsAreCountedThroughTheSession) {
  const std::string script =
      "turns:\n  - tool_calls: [{name: bash, arguments: {command: date +%N >> a.txt}}]\n"
      "  - text: x\n";
  for (const std::int64_t turn : {1, 3}) {
    const RunResult result = PlayProject(script);
    ASSERT_FALSE(result.error) << result.error->ToString();
    const auto checkpoints = Data(result, "checkpoint.taken");
    ASSERT_EQ(checkpoints.size(), 1U);
    EXPECT_EQ(checkpoints[0].at("turn"), turn);
    EXPECT_EQ(checkpoints[0].at("reason"), "turn");
  }
}

TEST_F(ProjectTest, ACallerSeesTheCheckpoints) {
  RunOptions options = Options(OneCommand("echo x > new; mkfifo pipe"));
  options.settings.project = project_;
  std::vector<CheckpointEvent> seen;
  options.on_event = [&seen](const RunEvent& event) {
    if (const auto* checkpoint = std::get_if<CheckpointEvent>(&event)) seen.push_back(*checkpoint);
  };
  ASSERT_FALSE(Play(options).error);
  ASSERT_EQ(seen.size(), 1U);
  EXPECT_EQ(seen[0].turn, 1);
  EXPECT_GE(seen[0].changed, 1);
  EXPECT_THAT(seen[0].left_out, ElementsAre("pipe"));
}

TEST_F(ProjectTest, TwoRunsAtOnceSeeEachOthersFiles) {
  const std::string wait = "until test -e from-b; do sleep 0.01; done; echo ok > from-a";
  RunOptions a = Options(OneCommand(wait), "a");
  RunOptions b =
      Options(OneCommand("echo ok > from-b; until test -e from-a; do sleep 0.01; done"), "b");
  a.settings.project = b.settings.project = project_;
  auto first = alice_->Run(a);
  auto second = alice_->Run(b);
  ASSERT_TRUE(first);
  ASSERT_TRUE(second);
  EXPECT_EQ((*first)->Wait().outcome, RunOutcome::kCompleted);
  EXPECT_EQ((*second)->Wait().outcome, RunOutcome::kCompleted);
  EXPECT_EQ(Tree(Upper()).at("from-a"), "ok\n");
}

TEST_F(ProjectTest, AnotherProcessCanUseTheWorkspacesFilesMeanwhileAndNotTheProject) {
  RunOptions options = Options(OneCommand("sleep 1000"));
  options.settings.project = project_;
  const auto run = alice_->Run(options);
  ASSERT_TRUE(run);
  for (const RunEvent& event : (*run)->Events())
    if (std::holds_alternative<SandboxReadyEvent>(event)) break;
  const auto exec = [this](const std::string& project) {
    return RunCofferdam({.arguments = {"--state", temp_ / "state", "exec", "-w", "alice",
                                       "--project", project, "--", "true"},
                         .environment = {{"HOME", temp_.path()}}});
  };
  const ProgramResult busy = exec(project_);
  EXPECT_EQ(busy.exit_code, 1) << busy.err;
  EXPECT_THAT(busy.err, HasSubstr("[busy]"));
  EXPECT_EQ(exec("").exit_code, 0);
  (*run)->Cancel();
  EXPECT_EQ((*run)->Wait().outcome, RunOutcome::kCancelled);
  EXPECT_EQ(exec(project_).exit_code, 0);
}

TEST_F(ProjectTest, ACancelledTurnsChangesAreInACheckpointToo) {
  RunOptions options = Options(OneCommand("echo x > half-way; sleep 1000"));
  options.settings.project = project_;
  const auto run = alice_->Run(options);
  ASSERT_TRUE(run);
  const std::string half_way = Upper() + "/half-way";
  while (::access(half_way.c_str(), F_OK) != 0) std::this_thread::yield();
  (*run)->Cancel();
  const RunResult& result = (*run)->Wait();
  EXPECT_EQ(result.outcome, RunOutcome::kCancelled);
  const auto checkpoints = Data(result, "checkpoint.taken");
  ASSERT_EQ(checkpoints.size(), 1U);
  EXPECT_EQ(checkpoints[0].at("turn"), 1);
  EXPECT_THAT(EventTypes(result).back(), "run.ended");
}

TEST_F(ProjectTest, WhatARunFindsThatNoCheckpointHasIsKeptBeforeItBegins) {
  PutFile("from-outside", "x");
  const RunResult result = Play(OneCommand("echo y > mine"));
  const auto checkpoints = Data(result, "checkpoint.taken");
  ASSERT_EQ(checkpoints.size(), 2U);
  EXPECT_EQ(checkpoints[0].at("reason"), "start");
  EXPECT_EQ(checkpoints[0].at("turn"), 0);
  EXPECT_EQ(checkpoints[0].at("view"), "work");
  EXPECT_EQ(checkpoints[1].at("reason"), "turn");
  EXPECT_THAT(Data(Play("turns: [{tool_calls: [{name: ls}]}, {text: x}]"), "checkpoint.taken"),
              IsEmpty());
}

TEST_F(ProjectTest, AnExecsChangesAreInACheckpointOfTheirOwn) {
  const auto outcome =
      alice_->Exec({.argv = {"sh", "-c", "echo x > made"}}, [](bool, std::string_view) {}, {});
  ASSERT_TRUE(outcome) << outcome.error().ToString();
  EXPECT_THAT(Data(Play("turns: [{tool_calls: [{name: ls}]}, {text: x}]"), "checkpoint.taken"),
              IsEmpty())
      << "the run finds nothing new";
}

TEST_F(ProjectTest, InTheModeDirectTheProjectItselfIsChangedByItsOwner) {
  EXPECT_THAT(Do("echo two > a.txt; echo new > new.txt", "direct"), Not(HasSubstr("denied")));
  EXPECT_EQ(Tree(project_).at("a.txt"), "two\n");
  struct stat info{};
  ASSERT_EQ(::stat((project_ + "/new.txt").c_str(), &info), 0);
  EXPECT_EQ(info.st_uid, ::geteuid() == 0 ? kOwner : ::geteuid());
  const RunResult result = PlayProject(
      "turns: [{tool_calls: [{name: write, arguments: {path: b, content: x}}]}, {text: x}]",
      "direct");
  EXPECT_THAT(EventTypes(result), Not(Contains("checkpoint.taken")));
  EXPECT_TRUE(Changes(result).contains("b")) << "a tool's own word";
  EXPECT_FALSE(Data(result, "view.opened")[0].at("checkpoints"));
}

TEST_F(ProjectTest, InTheModeReadOnlyNothingCanBeChanged) {
  const auto before = Tree(project_);
  EXPECT_THAT(Do("cat a.txt; echo two > a.txt; rm src/gone.txt; touch new", "read-only"),
              HasSubstr("one\n"));
  EXPECT_EQ(Tree(project_), before);
}

TEST_F(ProjectTest, InTheModeCopyWhatItsOwnerChangesLaterIsNotSeen) {
  EXPECT_THAT(Do("cat a.txt; echo x > new", "copy"), HasSubstr("one\n"));
  Put("a.txt", "the owner's\n");
  GiveAway();
  EXPECT_THAT(Do("cat a.txt new", "copy"), HasSubstr("one\nx\n"));
  ASSERT_EQ(Tree(project_).at("a.txt"), "the owner's\n");
  EXPECT_FALSE(Tree(project_).contains("new"));
}

TEST_F(ProjectTest, ACopyIsMadeAnewWhileNothingIsChanged) {
  EXPECT_THAT(Do("cat a.txt", "copy"), HasSubstr("one\n"));
  Put("a.txt", "the owner's\n");
  GiveAway();
  EXPECT_THAT(Do("cat a.txt", "copy"), HasSubstr("the owner's\n"));
}

TEST_F(ProjectTest, ChangesStayWithTheModeThatTheyWereMadeIn) {
  Do("echo x > new");
  const RunResult other = PlayProject(OneCommand("true"), "copy");
  ASSERT_TRUE(other.error);
  EXPECT_EQ(other.error->code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(other.error->message, HasSubstr("overlay"));
  EXPECT_THAT(Do("cat new"), HasSubstr("x\n"));
}

TEST_F(ProjectTest, WhatNoAgentMayBeGivenIsRefusedBeforeTheRun) {
  for (const std::string& project : {std::string("/etc"), std::string("/"), temp_ / "state",
                                     temp_.path(), std::string("/home")}) {
    RunOptions options = Options("turns: [{text: x}]");
    options.settings.project = project;
    EXPECT_EQ(alice_->Run(options).error().code, ErrorCode::kMountRefused) << project;
  }
  EXPECT_THAT(*alice_->Runs(), IsEmpty());
}

TEST_F(ProjectTest, AKeptSandboxOfAProjectIsWoken) {
  RunOptions options = Options(OneCommand("echo x > /tmp/here; echo y > new"));
  options.settings.project = project_;
  options.settings.keep_sandbox_s = 1000;
  const RunResult first = Play(options);
  ASSERT_FALSE(first.error) << first.error->ToString();
  if (!Data(first, "sandbox.kept")[0].at("kept").get<bool>())
    GTEST_SKIP() << Data(first, "sandbox.kept")[0].at("problem");
  options = Options(OneCommand("cat /tmp/here new"));
  options.settings.project = project_;
  const RunResult second = Play(options);
  EXPECT_THAT(EventTypes(second), Contains("sandbox.resumed"));
  EXPECT_THAT(second.text, HasSubstr("x\ny\n"));
}

TEST_F(ProjectTest, WithoutItsCheckpointsARunDoesNotBegin) {
  ASSERT_FALSE(Play(OneCommand("echo x > file")).error);
  const std::string database = temp_ / "state/workspaces/alice/checkpoints/checkpoints.db";
  ASSERT_EQ(::access(database.c_str(), F_OK), 0);
  for (const char* suffix : {"-wal", "-shm"}) ::unlink((database + suffix).c_str());
  std::ofstream(database, std::ios::trunc) << "this is no database, whatever its name says\n";
  const RunResult result = Play(OneCommand("echo y > file"));
  ASSERT_TRUE(result.error);
  EXPECT_EQ(result.error->code, ErrorCode::kCorrupt);
  EXPECT_EQ(GetFile("file"), "x\n");
}

TEST_F(ProjectTest, TheProgramTakesARelativeProjectAndTellsOfItsCheckpoints) {
  const std::string script = Script(OneCommand("echo two > a.txt"));
  const auto run = [&](const std::vector<std::string>& flags) {
    std::vector<std::string> arguments = {"--state", temp_ / "state", "run", "-w", "alice", "-m",
                                          "go",      "--script",      script};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    return RunCofferdam({.arguments = arguments, .environment = {{"HOME", temp_.path()}}});
  };
  const ProgramResult shown =
      run({"--project", std::filesystem::relative(project_, std::filesystem::current_path())});
  EXPECT_EQ(shown.exit_code, 0) << shown.err;
  EXPECT_THAT(shown.err, HasSubstr("turn 1, 1 path changed"));
  EXPECT_EQ(run({"--project", "no/such/directory"}).exit_code, 2);
  EXPECT_EQ(run({"--project", "/etc"}).exit_code, 3);
}

TEST_F(ProjectTest, AnOrdinaryUserHasThemToo) {
  if (::geteuid() != 0) GTEST_SKIP() << "all these tests are run by one";
  ASSERT_EQ(::chmod(temp_.path().c_str(), 0755), 0);
  const std::string home = temp_ / "home";
  ASSERT_TRUE(sys::MakeDirectories(home, 0755));
  ASSERT_EQ(::chown(home.c_str(), kOwner, kOwner), 0);
  const auto run = [&](const std::string& command, const std::string& mode) {
    const std::string script = Script(OneCommand(command));
    return RunCofferdam(
        {.arguments = {"--state", home + "/state", "run", "-m", "go", "--script", script,
                       "--project", project_, "--project-mode", mode, "--allow-missing", "cgroup"},
         .environment = {{"HOME", home}, {"PATH", "/usr/bin:/bin"}},
         .user = kOwner});
  };
  const auto before = Tree(project_);
  for (const char* mode : {"overlay", "read-only"}) {
    const ProgramResult first =
        run("mv src source; echo two > a.txt; rm .gitignore; ls -A . source", mode);
    ASSERT_EQ(first.exit_code, 0) << first.err;
    EXPECT_EQ(Tree(project_), before) << mode;
  }
  const ProgramResult second = run("cat a.txt; ls -A . source", "overlay");
  EXPECT_THAT(second.out, HasSubstr("two\n.:\na.txt\nsource\n\nsource:\ngone.txt\n"));
  EXPECT_EQ(run("echo three > a.txt", "direct").exit_code, 0);
  EXPECT_EQ(Tree(project_).at("a.txt"), "three\n");
}

TEST_F(ProjectTest, WhatIsChangedOfAProjectCountsAgainstTheLimitOfTheDisk) {
  RunOptions options =
      Options(OneCommand("head -c 10485760 /dev/zero > a; head -c 10485760 /dev/zero > b"));
  options.settings.project = project_;
  options.settings.disk_mib = 16;
  const RunResult result = Play(options);
  const auto made = Data(result, "sandbox.made");
  ASSERT_EQ(made.size(), 1U);
  if (made[0].at("disk").at("mechanism") != "soft") GTEST_SKIP() << "the kernel keeps the limit";
  ASSERT_TRUE(result.error);
  EXPECT_EQ(result.error->code, ErrorCode::kDiskLimit);
  EXPECT_THAT(Data(result, "checkpoint.taken"), testing::SizeIs(1)) << "it can be taken back";
}

TEST_F(ProjectTest, WhatCheckpointsTakeStaysWithinTheLimitOfTheDisk) {
  const auto write = [&](char digit) {
    RunOptions options = Options(
        OneCommand("head -c 9437184 /dev/zero | tr '\\0' " + std::string(1, digit) + " > a"));
    options.settings.project = project_;
    options.settings.disk_mib = 16;
    const RunResult result = Play(options);
    EXPECT_FALSE(result.error) << result.error->ToString();
  };
  for (const char digit : {'1', '2', '3', '4'}) write(digit);
  std::uintmax_t bytes = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(
           temp_ / "state/workspaces/alice/checkpoints/objects"))
    if (entry.is_regular_file()) bytes += entry.file_size();
  EXPECT_LT(bytes, 17U << 20);
  EXPECT_GE(bytes, 9U << 20) << "the last one is there";
}

}  // namespace
}  // namespace cofferdam::e2e
