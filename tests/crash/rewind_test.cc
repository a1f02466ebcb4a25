// kill -9 of `cofferdam rewind` at random points. Whoever comes next finds files and conversation
// as they were before the rewind, or both as they are after it, and nothing is lost.
//
// COFFERDAM_CRASH_RUNS and COFFERDAM_CRASH_SEED as in crash_test.cc.
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <random>

#include <gmock/gmock.h>

#include <cofferdam/platform.h>

#include "ground.h"
#include "host_process.h"
#include "sys/file.h"
#include "sys/testing/temp_dir.h"

namespace cofferdam::crash {
namespace {

namespace fs = std::filesystem;

std::uint64_t FromEnvironment(const char* name, std::uint64_t otherwise) {
  const char* text = ::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

/// Two turns that change 40 files, so that a rewind has something to do.
constexpr const char* kScript = R"(
turns:
  - tool_calls:
      - name: bash
        arguments: {command: "for i in $(seq 40); do echo 1 > f$i; done; mkdir -p d; rm -f mine"}
  - tool_calls:
      - {name: bash, arguments: {command: "for i in $(seq 20 60); do echo 2 > f$i; done; mv d e"}}
  - text: Done.
)";

/// What is left of a workspace: files by path, and the conversation.
struct Whole {
  std::map<std::string, std::string> files;
  std::vector<std::string> chat;
  bool operator==(const Whole&) const = default;
};

class RewindCrashTest : public testing::TestWithParam<bool> {
 protected:
  static void SetUpTestSuite() { ground_ = std::make_unique<Ground>(); }
  static void TearDownTestSuite() { ground_.reset(); }

  void SetUp() override {
    ASSERT_EQ(::chmod(temp_.path().c_str(), 0755), 0);
    ASSERT_TRUE(sys::MakeDirectories(project_, 0755));
    std::ofstream(project_ + "/mine") << "mine\n";
    auto platform = Platform::Open({.state = state_});
    ASSERT_TRUE(platform) << platform.error().ToString();
    platform_.emplace(std::move(*platform));
    Settings settings{.provider = "scripted"};
    if (GetParam()) settings.project = project_;
    if (::geteuid() != 0) settings.allow_missing = {"cgroup"};
    alice_.emplace(*platform_->CreateWorkspace("alice", settings));
    std::ofstream(script_) << kScript;
  }

  void Work() {
    auto run = alice_->Run({.message = "work", .session = "main", .script = script_});
    ASSERT_TRUE(run) << run.error().ToString();
    const RunResult& result = (*run)->Wait();
    ASSERT_FALSE(result.error) << result.error->ToString();
  }

  /// As an agent would see it, after whoever comes first has finished what was left.
  Whole Look() {
    Whole whole;
    EXPECT_TRUE(alice_->Checkpoints());
    EXPECT_FALSE(fs::exists(state_ + "/workspaces/alice/rewind.json"));
    std::string out;
    const auto sink = [&out](bool, std::string_view bytes) { out += bytes; };
    const auto outcome =
        alice_->Exec({.argv = {"sh", "-c", "find . -type d; grep -r . . || true"}}, sink, {});
    EXPECT_TRUE(outcome) << outcome.error().ToString();
    std::size_t begin = 0;
    for (std::size_t end; (end = out.find('\n', begin)) != std::string::npos; begin = end + 1) {
      const std::string line = out.substr(begin, end - begin);
      whole.files[line.substr(0, line.find(':'))] = line;
    }
    whole.chat = alice_->ReadSession("main").value_or(std::vector<std::string>());
    return whole;
  }

  std::unique_ptr<HostProcess> StartRewind() {
    return std::make_unique<HostProcess>(
        *ground_, std::vector<std::string>{COFFERDAM_PROGRAM, "rewind", "--json", "--state", state_,
                                           "-w", "alice", "-s", "main"});
  }

  /// The newest checkpoint of a turn has what a rewind has taken back.
  std::int64_t LastTurn() {
    std::int64_t last = 0;
    const auto checkpoints = *alice_->Checkpoints();
    for (const CheckpointInfo& checkpoint : checkpoints)
      if (checkpoint.reason == "turn") last = checkpoint.id;
    return last;
  }

  static inline std::unique_ptr<Ground> ground_;
  sys::TempDir temp_;
  const std::string state_ = temp_ / "state";
  const std::string script_ = temp_ / "script.yaml";
  const std::string project_ = temp_ / "project";
  std::optional<Platform> platform_;
  std::optional<Workspace> alice_;
};

TEST_P(RewindCrashTest, LeavesFilesAndConversationBeforeOrAfterIt) {
  const std::uint64_t seed = FromEnvironment("COFFERDAM_CRASH_SEED", std::random_device()());
  const auto runs = static_cast<int>(FromEnvironment("COFFERDAM_CRASH_RUNS", 10));
  std::mt19937_64 random(seed);

  // The first one is not disturbed.
  ASSERT_NO_FATAL_FAILURE(Work());
  const auto start = SteadyClock::now();
  ASSERT_EQ(StartRewind()->Reap(), 0);
  const std::chrono::nanoseconds length = SteadyClock::now() - start;
  const std::map<std::string, std::string> wanted = Look().files;

  int before_it = 0;
  for (int run = 0; run < runs; ++run) {
    SCOPED_TRACE("run " + std::to_string(run) + ", COFFERDAM_CRASH_SEED=" + std::to_string(seed));
    ASSERT_NO_FATAL_FAILURE(Work());
    const Whole before = Look();
    auto rewind = StartRewind();
    const std::chrono::nanoseconds delay(
        std::uniform_int_distribution<std::int64_t>(0, length.count())(random));
    rewind->ReadUntil([] { return false; }, SteadyClock::now() + delay);
    ::kill(rewind->pid(), SIGKILL);
    rewind->Reap();

    const Whole after = Look();
    if (after == before) {
      ++before_it;
      ASSERT_TRUE(alice_->Rewind({.session = "main"}));
      continue;
    }
    EXPECT_EQ(after.files, wanted);
    // All runs before were taken back, too: the note alone is left.
    ASSERT_EQ(after.chat.size(), 1U);
    EXPECT_THAT(after.chat.back(), testing::HasSubstr("A note from the host"));
    if (run % 5 != 0) continue;
    ASSERT_TRUE(alice_->Rewind({.session = "main", .checkpoint = LastTurn(), .chat = false}));
    EXPECT_EQ(Look().files, before.files) << "what was taken back can be had again";
    ASSERT_TRUE(alice_->Rewind({.session = "main", .to_turn = 0}));
    if (HasFailure()) return;
  }
  std::cout << "killed " << runs << " rewinds, " << before_it << " before they had begun\n";
}

INSTANTIATE_TEST_SUITE_P(Files, RewindCrashTest, testing::Bool(), [](const auto& kind) {
  return kind.param ? "OfAProject" : "OfTheWorkspace";
});

}  // namespace
}  // namespace cofferdam::crash
