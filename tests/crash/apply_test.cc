// kill -9 of a process at random points while it applies an agent's changes to a project, and while
// it takes them back. Afterwards the project is what it was or what the agent made of it, with
// every content, mode and link, and nothing else is left in it.
//
// COFFERDAM_CRASH_RUNS is how often it kills, COFFERDAM_CRASH_SEED makes the points the same again,
// as far as the machine's scheduling lets them.
#include "projects/apply.h"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <random>

#include <gtest/gtest.h>

#include "projects/apply_journal.h"
#include "projects/testing/apply_ground.h"
#include "projects/testing/trees.h"
#include "sys/fd.h"
#include "sys/testing/temp_dir.h"

namespace cofferdam::projects {
namespace {

using SteadyClock = std::chrono::steady_clock;
using std::chrono::nanoseconds;

std::uint64_t FromEnvironment(const char* name, std::uint64_t otherwise) {
  const char* text = ::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

/// Does it in a process of its own, which is killed some time after the point is reached. Whether
/// it had been done.
bool KilledAfter(const std::function<bool()>& reached, nanoseconds time,
                 const std::function<bool()>& work) {
  sys::Pipe pipe = *sys::NewPipe();
  const pid_t pid = ::fork();
  CHECK(pid >= 0);
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (work()) static_cast<void>(sys::WriteAll(pipe.write_end.get(), "!"));
    for (;;) ::pause();
  }
  pipe.write_end.Reset();
  const auto is_done_within = [&pipe](nanoseconds most) {
    pollfd done{pipe.read_end.get(), POLLIN, 0};
    const timespec limit{most.count() / 1'000'000'000, most.count() % 1'000'000'000};
    return ::ppoll(&done, 1, &limit, nullptr) == 1;
  };
  while (!reached() && !is_done_within(nanoseconds(50'000))) {
  }
  is_done_within(time);
  ::kill(pid, SIGKILL);
  int status = 0;
  CHECK(::waitpid(pid, &status, 0) == pid);
  char byte;
  return *sys::Read(pipe.read_end.get(), {&byte, 1}) == 1;
}

bool AtOnce() { return true; }

/// Where the kills came.
struct Tally {
  int nothing = 0;
  int begun = 0;
  int ready = 0;
  int applied = 0;
  int recoveries = 0;

  void Count(const std::string& journal) {
    const auto content = ReadJournalIn(ApplyGround::Open(journal).get());
    ASSERT_TRUE(content) << content.error().ToString();
    if (!*content) {
      ++nothing;
    } else if ((*content)->state == ApplyState::kBegun) {
      ++begun;
    } else if ((*content)->state == ApplyState::kReady) {
      ++ready;
    } else {
      ++applied;
    }
  }
  void Print() const {
    std::cout << "apply: killed " << nothing << " times before it began, " << begun
              << " while it wrote, " << ready << " while it exchanged, " << applied
              << " when all was done; " << recoveries << " times while it was taken back"
              << std::endl;
  }
};

TEST(ApplyCrash, AKilledApplyLeavesTheOldProjectOrTheNewOne) {
  const std::uint64_t seed = FromEnvironment("COFFERDAM_CRASH_SEED", std::random_device()());
  const int runs = static_cast<int>(FromEnvironment("COFFERDAM_CRASH_RUNS", 20));
  const sys::TempDir folder;
  ApplyGround ground(folder.path());
  Tally tally;
  nanoseconds length{0};
  for (int run = 0; run <= runs && !testing::Test::HasFailure(); ++run) {
    SCOPED_TRACE("run " + std::to_string(run) + ", COFFERDAM_CRASH_SEED=" + std::to_string(seed));
    std::seed_seq seeds{seed, static_cast<std::uint64_t>(run)};
    std::mt19937_64 random(seeds);
    const auto up_to = [&random](nanoseconds most) {
      return nanoseconds(std::uniform_int_distribution<std::int64_t>(0, most.count())(random));
    };
    RandomTree tree(random());
    EmptyTree(ground.project());
    tree.Fill(ground.project(), 60);
    ground.Begin();
    tree.Change(ground.agent(), 60);
    ground.End();
    const auto plan = ground.Plan();
    ASSERT_TRUE(plan) << plan.error().ToString();
    ASSERT_TRUE(plan->conflicts.empty());
    const Snapshot before = SnapshotOf(ground.project());
    const Snapshot after = SnapshotOf(ground.agent());

    // The first one nobody kills; it says how long they take. Of the others half are killed
    // anywhere, and half when the first steps are done.
    const auto is_ready = [&ground] {
      const auto journal = sys::ReadFile(ground.journal() + "/apply.journal");
      return journal && journal->contains("\"ready\"");
    };
    const bool early = run % 2 == 0;
    const std::function<bool()> reached = early ? AtOnce : std::function<bool()>(is_ready);
    const nanoseconds patience = run == 0 ? std::chrono::minutes(1)
                                 : early  ? up_to(length * 11 / 10)
                                          : up_to(std::chrono::milliseconds(2));
    const auto start = SteadyClock::now();
    const bool acknowledged =
        KilledAfter(reached, patience, [&] { return ground.Do(*plan).has_value(); });
    if (run == 0) length = SteadyClock::now() - start;
    if (run > 0) {
      ASSERT_NO_FATAL_FAILURE(tally.Count(ground.journal()));
    }
    for (int kills = run == 0 ? 0 : tree.Below(3); kills > 0; --kills) {
      KilledAfter(AtOnce, up_to(std::chrono::milliseconds(5)),
                  [&] { return ground.Recover().has_value(); });
      ++tally.recoveries;
    }

    const auto recovered = ground.Recover();
    ASSERT_TRUE(recovered) << recovered.error().ToString();
    const bool is_new = recovered->value_or(false);
    EXPECT_TRUE(is_new || !acknowledged) << "what was said to be done is gone";
    EXPECT_EQ(Difference(is_new ? after : before, SnapshotOf(ground.project())), "");
    ASSERT_TRUE(ground.Finish());
    EXPECT_EQ(*ground.Recover(), std::nullopt);
  }
  tally.Print();
}

}  // namespace
}  // namespace cofferdam::projects
