// cofferdam workspace fork: two workspaces with the same files, which go on without each other.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <stop_token>
#include <thread>

#include "fixture.h"
#include "program.h"
#include "sys/fd.h"

namespace cofferdam::e2e {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
namespace fs = std::filesystem;

class ForkTest : public PlatformFixture {
 protected:
  void SetUp() override {
    PlatformFixture::SetUp();
    Settings settings;
    if (::geteuid() != 0) settings.allow_missing = {"cgroup"};
    ASSERT_TRUE(alice_->SetSettings(settings));
  }

  /// What a command prints in a sandbox of the workspace.
  static std::string Sh(Workspace& workspace, const std::string& command) {
    std::string text;
    const auto outcome =
        workspace.Exec({.argv = {"sh", "-c", command}},
                       [&text](bool, std::string_view bytes) { text += bytes; }, {});
    EXPECT_TRUE(outcome) << outcome.error().ToString();
    return text;
  }

  ForkResult Fork(const std::string& from, const std::string& to) {
    auto forked = platform_->ForkWorkspace(from, to);
    EXPECT_TRUE(forked) << forked.error().ToString();
    return forked ? *forked : ForkResult();
  }
  Workspace Get(const std::string& id) { return *platform_->GetWorkspace(id); }

  /// The layers that there are.
  std::vector<std::string> Layers() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(platform_->state() + "/layers"))
      names.push_back(entry.path().filename());
    std::ranges::sort(names);
    return names;
  }
  std::string TreeOf(const std::string& layer) const {
    return platform_->state() + "/layers/" + layer + "/tree";
  }
  /// Every path in a layer with what the host sees of it.
  std::string Picture(const std::string& layer) const {
    std::vector<std::string> lines;
    for (const auto& entry : fs::recursive_directory_iterator(TreeOf(layer))) {
      struct stat info{};
      EXPECT_EQ(::lstat(entry.path().c_str(), &info), 0);
      lines.push_back(entry.path().string() + " " + std::to_string(info.st_ino) + " " +
                      std::to_string(info.st_mode) + " " + std::to_string(info.st_uid) + " " +
                      std::to_string(info.st_size) + " " + std::to_string(info.st_nlink) + " " +
                      std::to_string(info.st_ctim.tv_sec) + "." +
                      std::to_string(info.st_ctim.tv_nsec) +
                      (S_ISREG(info.st_mode) ? sys::ReadFile(entry.path()).value_or("") : ""));
    }
    std::ranges::sort(lines);
    std::string text;
    for (const std::string& line : lines) text += line + '\n';
    return text;
  }

  static constexpr char kTree[] = "find . | sort; cat $(find . -type f | sort)";
};

/// A command that goes on in a workspace until this object's end.
class LiveCommand {
 public:
  explicit LiveCommand(Workspace& workspace, const std::string& command = "echo; exec sleep 1000")
      : thread_([this, &workspace, command] {
          const auto ended = workspace.Exec(
              {.argv = {"sh", "-c", command}},
              [this](bool, std::string_view) {
                EXPECT_TRUE(sys::WriteAll(ready_.write_end.get(), "x"));
              },
              stop_.get_token());
          EXPECT_TRUE(ended) << ended.error().ToString();
        }) {
    char byte;
    EXPECT_EQ(sys::Read(ready_.read_end.get(), {&byte, 1}).value_or(0), 1U);
  }
  ~LiveCommand() { stop_.request_stop(); }

 private:
  const sys::Pipe ready_ = *sys::NewPipe();
  std::stop_source stop_;
  std::jthread thread_;
};

TEST_F(ForkTest, BothHaveTheFilesAndNeitherSeesWhatTheOtherDoesThen) {
  Sh(*alice_, "mkdir -p d/e && echo one >d/e/one && echo two >two && ln -s two link");
  const std::string before = Sh(*alice_, kTree);
  const ForkResult forked = Fork("alice", "bob");
  EXPECT_EQ(forked.method, "shared");
  EXPECT_EQ(forked.reason, "");
  EXPECT_EQ(Layers(), std::vector<std::string>{forked.layer});
  const std::string layer = Picture(forked.layer);
  Workspace bob = Get("bob");
  EXPECT_EQ(Sh(*alice_, kTree), before);
  EXPECT_EQ(Sh(bob, kTree), before);

  Sh(*alice_, "echo changed >two; rm -r d; mkdir d; echo new >d/new; chmod 600 link");
  EXPECT_EQ(Sh(bob, kTree), before);
  Sh(bob, "echo other >d/e/one; rm two; mv d moved; ln moved/e/one hard");
  EXPECT_EQ(Sh(bob, "cat moved/e/one hard; ls"), "other\nother\nhard\nlink\nmoved\n");
  EXPECT_EQ(Sh(*alice_, "cat two d/new; ls . d"), "changed\nnew\n.:\nd\nlink\ntwo\n\nd:\nnew\n");
  EXPECT_EQ(Picture(forked.layer), layer) << "nobody writes in a layer";
}

