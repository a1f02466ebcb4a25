// kill -9 of a process at random points while it takes a checkpoint, and while it goes back to one.
// After each kill everything acknowledged is there, and nothing stays half restored.
//
// COFFERDAM_CRASH_RUNS is how often each test kills, COFFERDAM_CRASH_SEED makes the points the same
// again, as far as the machine's scheduling lets them.
#include "projects/checkpoints.h"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <memory>
#include <random>

#include <gmock/gmock.h>

#include "projects/testing/files.h"
#include "projects/testing/upper_ground.h"

namespace cofferdam::projects {
namespace {

namespace fs = std::filesystem;
using SteadyClock = std::chrono::steady_clock;

std::uint64_t FromEnvironment(const char* name, std::uint64_t otherwise) {
  const char* text = ::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

/// Runs `work` in a process of its own, which says when that is done and then waits to be killed.
class Victim {
 public:
  explicit Victim(const std::function<bool()>& work) {
    sys::Pipe pipe = *sys::NewPipe();
    pid_ = ::fork();
    CHECK(pid_ >= 0);
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (work()) static_cast<void>(sys::WriteAll(pipe.write_end.get(), "!"));
      for (;;) ::pause();
    }
    acknowledged_ = std::move(pipe.read_end);
  }
  Victim(const Victim&) = delete;
  Victim& operator=(const Victim&) = delete;
  ~Victim() { Kill(); }

  void Wait() {
    char byte;
    CHECK(*sys::Read(acknowledged_.get(), {&byte, 1}) == 1);
  }
  /// Until it says that it is done, or the time is over.
  void WaitAtMost(std::chrono::nanoseconds time) {
    pollfd acknowledged{acknowledged_.get(), POLLIN, 0};
    const timespec limit{time.count() / 1'000'000'000, time.count() % 1'000'000'000};
    ::ppoll(&acknowledged, 1, &limit, nullptr);
  }
  /// Whether it had said that it is done.
  bool Kill() {
    if (pid_ < 0) return false;
    ::kill(pid_, SIGKILL);
    int status = 0;
    CHECK(::waitpid(std::exchange(pid_, -1), &status, 0) > 0);
    char byte;
    return *sys::Read(acknowledged_.get(), {&byte, 1}) == 1;
  }

 private:
  pid_t pid_ = -1;
  sys::UniqueFd acknowledged_;
};

class CheckpointCrash : public testing::Test {
 protected:
  /// Everything that an upper can hold, other each time.
  void Change() {
    const std::string version = std::to_string(++version_);
    for (int i = 0; i < 12; ++i) {
      const std::string number = std::to_string(random_() % 40);
      const std::string path = ground_ / ("d" + std::to_string(random_() % 6) + "/" + number);
      fs::remove_all(path);
      switch (random_() % 8) {
        case 0:
          fs::create_directories(path);
          break;
        case 1:
          fs::create_directories(fs::path(path).parent_path());
          fs::create_symlink("to " + version, path);
          break;
        case 2:
          if (::geteuid() == 0) static_cast<void>(::mknod(path.c_str(), S_IFCHR, ::makedev(0, 0)));
          break;
        case 3:
          fs::remove_all(fs::path(path).parent_path());
          break;
        default:
          Put(path, version + std::string(random_() % 20'000, 'x'));
      }
    }
    Put(ground_ / "version", version);
  }

  Taken Take(Checkpoints& checkpoints) const {
    auto taken = checkpoints.Take("work", ground_.upper(), {.reason = "turn"});
    EXPECT_TRUE(taken) << taken.error().ToString();
    return taken.value_or(Taken());
  }
  void CheckRestores(std::int64_t id, const Picture& picture) {
    Checkpoints checkpoints = ground_.Open();
    const auto restored = checkpoints.Restore("work", id, ground_.upper(), {.reason = "rewind"});
    ASSERT_TRUE(restored) << restored.error().ToString();
    EXPECT_THAT(restored->left_out, testing::IsEmpty());
    EXPECT_EQ(ground_.Look(), picture) << "of checkpoint " << id;
  }

  /// How long the work takes that nobody disturbs.
  static std::chrono::nanoseconds Measure(const std::function<bool()>& work) {
    const auto start = SteadyClock::now();
    Victim victim(work);
    victim.Wait();
    return SteadyClock::now() - start;
  }

  bool RunAndKill(const std::function<bool()>& work, std::chrono::nanoseconds length) {
    const std::int64_t most = length.count();
    const std::int64_t delay = std::uniform_int_distribution<std::int64_t>(0, most)(random_);
    Victim victim(work);
    victim.WaitAtMost(std::chrono::nanoseconds(delay));
    return victim.Kill();
  }

  std::string Trace(std::uint64_t run) const {
    return "run " + std::to_string(run) + ", COFFERDAM_CRASH_SEED=" + std::to_string(seed_);
  }

  const std::uint64_t runs_ = FromEnvironment("COFFERDAM_CRASH_RUNS", 20);
  const std::uint64_t seed_ = FromEnvironment("COFFERDAM_CRASH_SEED", std::random_device()());
  std::mt19937_64 random_{seed_};
  UpperGround ground_{::geteuid() == 0 ? UpperFormat::kTrusted : UpperFormat::kUser};
  int version_ = 0;
};

TEST_F(CheckpointCrash, WhatWasTakenIsThereHoweverTheNextOneEnds) {
  const auto take = [&] {
    Checkpoints checkpoints = ground_.Open();
    return checkpoints.Take("work", ground_.upper(), {.reason = "turn"}).has_value();
  };
  Change();
  const auto length = Measure(take);
  std::map<std::int64_t, Picture> pictures;
  int acknowledged = 0, stored = 0;
  for (std::uint64_t run = 0; run < runs_ && !HasFailure(); ++run) {
    SCOPED_TRACE(Trace(run));
    Change();
    const bool is_acknowledged = RunAndKill(take, length);
    Checkpoints checkpoints = ground_.Open();
    const Taken taken = Take(checkpoints);
    // Either nothing of it was stored, or all.
    EXPECT_FALSE(is_acknowledged && taken.checkpoint);
    acknowledged += is_acknowledged ? 1 : 0;
    stored += taken.checkpoint ? 0 : 1;
    pictures[checkpoints.List()->back().id] = ground_.Look();
    if (run % 10 == 9) {
      auto wanted = pictures.begin();
      std::advance(wanted, random_() % pictures.size());
      CheckRestores(wanted->first, wanted->second);
      pictures[checkpoints.List()->back().id] = ground_.Look();
    }
  }
  for (const auto& [id, picture] : pictures) CheckRestores(id, picture);
  ASSERT_TRUE(ground_.Open().Collect());
  for (const auto& entry : fs::directory_iterator(ground_.folder() + "/checkpoints/objects"))
    EXPECT_TRUE(entry.is_directory()) << entry.path() << " was left";
  std::cout << "killed " << runs_ << " times: " << stored << " stored, " << acknowledged
            << " acknowledged" << std::endl;
}

TEST_F(CheckpointCrash, AKilledRestoreIsFinishedByTheNext) {
  std::map<std::int64_t, Picture> pictures;
  for (int i = 0; i < 8; ++i) {
    Change();
    Checkpoints checkpoints = ground_.Open();
    pictures[Take(checkpoints).checkpoint->id] = ground_.Look();
  }
  std::int64_t wanted = pictures.begin()->first;
  const auto restore = [&] {
    Checkpoints checkpoints = ground_.Open();
    return checkpoints.Restore("work", wanted, ground_.upper(), {.reason = "rewind", .turn = 7})
        .has_value();
  };
  const auto length = Measure(restore);
  int unfinished = 0, finished = 0;
  for (std::uint64_t run = 0; run < runs_ && !HasFailure(); ++run) {
    SCOPED_TRACE(Trace(run));
    const Picture before = ground_.Look();
    auto next = pictures.begin();
    std::advance(next, random_() % pictures.size());
    wanted = next->first;
    const bool is_acknowledged = RunAndKill(restore, length);
    Checkpoints checkpoints = ground_.Open();
    const auto intent = *checkpoints.Unfinished("work");
    if (intent) {
      EXPECT_FALSE(is_acknowledged);
      EXPECT_EQ(intent->id, wanted);
      EXPECT_EQ(intent->label.turn, 7);
      EXPECT_FALSE(checkpoints.Take("work", ground_.upper(), {.reason = "turn"}));
      CheckRestores(intent->id, next->second);
      ++unfinished;
    } else if (is_acknowledged) {
      EXPECT_EQ(ground_.Look(), next->second);
    } else {
      EXPECT_THAT(ground_.Look(), testing::AnyOf(before, next->second));
    }
    finished += is_acknowledged ? 1 : 0;
    EXPECT_FALSE(checkpoints.Unfinished("work")->has_value());
    EXPECT_FALSE(Take(checkpoints).checkpoint) << "what is there is what the last one has";
  }
  std::cout << "killed " << runs_ << " times: " << unfinished << " unfinished, " << finished
            << " acknowledged" << std::endl;
}

}  // namespace
}  // namespace cofferdam::projects
