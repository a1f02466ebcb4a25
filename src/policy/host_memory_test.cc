#include "policy/host_memory.h"

#include <gtest/gtest.h>

namespace cofferdam::policy {
namespace {

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;

TEST(HostMemory, IsReadFromMemInfo) {
  const auto memory = ParseMemInfo(
      "MemTotal:       24658560 kB\nMemFree:         1000000 kB\nMemAvailable:   23000000 kB\n");
  ASSERT_TRUE(memory);
  EXPECT_EQ(memory->total, 25250365440U);
  EXPECT_EQ(memory->available, 23552000000U);
}

TEST(HostMemory, OfWhatIsNoMemInfoThereIsNone) {
  EXPECT_FALSE(ParseMemInfo(""));
  EXPECT_FALSE(ParseMemInfo("MemTotal: many kB\nMemAvailable: 1 kB\n"));
  EXPECT_FALSE(ParseMemInfo("MemTotal: 5 kB\n"));
}

TEST(HostMemory, OfThisMachineMakesSense) {
  const auto memory = ReadHostMemory();
  ASSERT_TRUE(memory) << memory.error().ToString();
  EXPECT_GT(memory->total, 64 * kMiB);
  EXPECT_GT(memory->available, 0U);
  EXPECT_LE(memory->available, memory->total);
}

TEST(SlotsFor, DividesThreeQuartersOfWhatIsAvailable) {
  EXPECT_EQ(SlotsFor({.total = 8192 * kMiB, .available = 4096 * kMiB}), 24U);
  EXPECT_EQ(SlotsFor({.total = 8192 * kMiB, .available = 100 * kMiB}), 1U);
  EXPECT_EQ(SlotsFor({.total = 1 << 30, .available = 0}), 1U);
  EXPECT_EQ(SlotsFor({.total = UINT64_MAX, .available = UINT64_MAX}), 1024U);
}

TEST(IsShort, BelowATenth) {
  EXPECT_TRUE(IsShort({.total = 1000, .available = 99}));
  EXPECT_FALSE(IsShort({.total = 1000, .available = 100}));
}

}  // namespace
}  // namespace cofferdam::policy