TEST_F(ForkTest, TheSecondWorkspaceOwnsWhatItSees) {
  Sh(*alice_, "mkdir -m 700 private && echo x >private/file && chmod 600 private/file");
  Fork("alice", "bob");
  Workspace bob = Get("bob");
  EXPECT_EQ(Sh(bob, "stat -c %U:%a private private/file; echo more >>private/file; cat private/*"),
            "agent:700\nagent:600\nx\nmore\n");
}

TEST_F(ForkTest, AForkOfAForkOfAForkHasEverythingAndOutlivesTheOthers) {
  Sh(*alice_, "echo 1 >one; echo x >gone");
  Fork("alice", "b");
  Workspace b = Get("b");
  Sh(b, "echo 2 >two; rm gone");
  Fork("b", "c");
  Workspace c = Get("c");
  Sh(c, "echo 3 >three; echo 4 >>one");
  const ForkResult last = Fork("c", "d");
  EXPECT_EQ(last.method, "shared");
  EXPECT_EQ(Layers().size(), 3U);
  for (const char* id : {"alice", "b", "c"})
    ASSERT_TRUE(platform_->DeleteWorkspace(id, LiveRuns::kRefuse)) << id;
  EXPECT_EQ(Layers().size(), 3U);
  Workspace d = Get("d");
  EXPECT_EQ(Sh(d, "ls; cat one two three"), "one\nthree\ntwo\n1\n4\n2\n3\n");
  ASSERT_TRUE(platform_->DeleteWorkspace("d", LiveRuns::kRefuse));
  EXPECT_THAT(Layers(), IsEmpty());
}

TEST_F(ForkTest, WhatTheFirstOneDoesNotChangeNeedsNoOtherLayer) {
  Sh(*alice_, "echo 1 >one");
  const ForkResult first = Fork("alice", "b");
  const ForkResult second = Fork("alice", "c");
  EXPECT_EQ(second.method, "shared");
  EXPECT_EQ(second.layer, "");
  EXPECT_EQ(Layers(), std::vector<std::string>{first.layer});
  Workspace c = Get("c");
  EXPECT_EQ(Sh(c, "cat one"), "1\n");
}

TEST_F(ForkTest, ManyLayersAreCopiedIntoOne) {
  constexpr int kMaxLayers = 24;
  Sh(*alice_, "mkdir d; echo 0 >d/0");
  for (int i = 1; i <= kMaxLayers; ++i) {
    ASSERT_EQ(Fork("alice", "b" + std::to_string(i)).method, "shared") << i;
    const std::string name = std::to_string(i);
    Sh(*alice_, "echo " + name + " >d/" + name + "; rm -f d/" + std::to_string(i - 3));
  }
  const std::string files = Sh(*alice_, kTree);
  const ForkResult forked = Fork("alice", "last");
  EXPECT_EQ(forked.method, "copied");
  EXPECT_THAT(forked.reason, HasSubstr("24 layers"));
  Workspace last = Get("last");
  EXPECT_EQ(Sh(last, kTree), files);
  EXPECT_EQ(Sh(*alice_, kTree), files);
  EXPECT_EQ(Fork("last", "more").method, "shared");
}

TEST_F(ForkTest, AWorkspaceWithoutFilesHasNoLayerToShare) {
  EXPECT_EQ(Fork("alice", "bob").layer, "");
  EXPECT_THAT(Layers(), IsEmpty());
  Workspace bob = Get("bob");
  EXPECT_EQ(Sh(bob, "ls; echo x >x; cat x"), "x\n");
}

TEST_F(ForkTest, SettingsComeAlongAndHomeAndSessionsDoNot) {
  Settings settings = alice_->settings();
  settings.system_prompt = "Be brief.";
  ASSERT_TRUE(alice_->SetSettings(settings));
  Play(
      "turns:\n  - tool_calls: [{name: bash, arguments: {command: 'echo x >~/x; echo y >y'}}]\n"
      "  - text: Done.\n");
  Fork("alice", "bob");
  Workspace bob = Get("bob");
  EXPECT_EQ(bob.settings().system_prompt, "Be brief.");
  EXPECT_THAT(*bob.Sessions(), IsEmpty());
  EXPECT_THAT(*bob.Runs(), IsEmpty());
  EXPECT_EQ(Sh(bob, "ls ~; cat y"), "y\n");
}

