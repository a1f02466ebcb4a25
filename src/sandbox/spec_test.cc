#include "sandbox/spec.h"

#include <sys/stat.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "sys/testing/temp_dir.h"

namespace cofferdam::sandbox {
namespace {

TEST(PickToolId, TakesAnIdThatBelongsToNobodyAndIsMapped) {
  EXPECT_EQ(PickToolId("         0          0 4294967295\n"), 1'879'048'192u);
  EXPECT_EQ(PickToolId("0 100000 65536\n"), 65'533u);
  EXPECT_EQ(PickToolId("0 1000 1\n1 100000 1000\n"), 1000u);
  EXPECT_EQ(PickToolId("0 1000 1\n"), 0u) << "a single id is the superuser's";
  EXPECT_EQ(PickToolId(""), 0u);
  EXPECT_EQ(PickToolId("x y z"), 0u);
}

TEST(ParseIoLimit, ReadsADeviceAndItsLimits) {
  EXPECT_EQ(*ParseIoLimit("8:0 rbps=1048576"), (IoLimit{.major = 8, .read_bytes = 1048576}));
  EXPECT_EQ(*ParseIoLimit("259:3 wiops=10 rbps=max wbps=2 riops=7"),
            (IoLimit{.major = 259,
                     .minor = 3,
                     .write_bytes = 2,
                     .read_operations = 7,
                     .write_operations = 10}));
}

TEST(ParseIoLimit, RefusesWhatIsNone) {
  for (const char* bad :
       {"", "8:0", "8 rbps=1", "8:0 rbps", "8:0 rbps=", "8:0 rbps=0", "8:0 rbps=-1", "8:0 rbps=1x",
        "8:0 bps=1", "8:x rbps=1", "4294967296:0 rbps=1", "8:0 rbps=1\n8:16 rbps=1",
        "8:0 rbps=99999999999999999999"})
    EXPECT_EQ(ParseIoLimit(bad).error().code, ErrorCode::kInvalidArgument) << bad;
}

TEST(ParseMount, ReadsSourceDestinationAndMode) {
  const Mount read_only = *ParseMount("/srv/data:/mnt/data");
  EXPECT_EQ(read_only.source, "/srv/data");
  EXPECT_EQ(read_only.target, "/mnt/data");
  EXPECT_FALSE(read_only.writable);
  EXPECT_TRUE(ParseMount("/srv/a:b:/mnt/x:rw")->writable);
  EXPECT_EQ(ParseMount("/srv/a:b:/mnt/x:rw")->source, "/srv/a:b");
}

TEST(ParseMount, RefusesWhatIsNoMount) {
  for (const char* bad : {"", "/srv", "/srv:", ":/mnt/x", "srv:/mnt/x", "/srv:mnt/x",
                          "/srv/../etc:/mnt/x", "/srv:/mnt/../etc", "/srv:/etc", "/srv:/mnt",
                          "/srv:/mnt/", "/srv//a:/mnt/x", "/srv:/mnt/a\nb"})
    EXPECT_EQ(ParseMount(bad).error().code, ErrorCode::kInvalidArgument) << bad;
}

TEST(CheckMountSource, RefusesSystemDirectoriesHomesAndSockets) {
  for (const char* bad : {"/", "/root", "/root/x", "/proc", "/proc/1", "/sys", "/dev", "/dev/sda",
                          "/boot", "/run", "/run/docker.sock", "/var/run/docker.sock", "/home",
                          "/home/user", "/etc", "/etc/shadow", "/usr", "/tmp", "/var"})
    EXPECT_EQ(CheckMountSource(bad, "").error().code, ErrorCode::kMountRefused) << bad;
}

TEST(CheckMountSource, TakesWhatIsShownOfTheOwnHome) {
  const auto check = [](const char* path) { return CheckMountSource(path, "", "/home/alice"); };
  for (const char* bad : {"/home", "/home/alice", "/home/alicex/a", "/home/bob/a", "/root/a",
                          "/home/alice/.ssh", "/home/alice/.config/x"})
    EXPECT_EQ(check(bad).error().code, ErrorCode::kMountRefused) << bad;
  EXPECT_EQ(check("/home/alice/no-such-project").error().code, ErrorCode::kNotFound);
  EXPECT_EQ(CheckMountSource("/etc/x", "", "/").error().code, ErrorCode::kMountRefused);
}

TEST(CheckMountSource, TakesADirectoryAndRefusesSymlinksAndTheStateItself) {
  const sys::TempDir temp;
  ASSERT_TRUE(sys::MakeDirectories(temp / "state/workspaces", 0700));
  ASSERT_TRUE(sys::MakeDirectories(temp / "data", 0700));
  ASSERT_EQ(::symlink("data", (temp / "link").c_str()), 0);
  EXPECT_TRUE(CheckMountSource(temp / "data", temp / "state"));
  EXPECT_EQ(CheckMountSource(temp / "link", "").error().code, ErrorCode::kMountRefused);
  ASSERT_TRUE(sys::MakeDirectories(temp / "data/below", 0700));
  EXPECT_EQ(CheckMountSource(temp / "link/below", "").error().code, ErrorCode::kPermissionDenied);
  EXPECT_EQ(CheckMountSource(temp / "absent", "").error().code, ErrorCode::kNotFound);
  for (const char* path : {"state", "state/workspaces"})
    EXPECT_EQ(CheckMountSource(temp / path, temp / "state").error().code, ErrorCode::kMountRefused)
        << path;
  EXPECT_EQ(CheckMountSource(temp.path(), temp / "state").error().code, ErrorCode::kMountRefused)
      << "it holds the state";
}

}  // namespace
}  // namespace cofferdam::sandbox
