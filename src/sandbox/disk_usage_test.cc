#include "sandbox/disk_usage.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sys/file.h"
#include "sys/process.h"
#include "sys/testing/temp_dir.h"

namespace cofferdam::sandbox {
namespace {

using testing::IsEmpty;

constexpr std::uint64_t kMiB = 1 << 20;
constexpr std::uint64_t kNoEnd = std::uint64_t{1} << 60;

class DiskCountTest : public testing::Test {
 protected:
  void SetUp() override { empty_ = Count(); }

  DiskUsage Count(std::uint64_t enough = kNoEnd) const {
    auto count = DiskCount::Begin({root_.path()}, {::getpid()}, enough);
    EXPECT_TRUE(count) << count.error().ToString();
    if (!count) return {};
    const auto done = count->GoOn(Deadline::Never());
    EXPECT_TRUE(done) << done.error().ToString();
    EXPECT_TRUE(done && *done);
    return count->usage();
  }
  std::uint64_t Added() const { return Count().bytes - empty_.bytes; }
  std::uint64_t AddedFiles() const { return Count().files - empty_.files; }

  sys::UniqueFd Put(const std::string& name, std::size_t bytes) const {
    sys::UniqueFd fd(::open((root_ / name).c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    EXPECT_TRUE(fd.valid()) << name;
    EXPECT_TRUE(sys::WriteAll(fd.get(), std::string(bytes, 'x')));
    return fd;
  }
  void MakeDirectory(const std::string& name) const {
    EXPECT_EQ(::mkdir((root_ / name).c_str(), 0700), 0) << name;
  }

  sys::TempDir root_;
  DiskUsage empty_;
};

TEST_F(DiskCountTest, CountsTheBlocksOfFilesInAllDirectories) {
  MakeDirectory("a");
  MakeDirectory("a/b");
  Put("one", kMiB);
  Put("a/two", kMiB);
  Put("a/b/three", kMiB);
  EXPECT_GE(Added(), 3 * kMiB + 5 * kBytesPerFile);
  EXPECT_LT(Added(), 3 * kMiB + 5 * kBytesPerFile + 64 * 1024);
  EXPECT_EQ(AddedFiles(), 5U);
}

TEST_F(DiskCountTest, EmptyFilesAreNotFree) {
  for (int i = 0; i < 100; ++i) Put("empty-" + std::to_string(i), 0);
  EXPECT_GE(Added(), 100 * kBytesPerFile);
}

TEST_F(DiskCountTest, OfASparseFileWhatIsAllocatedCounts) {
  const sys::UniqueFd fd = Put("sparse", kMiB);
  ASSERT_EQ(::ftruncate(fd.get(), off_t{4} << 30), 0);
  EXPECT_GE(Added(), kMiB);
  EXPECT_LT(Added(), 2 * kMiB);
}

TEST_F(DiskCountTest, BlocksThatWereAllocatedButNotWrittenCount) {
  const sys::UniqueFd fd = Put("allocated", 0);
  ASSERT_EQ(::fallocate(fd.get(), FALLOC_FL_KEEP_SIZE, 0, 2 * kMiB), 0);
  EXPECT_GE(Added(), 2 * kMiB);
}

TEST_F(DiskCountTest, AFileWithSeveralNamesCountsOnce) {
  Put("one", kMiB);
  const std::uint64_t before = Added();
  MakeDirectory("d");
  const std::uint64_t with_directory = Added();
  ASSERT_EQ(::link((root_ / "one").c_str(), (root_ / "d/again").c_str()), 0);
  EXPECT_EQ(Added(), with_directory);
  EXPECT_GT(with_directory, before);
}

TEST_F(DiskCountTest, ADeletedFileThatIsOpenCountsUntilItIsClosed) {
  sys::UniqueFd fd = Put("deleted", kMiB);
  ASSERT_EQ(::unlink((root_ / "deleted").c_str()), 0);
  EXPECT_GE(Count().deleted_bytes, kMiB);
  ASSERT_TRUE(sys::WriteAll(fd.get(), std::string(kMiB, 'y')));
  EXPECT_GE(Count().deleted_bytes, 2 * kMiB) << "it goes on growing";
  const sys::UniqueFd copy(::dup(fd.get()));
  EXPECT_LT(Count().deleted_bytes, 3 * kMiB) << "two descriptors are one file";
  fd.Reset();
  EXPECT_GE(Added(), 2 * kMiB);
}

TEST_F(DiskCountTest, ADeletedFileThatIsMappedCounts) {
  if (::geteuid() != 0) GTEST_SKIP() << "only the superuser sees what is mapped";
  sys::UniqueFd fd = Put("mapped", kMiB);
  ASSERT_EQ(::unlink((root_ / "mapped").c_str()), 0);
  void* const memory = ::mmap(nullptr, kMiB, PROT_READ, MAP_SHARED, fd.get(), 0);
  ASSERT_NE(memory, MAP_FAILED);
  fd.Reset();
  EXPECT_GE(Count().deleted_bytes, kMiB);
  ::munmap(memory, kMiB);
  EXPECT_EQ(Count().deleted_bytes, 0U);
}

TEST_F(DiskCountTest, SymlinksAreCountedAndNotFollowed) {
  const sys::TempDir elsewhere;
  const sys::UniqueFd big(
      ::open((elsewhere / "big").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  ASSERT_TRUE(sys::WriteAll(big.get(), std::string(2 * kMiB, 'x')));
  ASSERT_EQ(::symlink(elsewhere.path().c_str(), (root_ / "directory").c_str()), 0);
  ASSERT_EQ(::symlink((elsewhere / "big").c_str(), (root_ / "file").c_str()), 0);
  ASSERT_EQ(::symlink(".", (root_ / "itself").c_str()), 0);
  EXPECT_EQ(AddedFiles(), 3U);
  EXPECT_LT(Added(), kMiB);
}

TEST_F(DiskCountTest, NamesMayHoldAnything) {
  for (int i = 0; i < 200; ++i) Put("a\nb\x80\xff\\ \t-" + std::to_string(i), 0);
  MakeDirectory("new\nline");
  Put("new\nline/\n", 0);
  EXPECT_EQ(AddedFiles(), 202U);
}

TEST_F(DiskCountTest, ATreeOfAnyDepthIsCounted) {
  constexpr int kDepth = 300;
  sys::UniqueFd at = *sys::Open(root_.path(), O_PATH | O_DIRECTORY);
  for (int i = 0; i < kDepth; ++i) {
    // Two beside each other on each level, so that the way back is needed.
    ASSERT_EQ(::mkdirat(at.get(), "aside", 0700), 0);
    ASSERT_EQ(::mkdirat(at.get(), "down", 0700), 0);
    at = *sys::OpenAt(at.get(), "down", O_PATH | O_DIRECTORY);
  }
  EXPECT_EQ(AddedFiles(), 2U * kDepth);
}

TEST_F(DiskCountTest, ADirectoryWithoutRightsIsCounted) {
  MakeDirectory("closed");
  Put("closed/file", kMiB);
  ASSERT_EQ(::chmod((root_ / "closed").c_str(), 0), 0);
  EXPECT_GE(Added(), kMiB);
}

TEST_F(DiskCountTest, AMountIsNotEntered) {
  if (::geteuid() != 0) GTEST_SKIP() << "only the superuser mounts";
  MakeDirectory("mounted");
  // Of the same file system, so that only the mount tells.
  const sys::TempDir elsewhere;
  const sys::UniqueFd big(
      ::open((elsewhere / "big").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  ASSERT_TRUE(sys::WriteAll(big.get(), std::string(2 * kMiB, 'x')));
  std::jthread([&] {
    // In a mount namespace of this thread's own.
    ASSERT_EQ(::unshare(CLONE_NEWNS), 0);
    ASSERT_EQ(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
    ASSERT_EQ(
        ::mount(elsewhere.path().c_str(), (root_ / "mounted").c_str(), nullptr, MS_BIND, nullptr),
        0);
    EXPECT_EQ(AddedFiles(), 1U);
    EXPECT_LT(Added(), kMiB);
  }).join();
}

TEST_F(DiskCountTest, EndsWhenItHasSeenEnough) {
  for (int i = 0; i < 1000; ++i) Put("file-" + std::to_string(i), 0);
  const DiskUsage usage = Count(100 * kBytesPerFile);
  EXPECT_GT(usage.bytes, 100 * kBytesPerFile);
  EXPECT_LT(usage.files, 700U);
}

TEST_F(DiskCountTest, CanBeInterruptedAndGoesOnWhereItStood) {
  for (int i = 0; i < 300; ++i) Put("file-" + std::to_string(i), 0);
  for (int i = 0; i < 20; ++i) MakeDirectory("directory-" + std::to_string(i));
  auto count = DiskCount::Begin({root_.path()}, {}, kNoEnd);
  ASSERT_TRUE(count);
  auto done = count->GoOn(Deadline::After(std::chrono::milliseconds(0)));
  ASSERT_TRUE(done);
  EXPECT_FALSE(*done);
  done = count->GoOn(Deadline::Never());
  ASSERT_TRUE(done && *done);
  EXPECT_EQ(count->usage().files, 321U);
}

// The walk holds a descriptor for the nearest levels only; where ".." leads is checked.
TEST_F(DiskCountTest, ATreeThatIsMovedWhileItIsCountedIsNoticed) {
  std::string path = root_.path();
  for (int i = 0; i < 200; ++i) {
    path += "/d";
    ASSERT_EQ(::mkdir(path.c_str(), 0700), 0);
  }
  // Something for the levels that come back to it.
  const std::string upper = root_.path() + "/d/d/d";
  ASSERT_EQ(::mkdir((upper + "/0").c_str(), 0700), 0);
  auto count = DiskCount::Begin({root_.path()}, {}, kNoEnd);
  ASSERT_TRUE(count);
  while (count->usage().files < 150) ASSERT_TRUE(count->StepForTest());
  ASSERT_EQ(::rename((upper + "/d/d/d").c_str(), (root_ / "elsewhere").c_str()), 0);
  const auto done = count->GoOn(Deadline::Never());
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, ErrorCode::kBusy);
}

TEST_F(DiskCountTest, ADirectoryThatIsGoneIsAnErrorOfTheRoot) {
  EXPECT_FALSE(DiskCount::Begin({root_ / "nothing"}, {}, kNoEnd));
}

TEST(DescendantsOf, AreAllGenerationsAndNobodyElse) {
  const auto pipe = sys::NewPipe();
  const pid_t child = ::fork();
  if (child == 0) {
    const pid_t grandchild = ::fork();
    if (grandchild != 0)
      static_cast<void>(sys::WriteAll(
          pipe->write_end.get(),
          std::string(reinterpret_cast<const char*>(&grandchild), sizeof(grandchild))));
    for (;;) ::pause();
  }
  pid_t grandchild = 0;
  ASSERT_EQ(::read(pipe->read_end.get(), &grandchild, sizeof(grandchild)),
            ssize_t{sizeof(grandchild)});
  EXPECT_THAT(DescendantsOf(::getpid()), testing::IsSupersetOf({child, grandchild}));
  EXPECT_THAT(DescendantsOf(child), testing::ElementsAre(grandchild));
  EXPECT_THAT(DescendantsOf(grandchild), IsEmpty());
  for (const pid_t pid : {grandchild, child}) ::kill(pid, SIGKILL);
  EXPECT_TRUE(sys::Reap(child));
}

}  // namespace
}  // namespace cofferdam::sandbox
