#include "sandbox/host_limits.h"

#include <sys/resource.h>

#include <fstream>
#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cofferdam::sandbox {
namespace {

using Values = std::map<std::string, std::uint64_t, std::less<>>;

std::function<std::optional<std::uint64_t>(std::string_view)> From(Values values) {
  return [values = std::move(values)](std::string_view name) -> std::optional<std::uint64_t> {
    const auto found = values.find(name);
    if (found == values.end()) return std::nullopt;
    return found->second;
  };
}

HostLimit Find(const std::vector<HostLimit>& limits, std::string_view name) {
  for (const HostLimit& limit : limits)
    if (limit.name == name) return limit;
  ADD_FAILURE() << name << " is not there";
  return {};
}

TEST(HostLimits, SaysHowManySandboxesEachAllows) {
  const auto limits = HostLimitsFrom(From({{"fs.inotify.max_user_instances", 128},
                                           {"kernel.pty.max", 4096},
                                           {"kernel.pty.reserve", 1024},
                                           {"kernel.pid_max", 32768}}),
                                     20000);
  EXPECT_EQ(Find(limits, "fs.inotify.max_user_instances").sandboxes, 128u);
  EXPECT_EQ(Find(limits, "kernel.pty.max").sandboxes, 3072u);
  EXPECT_EQ(Find(limits, "kernel.pid_max").sandboxes, 10581u);
  EXPECT_EQ(Find(limits, "RLIMIT_NOFILE").sandboxes, 9744u);
}

TEST(HostLimits, TheTightestComesFirstAndWhatIsNotShownIsLeftOut) {
  const auto limits = HostLimitsFrom(
      From({{"kernel.keys.maxkeys", 200}, {"fs.inotify.max_user_instances", 128}}), 20000);
  std::vector<std::string> names;
  for (const HostLimit& limit : limits) names.push_back(limit.name);
  EXPECT_THAT(names, testing::ElementsAre("fs.inotify.max_user_instances", "kernel.keys.maxkeys",
                                          "RLIMIT_NOFILE"));
}

TEST(HostLimits, ALimitBelowWhatIsKeptForOthersAllowsNone) {
  const auto limits =
      HostLimitsFrom(From({{"kernel.pty.max", 100}, {"kernel.pty.reserve", 1024}}), 64);
  EXPECT_EQ(Find(limits, "kernel.pty.max").sandboxes, 0u);
  EXPECT_EQ(Find(limits, "RLIMIT_NOFILE").sandboxes, 0u);
}

TEST(HostLimits, TheRemedyMakesRoomForTenThousandAndIsAbsentWhenThereIsRoom) {
  const auto tight = HostLimitsFrom(From({{"kernel.pty.max", 4096},
                                          {"kernel.pty.reserve", 1024},
                                          {"user.max_net_namespaces", 96365}}),
                                    1024);
  EXPECT_EQ(Find(tight, "kernel.pty.max").remedy, "sysctl -w kernel.pty.max=11024");
  EXPECT_THAT(Find(tight, "RLIMIT_NOFILE").remedy, testing::HasSubstr("ulimit -Hn 20512"));
  EXPECT_EQ(Find(tight, "user.max_net_namespaces").remedy, "");
  const auto roomy =
      HostLimitsFrom(From({{"kernel.pty.max", 11024}, {"kernel.pty.reserve", 1024}}), 20512);
  for (const HostLimit& limit : roomy) {
    EXPECT_EQ(limit.sandboxes, 10'000u) << limit.name;
    EXPECT_EQ(limit.remedy, "") << limit.name;
  }
}

TEST(HostLimits, ReadsWhatThisKernelShows) {
  std::uint64_t pid_max = 0;
  std::ifstream("/proc/sys/kernel/pid_max") >> pid_max;
  rlimit descriptors{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &descriptors), 0);
  const auto limits = ReadHostLimits();
  EXPECT_EQ(Find(limits, "kernel.pid_max").value, pid_max);
  EXPECT_EQ(Find(limits, "RLIMIT_NOFILE").value, descriptors.rlim_cur);
}

TEST(RaiseDescriptorLimit, MakesTheSoftLimitTheHardOne) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit lower{before.rlim_max / 2, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &lower), 0);
  ASSERT_TRUE(RaiseDescriptorLimit());
  rlimit after{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &after), 0);
  EXPECT_EQ(after.rlim_cur, before.rlim_max);
  EXPECT_EQ(after.rlim_max, before.rlim_max);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
}

}  // namespace
}  // namespace cofferdam::sandbox
