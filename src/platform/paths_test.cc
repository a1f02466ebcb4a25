#include "platform/paths.h"

#include <unistd.h>

#include <gmock/gmock.h>

#include "sys/file.h"
#include "sys/testing/temp_dir.h"

namespace cofferdam::platform {
namespace {

using testing::HasSubstr;

TEST(CheckStateDirectory, RefusesTheSystemsOwnDirectoriesButNotWhatIsBelow) {
  for (const char* path : {"/", "/root", "/proc", "/sys", "/dev", "/boot", "/run", "/tmp", "/var",
                           "/etc", "/bin", "/sbin", "/usr", "/lib", "/home"}) {
    const Status status = CheckStateDirectory(path);
    ASSERT_FALSE(status) << path;
    EXPECT_THAT(status.error().message, HasSubstr("sensitive system path"));
  }
  for (const char* path : {"/var/lib/cofferdam", "/root/x", "/tmp/x", "/state"})
    EXPECT_TRUE(CheckStateDirectory(path)) << path;
}

TEST(ResolvePath, SeesThroughDotsSlashesAndSymbolicLinks) {
  const sys::TempDir temp;
  ASSERT_EQ(::symlink("/etc", (temp / "link").c_str()), 0);
  EXPECT_EQ(*ResolvePath("/etc/"), "/etc");
  EXPECT_EQ(*ResolvePath("/tmp/../etc/./"), "/etc");
  EXPECT_EQ(*ResolvePath(temp / "link"), "/etc");
  EXPECT_EQ(*ResolvePath(temp / "link/new/state"), "/etc/new/state");
  EXPECT_FALSE(ResolvePath(""));
}

}  // namespace
}  // namespace cofferdam::platform
