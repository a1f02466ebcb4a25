#include "sandbox/cgroup_place.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

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

TEST(LocateCgroup, FindsTheDirectoryBelowTheMountThatShowsIt) {
  const auto mounts = ParseCgroupMounts(kHybrid);
  EXPECT_EQ(LocateCgroup(mounts, "cpu", "/a/b")->directory, "/sys/fs/cgroup/cpu/a/b");
  EXPECT_EQ(LocateCgroup(mounts, "", "/")->directory, "/sys/fs/cgroup/unified");
  // A container's own part: the kernel goes on to name the group from the hierarchy's root.
  const auto inside = LocateCgroup(mounts, "memory", "/docker/abc/x");
  EXPECT_EQ(inside->directory, "/sys/fs/cgroup/memory/x");
  EXPECT_EQ(inside->path, "/docker/abc/x");
  EXPECT_EQ(LocateCgroup(mounts, "memory", "/docker/abc")->directory, "/sys/fs/cgroup/memory");
  EXPECT_FALSE(LocateCgroup(mounts, "memory", "/docker/abcd"));
  EXPECT_FALSE(LocateCgroup(mounts, "memory", "/"));
  EXPECT_FALSE(LocateCgroup(mounts, "pids", "/"));
}

TEST(LocateCgroup, TakesTheLastOfTwoMountsThatCoversTheOther) {
  const auto mounts = ParseCgroupMounts(
      "30 25 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
      "31 30 0:26 /a /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
  EXPECT_EQ(LocateCgroup(mounts, "", "/a/b")->directory, "/sys/fs/cgroup/b");
}

TEST(HasWord, FindsWholeWordsOnly) {
  EXPECT_TRUE(HasWord("cpuset cpu io\n", "cpu"));
  EXPECT_TRUE(HasWord("cpuset cpu io\n", "io"));
  EXPECT_FALSE(HasWord("cpuset io\n", "cpu"));
  EXPECT_FALSE(HasWord("", "cpu"));
}

}  // namespace
}  // namespace cofferdam::sandbox
