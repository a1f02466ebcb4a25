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

class CheckMountSourceTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(sys::MakeDirectories(temp_ / "around/state/workspaces", 0700));
    ASSERT_TRUE(sys::MakeDirectories(temp_ / "data/inner", 0700));
    ASSERT_EQ(::symlink("data", (temp_ / "link").c_str()), 0);
  }
  std::string Refusal(const std::string& source) {
    const Status status = CheckMountSource(source, temp_ / "around/state");
    EXPECT_TRUE(status || status.error().code == ErrorCode::kMountRefused);
    return status ? "" : status.error().message;
  }
  sys::TempDir temp_;
};

TEST_F(CheckMountSourceTest, TakesAnOrdinaryDirectory) {
  EXPECT_EQ(Refusal(temp_ / "data"), "");
  EXPECT_EQ(Refusal(temp_ / "data/inner/"), "");
  EXPECT_EQ(Refusal("/usr/share"), "");
}

TEST_F(CheckMountSourceTest, RefusesSensitivePlacesAndWhatIsInThem) {
  for (const char* source :
       {"/root", "/root/x", "/proc", "/proc/1/root", "/sys/fs", "/dev", "/dev/null", "/boot",
        "/run", "/run/docker.sock", "/var/run/docker.sock", "/home", "/home/user/x", "/home/",
        "/etc/shadow", "/etc/sudoers", "/etc/gshadow", "/etc/master.passwd"})
    EXPECT_THAT(Refusal(source), HasSubstr("sensitive host path")) << source;
  EXPECT_EQ(Refusal("/homework"), "mount source /homework does not exist");
}

TEST_F(CheckMountSourceTest, RefusesWhatContainsASensitivePlace) {
  for (const char* source : {"/", "/etc", "/var"})
    EXPECT_THAT(Refusal(source), HasSubstr("contains /")) << source;
}

TEST_F(CheckMountSourceTest, RefusesTheStateDirectoryWhatIsInItAndWhatIsAroundIt) {
  for (const char* source : {"around/state", "around/state/workspaces", "around"})
    EXPECT_THAT(Refusal(temp_ / source), HasSubstr("state directory")) << source;
}

TEST_F(CheckMountSourceTest, RefusesSymbolicLinksAnywhereInThePath) {
  EXPECT_THAT(Refusal(temp_ / "link"), HasSubstr("symbolic link in its path (not allowed)"));
  EXPECT_THAT(Refusal(temp_ / "link/inner"), HasSubstr("symbolic link in its path (not allowed)"));
}

TEST_F(CheckMountSourceTest, RefusesDotsAndWhatIsNotThere) {
  EXPECT_THAT(Refusal(temp_ / "data/../data"), HasSubstr("without '.', '..'"));
  EXPECT_THAT(Refusal("/usr//share"), HasSubstr("double slashes"));
  EXPECT_THAT(Refusal(temp_ / "missing"), HasSubstr("does not exist"));
}

}  // namespace
}  // namespace cofferdam::platform
