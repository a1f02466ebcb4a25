#include "storage/file_lock.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <thread>

#include <gtest/gtest.h>

#include "base/check.h"
#include "sys/testing/temp_dir.h"

namespace cofferdam::storage {
namespace {

class FileLockTest : public testing::Test {
 protected:
  Result<FileLock> Try() const { return FileLock::TryAcquire(directory_.get(), "lock"); }
  Result<FileLock> Wait(Deadline deadline, const std::stop_token& stop = {}) const {
    return FileLock::Acquire(directory_.get(), "lock", deadline, stop);
  }

  // A child process that runs `body` and then waits to be killed.
  template <typename Body>
  pid_t StartChild(Body body) const {
    const sys::Pipe ready = *sys::NewPipe();
    const pid_t child = ::fork();
    CHECK(child >= 0);
    if (child == 0) {
      body();
      CHECK(sys::WriteAll(ready.write_end.get(), "x"));
      for (;;) ::pause();
    }
    std::array<char, 1> byte;
    CHECK(*sys::Read(ready.read_end.get(), byte) == 1);
    return child;
  }
  static void KillChild(pid_t child) {
    CHECK(::kill(child, SIGKILL) == 0);
    CHECK(::waitpid(child, nullptr, 0) == child);
  }

  const sys::TempDir temp_;
  const sys::UniqueFd directory_ = *sys::Open(temp_.path(), O_PATH | O_DIRECTORY);
};

TEST_F(FileLockTest, ExcludesASecondHolderInTheSameProcessUntilItDies) {
  {
    const FileLock lock = *Try();
    EXPECT_EQ(Try().error().code, ErrorCode::kBusy);
  }
  EXPECT_TRUE(Try());
}

TEST_F(FileLockTest, MovesWithoutLettingGoAndLetsGoOfWhatItReplaces) {
  FileLock first = *Try();
  FileLock second = std::move(first);
  EXPECT_EQ(Try().error().code, ErrorCode::kBusy);
  second = *FileLock::TryAcquire(directory_.get(), "another");
  EXPECT_TRUE(Try());
}

TEST_F(FileLockTest, ExcludesAnotherProcessAndIsReleasedByItsDeath) {
  const pid_t child = StartChild([&] {
    // Never destroyed: only the end of the process lets it go.
    new FileLock(*Try());
  });
  EXPECT_EQ(Try().error().code, ErrorCode::kBusy);
  KillChild(child);
  EXPECT_TRUE(Wait(Deadline::Never()));
}

TEST_F(FileLockTest, IsReleasedAlthoughAForkedChildStillHasTheDescriptor) {
  auto lock = Try();
  const pid_t child = StartChild([] {});
  lock = Err(ErrorCode::kBusy, "let go");
  EXPECT_TRUE(Try());
  KillChild(child);
}

TEST_F(FileLockTest, WaitsUntilTheHolderLetsGo) {
  auto held = Try();
  std::jthread waiter([&] { EXPECT_TRUE(Wait(Deadline::Never())); });
  held = Err(ErrorCode::kBusy, "let go");
}

TEST_F(FileLockTest, GivesUpAtTheDeadlineAndOnAStopRequest) {
  const FileLock held = *Try();
  EXPECT_EQ(Wait(Deadline::After(std::chrono::milliseconds(3))).error().code, ErrorCode::kTimeout);
  std::stop_source stop;
  std::jthread waiter([&] {
    EXPECT_EQ(Wait(Deadline::Never(), stop.get_token()).error().code, ErrorCode::kCancelled);
  });
  stop.request_stop();
}

TEST_F(FileLockTest, TakesAFreeLockEvenWhenTheDeadlineHasPassed) {
  EXPECT_TRUE(Wait(Deadline::After(std::chrono::milliseconds(-1))));
}

TEST_F(FileLockTest, OneThreadAtATimeIsInside) {
  std::atomic<int> inside = 0;
  {
    std::array<std::jthread, 4> threads;
    for (std::jthread& thread : threads)
      thread = std::jthread([&] {
        for (int i = 0; i < 25; ++i) {
          const auto lock = Wait(Deadline::Never());
          EXPECT_EQ(++inside, 1);
          EXPECT_EQ(--inside, 0);
        }
      });
  }
  EXPECT_EQ(inside, 0);
}

TEST_F(FileLockTest, AFileThatWasRemovedMeanwhileExcludesNobody) {
  const FileLock stale = *Try();
  ASSERT_EQ(::unlink((temp_ / "lock").c_str()), 0);
  const FileLock fresh = *Try();
  EXPECT_EQ(Try().error().code, ErrorCode::kBusy);
}

TEST_F(FileLockTest, RefusesASymbolicLink) {
  ASSERT_EQ(::symlink("elsewhere", (temp_ / "lock").c_str()), 0);
  EXPECT_FALSE(Try());
}

}  // namespace
}  // namespace cofferdam::storage
