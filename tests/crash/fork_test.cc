// kill -9 in the middle of a fork, at random points. After each the first workspace has all of its
// files, the second is there whole or not at all, and every layer is one that a workspace names.
//
// COFFERDAM_CRASH_RUNS and COFFERDAM_CRASH_SEED as in crash_test.cc.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <stop_token>
#include <thread>

#include <gmock/gmock.h>

#include <cofferdam/platform.h>

#include "base/clock.h"
#include "ground.h"
#include "host_process.h"
#include "projects/checkpoints.h"
#include "projects/view.h"
#include "sys/testing/temp_dir.h"

namespace cofferdam::crash {
namespace {

namespace fs = std::filesystem;

constexpr int kFiles = 200;
// So many forks of one workspace, each of which adds a layer.
constexpr int kForksOfOne = 8;

std::uint64_t FromEnvironment(const char* name, std::uint64_t otherwise) {
  const char* text = ::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

class ForkCrashTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { ground_ = std::make_unique<Ground>(); }
  static void TearDownTestSuite() { ground_.reset(); }

  void SetUp() override {
    if (::geteuid() != 0) settings_.allow_missing = {"cgroup"};
    seed_ = FromEnvironment("COFFERDAM_CRASH_SEED", std::random_device()());
    runs_ = static_cast<int>(FromEnvironment("COFFERDAM_CRASH_RUNS", 20));
  }

  Platform Open() const {
    auto platform = Platform::Open({.state = state_});
    EXPECT_TRUE(platform) << platform.error().ToString();
    return *platform;
  }

  static std::string Sh(Workspace& workspace, const std::string& command) {
    std::string text;
    const auto outcome =
        workspace.Exec({.argv = {"sh", "-c", command}},
                       [&text](bool, std::string_view bytes) { text += bytes; }, {});
    EXPECT_TRUE(outcome) << outcome.error().ToString();
    return text;
  }
  /// Everything that is in the files of a workspace.
  static std::string Files(Workspace& workspace) {
    return Sh(workspace, "find . | sort | cksum; cat $(find . -type f | sort) | cksum");
  }

  std::unique_ptr<HostProcess> StartFork(const std::string& from, const std::string& to) const {
    return std::make_unique<HostProcess>(
        *ground_, std::vector<std::string>{COFFERDAM_PROGRAM, "workspace", "fork", from, to,
                                           "--json", "--state", state_});
  }
  /// From the start of the program to the end of a fork that nobody kills.
  std::chrono::nanoseconds Measure(const std::string& from, const std::string& to) const {
    const auto start = SteadyClock::now();
    const auto host = StartFork(from, to);
    EXPECT_EQ(host->Reap(), 0);
    return SteadyClock::now() - start;
  }
  void ForkAndKill(const std::string& from, const std::string& to, std::chrono::nanoseconds length,
                   std::mt19937_64& random) const {
    const std::chrono::nanoseconds delay(
        std::uniform_int_distribution<std::int64_t>(0, length.count() * 11 / 10)(random));
    const auto start = SteadyClock::now();
    const auto host = StartFork(from, to);
    host->ReadUntil([] { return false; }, start + delay);
    ::kill(host->pid(), SIGKILL);
    host->Reap();
  }

  std::set<std::string> Layers() const {
    std::set<std::string> names;
    for (const auto& entry : fs::directory_iterator(state_ + "/layers"))
      names.insert(entry.path().filename());
    return names;
  }
  std::set<std::string> NamedLayers(Platform& platform) const {
    std::set<std::string> names;
    const std::vector<std::string> workspaces = *platform.ListWorkspaces();
    for (const std::string& id : workspaces) {
      auto checkpoints = projects::Checkpoints::Open(state_ + "/workspaces/" + id, SystemClock());
      const auto record = *projects::ReadView(checkpoints->database(), projects::kWorkView);
      if (record) names.insert(record->layers.begin(), record->layers.end());
    }
    return names;
  }

  /// After a kill; says whether the second workspace is there.
  bool ExpectAllIsWell(const std::string& from, const std::string& to, const std::string& files) {
    Platform platform = Open();
    Workspace source = *platform.GetWorkspace(from);
    EXPECT_EQ(Files(source), files);
    auto fork = platform.GetWorkspace(to);
    if (fork) {
      EXPECT_EQ(Files(*fork), files);
    }
    EXPECT_EQ(Layers(), NamedLayers(platform));
    for (const auto& entry : fs::directory_iterator(state_ + "/workspaces"))
      EXPECT_FALSE(entry.path().filename().string().starts_with('.')) << entry.path();
    return fork.has_value();
  }

  static inline std::unique_ptr<Ground> ground_;
  sys::TempDir temp_;
  const std::string state_ = temp_ / "state";
  Settings settings_;
  std::uint64_t seed_ = 0;
  int runs_ = 0;
};

TEST_F(ForkCrashTest, AKilledForkLeavesTheFirstWholeAndTheSecondWholeOrNotThere) {
  int made = 0;
  std::string from;
  std::string files;
  std::chrono::nanoseconds length{0};
  for (int run = 0; run < runs_; ++run) {
    SCOPED_TRACE("run " + std::to_string(run) + ", COFFERDAM_CRASH_SEED=" + std::to_string(seed_));
    std::seed_seq seed{seed_, static_cast<std::uint64_t>(run)};
    std::mt19937_64 random(seed);
    {
      Platform platform = Open();
      if (run % kForksOfOne == 0) {
        from = "from-" + std::to_string(run);
        Workspace source = *platform.CreateWorkspace(from, settings_);
        Sh(source, "for i in $(seq " + std::to_string(kFiles) +
                       "); do mkdir -p d$((i%10)); echo $i >d$((i%10))/$i; done");
        length = Measure(from, "undisturbed-" + std::to_string(run));
      }
      Workspace source = *platform.GetWorkspace(from);
      // Something for a layer of its own, and something that hides what is in another.
      Sh(source, "echo " + std::to_string(run) + " >>d1/1; rm d2/*2; mv d3/*" +
                     std::to_string(run % 10) + " . ; rm -rf d4; mkdir d4; echo >d4/new; true");
      files = Files(source);
    }
    const std::string to = "to-" + std::to_string(run);
    ForkAndKill(from, to, length, random);
    if (ExpectAllIsWell(from, to, files)) ++made;
    if (HasFailure()) return;
  }
  std::cout << "of " << runs_ << " forks that were killed " << made << " had been made\n";
}

TEST_F(ForkCrashTest, AKilledCopyOfALiveWorkspaceLeavesItAlone) {
  int made = 0;
  std::string files;
  std::stop_source stop;
  Platform platform = Open();
  Workspace source = *platform.CreateWorkspace("live", settings_);
  Sh(source, "for i in $(seq " + std::to_string(kFiles) + "); do echo $i >$i; done");
  files = Files(source);
  const sys::Pipe ready = *sys::NewPipe();
  const std::jthread live([&] {
    const auto ended = source.Exec(
        {.argv = {"sh", "-c", "echo; exec sleep 1000"}},
        [&](bool, std::string_view) { EXPECT_TRUE(sys::WriteAll(ready.write_end.get(), "x")); },
        stop.get_token());
    EXPECT_TRUE(ended) << ended.error().ToString();
  });
  char byte;
  ASSERT_TRUE(sys::Read(ready.read_end.get(), {&byte, 1}));
  const std::chrono::nanoseconds length = Measure("live", "undisturbed");
  for (int run = 0; run < runs_; ++run) {
    SCOPED_TRACE("run " + std::to_string(run) + ", COFFERDAM_CRASH_SEED=" + std::to_string(seed_));
    std::seed_seq seed{seed_, static_cast<std::uint64_t>(run), std::uint64_t{1}};
    std::mt19937_64 random(seed);
    const std::string to = "to-" + std::to_string(run);
    ForkAndKill("live", to, length, random);
    if (ExpectAllIsWell("live", to, files)) {
      ++made;
      EXPECT_TRUE(Open().DeleteWorkspace(to, LiveRuns::kRefuse));
    }
    if (HasFailure()) break;
  }
  stop.request_stop();
  std::cout << "of " << runs_ << " copies that were killed " << made << " had been made\n";
}

}  // namespace
}  // namespace cofferdam::crash
