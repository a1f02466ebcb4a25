// Attacks by using up what the machine has.

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <stop_token>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fixture.h"
#include "outside.h"
#include "sys/file.h"

namespace cofferdam::escape {
namespace {

using sandbox::Layer;
using testing::HasSubstr;

class LimitAttacks : public EscapeTest {
 protected:
  static bool HasLayer(const sandbox::LocalSandbox& sandbox, std::string_view name) {
    return std::ranges::any_of(sandbox.layers(), [&](const sandbox::LayerEvidence& layer) {
      return layer.layer == name && layer.how != "missing";
    });
  }
  static constexpr char kNoCgroup[] = "an ordinary user has no control groups here";
  static constexpr char kNoLandlock[] = "this kernel has no Landlock";
};

// Says why, and that this counts as skipped, when the sandbox has no control groups here.
#define SKIP_WITHOUT_CGROUP(sandbox, what) \
  if (!HasLayer(sandbox, "cgroup")) {      \
    NoteSkipped(what, kNoCgroup);          \
    GTEST_SKIP() << kNoCgroup;             \
  }

TEST_F(LimitAttacks, ManyProcessesAreRefusedAndReported) {
  spec_.limits.processes = 20;
  const auto sandbox = Make();
  ASSERT_NE(sandbox, nullptr);
  const Attempt attempt = Attack(*sandbox, {"many_processes", "60"});
  EXPECT_EQ(attempt.outcome, "errno EAGAIN");
  ASSERT_TRUE(attempt.result);
  SKIP_WITHOUT_CGROUP(*sandbox, "report of ManyProcesses");
  EXPECT_TRUE(attempt.result->out_of_processes);
}

TEST_F(LimitAttacks, ControlManyProcessesStartWithoutLimits) {
  spec_.limits.processes = 20;
  const auto sandbox = Make({Layer::kCgroup, Layer::kRlimits});
  ASSERT_NE(sandbox, nullptr);
  EXPECT_EQ(Attack(*sandbox, {"many_processes", "60"}).outcome, "succeeded");
}

TEST_F(LimitAttacks, AForkBombStopsNobodyElse) {
  spec_.limits.processes = 20;
  const auto other = Make();
  auto sandbox = Make();
  ASSERT_TRUE(sandbox != nullptr && other != nullptr);
  std::stop_source stop;
  const Attempt attempt = Attack(
      *sandbox, {"fork_bomb"},
      [&](const std::string&) {
        ExpectWorking(*other);
        EXPECT_EQ(AttackOutside({"many_processes", "20"}), "succeeded");
        stop.request_stop();
      },
      {}, stop.get_token());
  EXPECT_EQ(attempt.outcome, "errno EAGAIN");
  // Either all of it was killed in time, or the whole sandbox was.
  if (attempt.result)
    EXPECT_TRUE(attempt.result->cancelled);
  else
    EXPECT_EQ(attempt.result.error().code, ErrorCode::kSandboxLost);
  ExpectNothingSurvives(std::move(sandbox));
}

TEST_F(LimitAttacks, AMemoryBombIsKilledAndReported) {
  spec_.limits.memory_bytes = 48 << 20;
  auto sandbox = Make();
  ASSERT_NE(sandbox, nullptr);
  SKIP_WITHOUT_CGROUP(*sandbox, "attack MemoryBomb");
  const Attempt attempt = Attack(*sandbox, {"use_memory", "200"});
  EXPECT_EQ(attempt.outcome, "signal 9");
  ASSERT_TRUE(attempt.result);
  EXPECT_TRUE(attempt.result->out_of_memory);
  ExpectWorking(*sandbox);
  ExpectNothingSurvives(std::move(sandbox));
}

TEST_F(LimitAttacks, ControlAMemoryBombSucceedsWithoutTheCgroup) {
  spec_.limits.memory_bytes = 48 << 20;
  const auto sandbox = Make({Layer::kCgroup});
  ASSERT_NE(sandbox, nullptr);
  EXPECT_EQ(Attack(*sandbox, {"use_memory", "200"}).outcome, "succeeded");
}

TEST_F(LimitAttacks, AToolCannotMakeItselfTheLastToDieOfMemory) {
  const auto sandbox = Make();
  ASSERT_NE(sandbox, nullptr);
  if (!HasLayer(*sandbox, "landlock")) {
    NoteSkipped("attack HideFromTheOutOfMemoryKiller", kNoLandlock);
    GTEST_SKIP() << kNoLandlock;
  }
  EXPECT_EQ(Attack(*sandbox, {"use_memory_of_nobody", "/tmp/file", "1"}).outcome, "errno EACCES");
}

// Without Landlock they can. What that costs them is their sandbox, which says so; nobody else
// notices.
TEST_F(LimitAttacks, AMemoryBombThatHidesHarmsItsOwnSandboxOnly) {
  spec_.limits.memory_bytes = 48 << 20;
  spec_.limits.tmp_bytes = 256 << 20;
  const auto other = Make();
  auto sandbox = Make({Layer::kLandlock});
  ASSERT_TRUE(sandbox != nullptr && other != nullptr);
  SKIP_WITHOUT_CGROUP(*sandbox, "attack MemoryBombThatHides");
  const Attempt attempt = Attack(*sandbox, {"use_memory_of_nobody", "/tmp/file", "100"});
  if (attempt.result) {
    EXPECT_TRUE(attempt.result->out_of_memory);
  } else {
    EXPECT_EQ(attempt.result.error().code, ErrorCode::kSandboxLost);
    EXPECT_THAT(attempt.outcome, HasSubstr("killed processes in it for memory"));
  }
  ExpectWorking(*other);
  ExpectNothingSurvives(std::move(sandbox));
}

TEST_F(LimitAttacks, ControlAMemoryBombThatHidesSucceedsWithoutTheCgroup) {
  spec_.limits.memory_bytes = 48 << 20;
  spec_.limits.tmp_bytes = 256 << 20;
  const auto sandbox = Make({Layer::kCgroup, Layer::kLandlock});
  ASSERT_NE(sandbox, nullptr);
  EXPECT_EQ(Attack(*sandbox, {"use_memory_of_nobody", "/tmp/file", "100"}).outcome, "succeeded");
}

TEST_F(LimitAttacks, FilesInTmpAreChargedToTheSandbox) {
  spec_.limits.memory_bytes = 48 << 20;
  spec_.limits.tmp_bytes = 256 << 20;
  auto sandbox = Make();
  ASSERT_NE(sandbox, nullptr);
  SKIP_WITHOUT_CGROUP(*sandbox, "attack FilesInTmpAreCharged");
  const Attempt attempt = Attack(*sandbox, {"fill_file", "/tmp/file", "100"});
  EXPECT_EQ(attempt.outcome, "signal 9");
  ASSERT_TRUE(attempt.result);
  EXPECT_TRUE(attempt.result->out_of_memory);
  ExpectNothingSurvives(std::move(sandbox));
}

TEST_F(LimitAttacks, ControlFilesInTmpAreFreeWithoutTheCgroup) {
  spec_.limits.memory_bytes = 48 << 20;
  spec_.limits.tmp_bytes = 256 << 20;
  const auto sandbox = Make({Layer::kCgroup});
  ASSERT_NE(sandbox, nullptr);
  EXPECT_EQ(Attack(*sandbox, {"fill_file", "/tmp/file", "100"}).outcome, "succeeded");
}

TEST_F(LimitAttacks, TmpIsFullAtItsSize) {
  spec_.limits.tmp_bytes = 4 << 20;
  spec_.limits.tmp_inodes = 64;
  const auto sandbox = Make();
  ASSERT_NE(sandbox, nullptr);
  for (const char* directory : {"/tmp", "/dev/shm", "/run"}) {
    SCOPED_TRACE(directory);
    EXPECT_EQ(Attack(*sandbox, {"fill_file", std::string(directory) + "/file", "16"}).outcome,
              "errno ENOSPC");
    EXPECT_EQ(Attack(*sandbox, {"many_files", directory, "300"}).outcome, "errno ENOSPC");
  }
}

TEST_F(LimitAttacks, ControlALargerTmpTakesAsMuch) {
  spec_.limits.tmp_bytes = 64 << 20;
  const auto sandbox = Make();
  ASSERT_NE(sandbox, nullptr);
  for (const char* directory : {"/tmp", "/dev/shm"}) {
    SCOPED_TRACE(directory);
    EXPECT_EQ(Attack(*sandbox, {"fill_file", std::string(directory) + "/file", "16"}).outcome,
              "succeeded");
    EXPECT_EQ(Attack(*sandbox, {"many_files", directory, "300"}).outcome, "succeeded");
  }
}

// ---- Output that nobody could keep

// Bytes of memory that the test itself has.
std::uint64_t OwnMemory() {
  const auto text = sys::ReadFile("/proc/self/statm");
  std::uint64_t total = 0;
  std::uint64_t resident = 0;
  EXPECT_EQ(std::sscanf(text->c_str(), "%lu %lu", &total, &resident), 2);
  return resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

// What the test may grow by during a flood of 1 GiB. The address sanitizer keeps up to 256 MiB of
// what was freed.
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define COFFERDAM_ADDRESS_SANITIZER
#endif
#endif
#ifdef COFFERDAM_ADDRESS_SANITIZER
constexpr std::uint64_t kRoomBytes = 400 << 20;
#else
constexpr std::uint64_t kRoomBytes = 16 << 20;
#endif

TEST_F(LimitAttacks, AFloodOfOutputCostsTheHostNothing) {
  constexpr std::uint64_t kMiB = 1 << 20;
  constexpr std::uint64_t kFlood = 1024;
  spec_.limits.memory_bytes = 64 << 20;
  const auto sandbox = Make();
  ASSERT_NE(sandbox, nullptr);
  const std::uint64_t before = OwnMemory();
  std::uint64_t most = before;
  std::uint64_t next = 0;
  std::uint64_t taken = 0;
  const auto result =
      sandbox->Exec({.argv = {kProgramInside, "flood_output", std::to_string(kFlood), mark_}},
                    [&](sandbox::OutputStream, std::string_view part) {
                      taken += part.size();
                      if (taken < next) return;
                      next += 64 * kMiB;
                      most = std::max(most, OwnMemory());
                    },
                    {});
  ASSERT_TRUE(result) << result.error().ToString();
  EXPECT_EQ(result->exit_code, 0);
  EXPECT_GE(taken, kFlood * kMiB);
  EXPECT_LT(most - before, kRoomBytes);
  ExpectWorking(*sandbox);
}

TEST_F(LimitAttacks, ControlOutputThatIsKeptCostsAsMuch) {
  constexpr std::uint64_t kMiB = 1 << 20;
  constexpr std::uint64_t kFlood = 64;
  const auto sandbox = Make();
  ASSERT_NE(sandbox, nullptr);
  const std::uint64_t before = OwnMemory();
  std::string kept;
  const auto result =
      sandbox->Exec({.argv = {kProgramInside, "flood_output", std::to_string(kFlood), mark_}},
                    [&](sandbox::OutputStream, std::string_view part) { kept += part; }, {});
  ASSERT_TRUE(result) << result.error().ToString();
  EXPECT_GE(kept.size(), kFlood * kMiB);
  EXPECT_GE(OwnMemory() - before, kFlood * kMiB / 2);
}

// ---- Core files

bool LeftACoreFile(sandbox::LocalSandbox& sandbox) {
  const auto entries = sandbox.List("", false);
  EXPECT_TRUE(entries);
  return entries && std::ranges::any_of(*entries, [](const sandbox::FileEntry& entry) {
           return entry.name.starts_with("core");
         });
}

TEST_F(LimitAttacks, ACrashLeavesNoCoreFile) {
  const auto sandbox = Make();
  ASSERT_NE(sandbox, nullptr);
  EXPECT_EQ(Attack(*sandbox, {"crash"}).outcome, "signal 6");
  EXPECT_FALSE(LeftACoreFile(*sandbox));
  // With this limit a handler that the host pipes core files into is not started either.
  const auto limits = sys::ReadFile("/proc/" + std::to_string(sandbox->worker_pid()) + "/limits");
  ASSERT_TRUE(limits);
  EXPECT_THAT(*limits, HasSubstr("Max core file size        1                    1 "));
}

TEST_F(LimitAttacks, ControlACrashLeavesACoreFileWithoutRlimits) {
  const auto pattern = sys::ReadFile("/proc/sys/kernel/core_pattern");
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_CORE, &limit), 0);
  std::string why;
  if (!pattern || !pattern->starts_with("core"))
    why = "core files of this machine go elsewhere";
  else if (limit.rlim_max != RLIM_INFINITY)
    why = "core files are limited on this machine";
  if (!why.empty()) {
    NoteSkipped("control Crash", why);
    GTEST_SKIP() << why;
  }
  const auto sandbox = Make({Layer::kRlimits});
  ASSERT_NE(sandbox, nullptr);
  EXPECT_EQ(Attack(*sandbox, {"crash"}).outcome, "signal 6");
  EXPECT_TRUE(LeftACoreFile(*sandbox));
}

}  // namespace
}  // namespace cofferdam::escape
