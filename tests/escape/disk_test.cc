// Attacks by using up the disk, against the soft limit: the one without the kernel's help.

#include <stop_token>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fixture.h"
#include "sandbox/disk_watch.h"

namespace cofferdam::escape {
namespace {

using testing::HasSubstr;

constexpr std::uint64_t kMiB = 1 << 20;
constexpr std::uint64_t kLimit = 8 * kMiB;
// What of a single attack is over the limit.
constexpr char kTooMuch[] = "12";

class DiskAttacks : public EscapeTest {
 protected:
  /// Where /workspace is on the host.
  std::vector<std::string> Roots() const { return {spec_.mounts.front().source}; }

  static void ExpectLimit(const Error& error) {
    EXPECT_EQ(error.code, ErrorCode::kDiskLimit) << error.ToString();
    EXPECT_THAT(error.message, HasSubstr("more than 8.0 MiB (disk_mib)"));
  }

  /// An attack that comes to its end and is found afterwards, at the end of the turn.
  void ExpectFound(const std::vector<std::string>& arguments) {
    auto sandbox = Make();
    ASSERT_NE(sandbox, nullptr);
    {
      sandbox::DiskWatch::Watched watched = watch_.Watch(*sandbox, Roots(), kLimit);
      EXPECT_EQ(Attack(*sandbox, arguments).outcome, "succeeded");
      const Status checked = watched.Check();
      ASSERT_FALSE(checked);
      ExpectLimit(checked.error());
      const Attempt again = Attack(*sandbox, arguments);
      ASSERT_FALSE(again.result);
      ExpectLimit(again.result.error());
    }
    ExpectNothingSurvives(std::move(sandbox));
  }

  /// An attack that goes on for ever and is ended by a visit.
  void ExpectEnded(const std::vector<std::string>& arguments) {
    auto sandbox = Make();
    ASSERT_NE(sandbox, nullptr);
    {
      const sandbox::DiskWatch::Watched watched = watch_.Watch(*sandbox, Roots(), kLimit);
      const Attempt attempt =
          Attack(*sandbox, arguments, [this](const std::string&) { watch_.Visit(); }, {}, {});
      ASSERT_FALSE(attempt.result);
      ExpectLimit(attempt.result.error());
      EXPECT_THAT(attempt.result.error().message, HasSubstr("deleted while open"));
    }
    ExpectNothingSurvives(std::move(sandbox));
  }

  /// The same attack where nothing counts.
  void ExpectSuccess(const std::vector<std::string>& arguments) {
    const auto sandbox = Make();
    ASSERT_NE(sandbox, nullptr);
    std::stop_source stop;
    const Attempt attempt = Attack(
        *sandbox, arguments, [&](const std::string&) { stop.request_stop(); }, {},
        stop.get_token());
    EXPECT_EQ(attempt.outcome, "succeeded");
    EXPECT_TRUE(attempt.result) << attempt.result.error().ToString();
    ExpectWorking(*sandbox);
  }

  sandbox::DiskWatch watch_{std::nullopt};
};

TEST_F(DiskAttacks, ALargeFileIsFound) { ExpectFound({"leave_file", "/workspace/file", kTooMuch}); }

TEST_F(DiskAttacks, ControlALargeFileIsWritten) {
  ExpectSuccess({"leave_file", "/workspace/file", kTooMuch});
}

TEST_F(DiskAttacks, ManyEmptyFilesAreFound) { ExpectFound({"many_files", "/workspace", "2100"}); }

TEST_F(DiskAttacks, ControlManyEmptyFilesAreMade) {
  ExpectSuccess({"many_files", "/workspace", "2100"});
}

TEST_F(DiskAttacks, FilesInClosedDirectoriesAreFound) {
  ExpectFound({"closed_directories", "/workspace", kTooMuch});
}

TEST_F(DiskAttacks, ControlClosedDirectoriesAreFilled) {
  ExpectSuccess({"closed_directories", "/workspace", kTooMuch});
}

TEST_F(DiskAttacks, ADeletedFileThatGrowsEndsItsSandbox) {
  ExpectEnded({"grow_deleted_file", "/workspace/file", kTooMuch});
}

TEST_F(DiskAttacks, ControlADeletedFileGrows) {
  ExpectSuccess({"grow_deleted_file", "/workspace/file", kTooMuch});
}

TEST_F(DiskAttacks, ADeletedFileThatIsOnlyMappedEndsItsSandbox) {
  if (!AsRoot()) {
    constexpr char kWhy[] = "an ordinary user does not see what is mapped";
    NoteSkipped("attack MapDeletedFile", kWhy);
    GTEST_SKIP() << kWhy;
  }
  ExpectEnded({"map_deleted_file", "/workspace/file", kTooMuch});
}

TEST_F(DiskAttacks, ControlADeletedFileIsMapped) {
  ExpectSuccess({"map_deleted_file", "/workspace/file", kTooMuch});
}

TEST_F(DiskAttacks, ASparseFileBeyondTheLimitIsRefused) {
  spec_.limits.file_bytes = kLimit;
  const auto sandbox = Make();
  ASSERT_NE(sandbox, nullptr);
  EXPECT_EQ(Attack(*sandbox, {"claiming_file", "/workspace/file", "4096"}).outcome, "signal 25");
}

TEST_F(DiskAttacks, ControlASparseFileIsMadeWithoutTheLimit) {
  ExpectSuccess({"claiming_file", "/workspace/file", "4096"});
}

TEST_F(DiskAttacks, AnotherWorkspaceIsNotEnded) {
  const auto neighbour = Make();
  ASSERT_NE(neighbour, nullptr);
  const sys::TempDir elsewhere;
  const sandbox::DiskWatch::Watched other = watch_.Watch(*neighbour, {elsewhere.path()}, kLimit);
  ExpectFound({"leave_file", "/workspace/file", kTooMuch});
  watch_.Visit();
  ExpectWorking(*neighbour);
}

}  // namespace
}  // namespace cofferdam::escape