TEST_F(ForkTest, ATargetThatIsThereAndASourceThatIsNotAreRefused) {
  Sh(*alice_, "echo x >x");
  ASSERT_TRUE(platform_->CreateWorkspace("bob"));
  EXPECT_EQ(platform_->ForkWorkspace("alice", "bob").error().code, ErrorCode::kAlreadyExists);
  EXPECT_EQ(platform_->ForkWorkspace("alice", "alice").error().code, ErrorCode::kAlreadyExists);
  EXPECT_EQ(platform_->ForkWorkspace("nobody", "carol").error().code, ErrorCode::kNotFound);
  EXPECT_EQ(platform_->ForkWorkspace("alice", "../x").error().code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(Layers(), IsEmpty());
  EXPECT_EQ(GetFile("x"), "x\n");
}

TEST_F(ForkTest, TheFirstOneIsRewoundToTheForkAndNotToBeforeIt) {
  const auto play = [this](const std::string& command) {
    const RunResult result = Play("turns:\n  - tool_calls: [{name: bash, arguments: {command: '" +
                                  command + "'}}]\n  - text: Done.\n");
    EXPECT_FALSE(result.error) << result.error->ToString();
  };
  play("echo 0 >zero");
  play("echo 1 >one");
  Fork("alice", "bob");
  play("echo 2 >two; rm one");
  const auto rewound = alice_->Rewind({});
  ASSERT_TRUE(rewound) << rewound.error().ToString();
  EXPECT_EQ(Sh(*alice_, "ls"), "one\nzero\n");
  const auto before = alice_->Rewind({.to_turn = 1});
  ASSERT_FALSE(before);
  EXPECT_EQ(before.error().code, ErrorCode::kUnsupported);
  EXPECT_THAT(before.error().message, HasSubstr("forked"));
  EXPECT_EQ(Sh(*alice_, "ls"), "one\nzero\n");
}

// ---- A live source

TEST_F(ForkTest, FilesThatACommandWorksWithAreCopiedWhileItStandsStill) {
  Sh(*alice_, "mkdir d; echo 1 >d/one");
  const LiveCommand command(*alice_);
  const ForkResult forked = Fork("alice", "bob");
  EXPECT_EQ(forked.method, "copied");
  EXPECT_THAT(forked.reason, HasSubstr(::geteuid() == 0 ? "stood still" : "half written"));
  EXPECT_EQ(GetFile("d/one"), "1\n") << "the first workspace stays as it is";
  Workspace bob = Get("bob");
  EXPECT_EQ(Sh(bob, "cat d/one; echo 2 >>d/one; cat d/one"), "1\n1\n2\n");
  EXPECT_EQ(GetFile("d/one"), "1\n");
}

TEST_F(ForkTest, ACommandThatWritesAllTheTimeIsCopiedAtOneMoment) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, for a control group that can be frozen";
  // Each number is in both files, or on its way from the one to the other.
  const LiveCommand command(*alice_,
                            "echo; i=0; while :; do i=$((i+1)); echo $i >a; echo $i >b; done");
  for (const char* to : {"b", "c", "d"}) {
    const ForkResult forked = Fork("alice", to);
    ASSERT_EQ(forked.method, "copied");
    const std::string a = sys::ReadFile(TreeOf(forked.layer) + "/a").value_or("");
    const std::string b = sys::ReadFile(TreeOf(forked.layer) + "/b").value_or("");
    const long difference =
        std::strtol(a.c_str(), nullptr, 10) - std::strtol(b.c_str(), nullptr, 10);
    EXPECT_TRUE(a.empty() || b.empty() || difference == 0 || difference == 1) << a << b;
  }
}

TEST_F(ForkTest, FilesThatAnotherProcessWorksWithAreCopied) {
  Sh(*alice_, "echo 1 >one");
  Fork("alice", "a2");
  Sh(*alice_, "echo 2 >two");
  Platform other = *Platform::Open({.state = temp_ / "state"});
  Workspace there = *other.GetWorkspace("alice");
  const LiveCommand command(there);
  const ForkResult forked = Fork("alice", "bob");
  EXPECT_EQ(forked.method, "copied");
  EXPECT_THAT(forked.reason, HasSubstr("half written"));
  Workspace bob = Get("bob");
  EXPECT_EQ(Sh(bob, "cat one two"), "1\n2\n");
}

