#include "sandbox/cgroup.h"

#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sys/fd.h"
#include "sys/file.h"
#include "sys/process.h"

namespace cofferdam::sandbox {
namespace {

constexpr char kHybrid[] =
    "30 25 0:26 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"
    "31 30 0:27 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"
    "32 30 0:28 /docker/abc /sys/fs/cgroup/memory rw,relatime shared:5 - cgroup cgroup rw,memory\n"
    "33 30 0:29 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";

TEST(ParseCgroupMounts, FindsBothVersionsAndTheirControllers) {
  const auto mounts = ParseCgroupMounts(kHybrid);
  ASSERT_EQ(mounts.size(), 3u);
  EXPECT_EQ(mounts[0].mount_point, "/sys/fs/cgroup/cpu");
  EXPECT_EQ(mounts[0].controllers, (std::vector<std::string>{"rw", "cpu", "cpuacct"}));
  EXPECT_EQ(mounts[1].root, "/docker/abc");
  EXPECT_TRUE(mounts[2].is_v2);
}

TEST(ParseCgroupMounts, ATmpfsIsNoCgroupAndGarbageIsNothing) {
  EXPECT_TRUE(ParseCgroupMounts("30 25 0:26 / /sys/fs/cgroup rw - tmpfs cgroup rw\n").empty());
  EXPECT_TRUE(ParseCgroupMounts("").empty());
  EXPECT_TRUE(ParseCgroupMounts("\n - \n - cgroup\n1 2 3 - cgroup cgroup rw\n").empty());
}

TEST(ParseCgroupPath, FindsAControllerOrTheUnifiedHierarchy) {
  constexpr char kText[] = "4:memory:/a/b\n2:cpu,cpuacct:/c:d\n0::/e\n";
  EXPECT_EQ(ParseCgroupPath(kText, "memory"), "/a/b");
  EXPECT_EQ(ParseCgroupPath(kText, "cpu"), "/c:d");
  EXPECT_EQ(ParseCgroupPath(kText, ""), "/e");
  EXPECT_EQ(ParseCgroupPath(kText, "pids"), std::nullopt);
  EXPECT_EQ(ParseCgroupPath("nonsense\n", ""), std::nullopt);
}

TEST(CgroupRoot, RemovesWhatADeadHostHasLeftAndNothingOfALiveOne) {
  auto live = CgroupRoot::Open();
  if (!live) GTEST_SKIP() << live.error().message;
  const auto live_group = live->Make({});
  ASSERT_TRUE(live_group) << live_group.error().ToString();
  sys::Pipe names = *sys::NewPipe();
  const pid_t dead_host = ::fork();
  if (dead_host == 0) {
    auto root = CgroupRoot::Open();
    const bool made = root && root->Make({}).has_value();
    if (made) static_cast<void>(sys::WriteAll(names.write_end.get(), root->directory_name()));
    ::_exit(0);  // without any destructor, as when it is killed
  }
  names.write_end.Reset();
  ASSERT_TRUE(sys::Reap(dead_host));
  const std::string left = *sys::ReadAll(names.read_end.get(), 256);
  ASSERT_FALSE(left.empty());

  const auto next = CgroupRoot::Open();
  ASSERT_TRUE(next);
  const std::vector<int> fds = next->Descriptors();
  for (std::size_t parent = 0; parent < fds.size(); parent += 2) {
    const auto found = *sys::ListDirectory(fds[parent]);
    EXPECT_THAT(found, testing::Not(testing::Contains(left)));
    EXPECT_THAT(found, testing::Contains(live->directory_name()));
  }
}

}  // namespace
}  // namespace cofferdam::sandbox
