#include "sandbox/disk_image.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sandbox/local_sandbox.h"
#include "sys/file.h"
#include "sys/testing/temp_dir.h"

namespace cofferdam::sandbox {
namespace {

using testing::HasSubstr;

constexpr std::uint64_t kMiB = 1 << 20;
constexpr std::uint64_t kBytes = 32 * kMiB;

class DiskImageTest : public testing::Test {
 protected:
  void SetUp() override {
    const Status possible = CheckDiskImage();
    if (!possible) GTEST_SKIP() << possible.error().ToString();
    folder_ = *sys::Open(temp_.path(), O_PATH | O_DIRECTORY);
    auto launcher = Launcher::Start();
    ASSERT_TRUE(launcher) << launcher.error().ToString();
    launcher_ = std::move(*launcher);
  }

  std::unique_ptr<LocalSandbox> Make(std::uint64_t bytes = kBytes) {
    const auto mounts = MountDiskImage(folder_.get(), bytes);
    EXPECT_TRUE(mounts) << mounts.error().ToString();
    if (!mounts) return nullptr;
    SandboxSpec spec;
    spec.id = "image-" + std::to_string(++count_);
    spec.mounts = {{"", "/workspace", true, mounts->work}, {"", "/home/agent", true, mounts->home}};
    if (!launcher_->cgroups()) spec.allow_missing = LayerSet().With(Layer::kCgroup);
    auto sandbox = LocalSandbox::Create(*launcher_, spec, Deadline::Never());
    EXPECT_TRUE(sandbox) << sandbox.error().ToString();
    return sandbox ? std::move(*sandbox) : nullptr;
  }

  static std::string Shell(LocalSandbox& sandbox, const std::string& line) {
    std::string output;
    const auto result =
        sandbox.Exec({.argv = {"/bin/sh", "-c", line}},
                     [&](OutputStream, std::string_view bytes) { output += bytes; }, {});
    EXPECT_TRUE(result) << result.error().ToString();
    return output;
  }

  /// How many loop devices show a file below the test's directory.
  int Attached() const {
    int count = 0;
    for (const auto& entry : std::filesystem::directory_iterator("/sys/block")) {
      const auto file = sys::ReadFile(entry.path().string() + "/loop/backing_file");
      if (file && file->starts_with(temp_.path())) ++count;
    }
    return count;
  }

  sys::TempDir temp_;
  sys::UniqueFd folder_;
  std::unique_ptr<Launcher> launcher_;
  int count_ = 0;
};

TEST_F(DiskImageTest, FilesOutlastTheSandboxAndNothingStaysAttached) {
  ASSERT_TRUE(MakeDiskImage(folder_.get(), kBytes, ToolIdentity()));
  {
    const auto sandbox = Make();
    ASSERT_NE(sandbox, nullptr);
    EXPECT_EQ(Shell(*sandbox, "echo one > /workspace/a; echo two > /home/agent/b"), "");
    EXPECT_EQ(Attached(), 1);
  }
  EXPECT_EQ(Attached(), 0);
  const auto sandbox = Make();
  ASSERT_NE(sandbox, nullptr);
  EXPECT_EQ(Shell(*sandbox, "cat /workspace/a /home/agent/b"), "one\ntwo\n");
  EXPECT_EQ(Shell(*sandbox, "ls /workspace /home/agent"), "/home/agent:\nb\n\n/workspace:\na\n");
}

TEST_F(DiskImageTest, TheKernelRefusesWhatIsBeyondIt) {
  ASSERT_TRUE(MakeDiskImage(folder_.get(), kBytes, ToolIdentity()));
  const auto sandbox = Make();
  ASSERT_NE(sandbox, nullptr);
  EXPECT_THAT(Shell(*sandbox,
                    "head -c 67108864 /dev/zero > /workspace/file 2>&1 || "
                    "head -c 1 /dev/zero 2>&1 > /home/agent/file; df /workspace | tail -n 1"),
              HasSubstr("100%"));
  EXPECT_THAT(
      Shell(*sandbox, "rm /workspace/file; echo ok > /workspace/again; cat /workspace/again"),
      HasSubstr("ok"));
}

TEST_F(DiskImageTest, TwoSandboxesShareTheFilesAndOneDevice) {
  ASSERT_TRUE(MakeDiskImage(folder_.get(), kBytes, ToolIdentity()));
  const auto first = Make();
  const auto second = Make();
  ASSERT_TRUE(first != nullptr && second != nullptr);
  Shell(*first, "echo seen > /workspace/file");
  EXPECT_EQ(Shell(*second, "cat /workspace/file"), "seen\n");
  EXPECT_EQ(Attached(), 1);
}

TEST_F(DiskImageTest, GrowsWhenTheLimitWasRaisedAndNeverShrinks) {
  ASSERT_TRUE(MakeDiskImage(folder_.get(), kBytes, ToolIdentity()));
  Shell(*Make(), "echo kept > /workspace/file");
  EXPECT_EQ(Shell(*Make(2 * kBytes), "cat /workspace/file"), "kept\n");
  EXPECT_EQ((*FindDiskImage(folder_.get()))->bytes, 2 * kBytes);
  EXPECT_EQ(Shell(*Make(kBytes), "cat /workspace/file"), "kept\n");
  EXPECT_EQ((*FindDiskImage(folder_.get()))->bytes, 2 * kBytes);
}

TEST_F(DiskImageTest, IsAttachedNowhereInTheHostsTree) {
  ASSERT_TRUE(MakeDiskImage(folder_.get(), kBytes, ToolIdentity()));
  const auto before = sys::ReadFile("/proc/self/mountinfo");
  const auto sandbox = Make();
  ASSERT_NE(sandbox, nullptr);
  EXPECT_EQ(*sys::ReadFile("/proc/self/mountinfo"), *before);
}

TEST_F(DiskImageTest, ADamagedOneIsReportedAndLeftAsItIs) {
  const std::string garbage(kBytes / 4, 'x');
  const sys::UniqueFd image = *sys::OpenAt(folder_.get(), kImageName, O_RDWR | O_CREAT, 0600);
  ASSERT_TRUE(sys::WriteAll(image.get(), garbage));
  ASSERT_EQ(::fchown(image.get(), ToolIdentity().uid, ToolIdentity().gid), 0);
  const auto mounts = MountDiskImage(folder_.get(), kBytes);
  ASSERT_FALSE(mounts);
  EXPECT_EQ(mounts.error().code, ErrorCode::kCorrupt);
  EXPECT_EQ(*sys::ReadFile(temp_ / kImageName, kBytes), garbage);
}

TEST_F(DiskImageTest, IsNotMadeTwiceAndNotTooSmall) {
  EXPECT_FALSE(*FindDiskImage(folder_.get()));
  EXPECT_EQ(MakeDiskImage(folder_.get(), kMinImageBytes - 1, ToolIdentity()).error().code,
            ErrorCode::kInvalidArgument);
  ASSERT_TRUE(MakeDiskImage(folder_.get(), kBytes, ToolIdentity()));
  EXPECT_EQ(MakeDiskImage(folder_.get(), kBytes, ToolIdentity()).error().code,
            ErrorCode::kAlreadyExists);
  EXPECT_EQ((*FindDiskImage(folder_.get()))->bytes, kBytes);
  EXPECT_LT((*FindDiskImage(folder_.get()))->allocated_bytes, kBytes / 2) << "it is sparse";
}

}  // namespace
}  // namespace cofferdam::sandbox