TEST_F(ForkTest, AKeptSandboxOfTheSourceEnds) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, for a control group that can be frozen";
  RunOptions options = Options(
      "turns:\n  - tool_calls: [{name: bash, arguments: {command: 'echo 1 >one'}}]\n"
      "  - text: Done.\n");
  options.settings.keep_sandbox_s = 1000;
  const RunResult first = Play(options);
  ASSERT_THAT(EventTypes(first), testing::Contains("sandbox.kept"));
  EXPECT_EQ(Fork("alice", "bob").method, "shared");
  options = Options(
      "turns:\n  - tool_calls: [{name: bash, arguments: {command: 'cat one'}}]\n"
      "  - text: '{{results}}'\n");
  options.settings.keep_sandbox_s = 1000;
  const RunResult second = Play(options);
  EXPECT_THAT(second.text, HasSubstr("1"));
  EXPECT_THAT(EventTypes(second), testing::Not(testing::Contains("sandbox.resumed")));
}

// ---- Hostile files

TEST_F(ForkTest, WhatCannotBeCopiedIsNamed) {
  Sh(*alice_, "mkfifo fifo; echo x >program; chmod 4755 program; ln -s /etc/shadow link; mkdir d");
  const LiveCommand command(*alice_);
  const ForkResult forked = Fork("alice", "bob");
  ASSERT_EQ(forked.method, "copied");
  EXPECT_EQ(forked.left_out, std::vector<std::string>{"fifo"});
  struct stat info{};
  ASSERT_EQ(::lstat((TreeOf(forked.layer) + "/program").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0755U);
  Workspace bob = Get("bob");
  EXPECT_EQ(Sh(bob, "ls; readlink link"), "d\nlink\nprogram\n/etc/shadow\n");
}

TEST_F(ForkTest, WhatAWorkspaceDeletedIsDeletedInItsForkToo) {
  Sh(*alice_, "mkdir -p d/sub; echo 1 >d/one; echo 2 >d/sub/two; echo 3 >three");
  Fork("alice", "bob");
  Workspace bob = Get("bob");
  // A whiteout, an opaque directory, and, where renames of it are made, a redirected one.
  Sh(bob, "rm three; rm -r d; mkdir d; echo new >d/new");
  Fork("bob", "carol");
  Workspace carol = Get("carol");
  EXPECT_EQ(Sh(carol, "find . -mindepth 1 | sort"), "./d\n./d/new\n");
}

TEST_F(ForkTest, ACopyOfAnOverlaysUpperHasItsDeletions) {
  Sh(*alice_,
     "mkdir -p d/sub m/n; echo 1 >d/one; echo 2 >d/sub/two; echo 3 >three; echo 4 >m/n/four");
  Fork("alice", "bob");
  Workspace bob = Get("bob");
  const LiveCommand command(bob,
                            "rm three; rm -r d; mkdir d; echo new >d/new; mv m moved; echo;"
                            "exec sleep 1000");
  EXPECT_EQ(Fork("bob", "carol").method, "copied");
  Workspace carol = Get("carol");
  EXPECT_EQ(Sh(carol, "find . -type f | sort; cat moved/n/four"), "./d/new\n./moved/n/four\n4\n");
}

// ---- The program

TEST_F(ForkTest, TheProgramForksAndSaysHow) {
  Sh(*alice_, "echo 1 >one");
  const std::map<std::string, std::string> environment = {{"HOME", temp_.path()}};
  const ProgramResult text =
      RunCofferdam({.arguments = {"workspace", "fork", "alice", "bob", "--state", temp_ / "state"},
                    .environment = environment});
  EXPECT_EQ(text.exit_code, 0) << text.err;
  EXPECT_EQ(text.out, "bob: the files of alice, shared\n");
  const LiveCommand command(*alice_);
  Sh(*alice_, "mkfifo fifo");
  const ProgramResult json = RunCofferdam(
      {.arguments = {"workspace", "fork", "alice", "carol", "--json", "--state", temp_ / "state"},
       .environment = environment});
  EXPECT_EQ(json.exit_code, 0) << json.err;
  const json::Json said = *json::Parse(json.out);
  EXPECT_EQ(said.at("method"), "copied");
  EXPECT_EQ(said.at("left_out"), json::Json::array({"fifo"}));
  const ProgramResult again =
      RunCofferdam({.arguments = {"workspace", "fork", "alice", "bob", "--state", temp_ / "state"},
                    .environment = environment});
  EXPECT_NE(again.exit_code, 0);
  EXPECT_THAT(again.err, HasSubstr("already exists"));
}

}  // namespace
}  // namespace cofferdam::e2e
