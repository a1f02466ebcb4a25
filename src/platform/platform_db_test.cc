#include "platform/platform_db.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <set>
#include <thread>

#include <gmock/gmock.h>

#include "sys/file.h"
#include "sys/testing/temp_dir.h"

namespace cofferdam::platform {
namespace {

using testing::ElementsAre;
using testing::Optional;

constexpr const char* kPlatform = "01900000-0000-7000-8000-000000000001";

// Ranges from 16384 to 16384 + count * 4096.
IdSpace SpaceOf(int count) {
  const std::string map = "0 0 " + std::to_string(16'384 + count * 4096) + "\n";
  return IdSpace({.uid_map = map, .gid_map = map});
}

class PlatformDbTest : public testing::Test {
 protected:
  std::unique_ptr<PlatformDb> Open() {
    auto db = PlatformDb::Open(temp_.path());
    EXPECT_TRUE(db) << db.error().ToString();
    return std::move(*db);
  }
  sys::TempDir temp_;
};

TEST_F(PlatformDbTest, GivesEachFolderARangeOfItsOwnAndKeepsIt) {
  const IdSpace space = SpaceOf(4);
  {
    const auto db = Open();
    EXPECT_EQ(*db->TakeRange(space, kPlatform, "alice", "alice"), 16'384U + 4096);
    EXPECT_EQ(*db->TakeRange(space, kPlatform, "bob", "bob"), 16'384U + 2 * 4096);
  }
  const auto db = Open();
  EXPECT_THAT(*db->RangeOf("alice"), Optional(16'384U + 4096));
  EXPECT_THAT(*db->RangeOf("bob"), Optional(16'384U + 2 * 4096));
  EXPECT_EQ(*db->RangeOf("eve"), std::nullopt);
  struct stat info{};
  ASSERT_EQ(::stat((temp_ / "platform.db").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0600U);
}

TEST_F(PlatformDbTest, ARangeIsFreeWhenItWasReleasedAndNotBefore) {
  const IdSpace space = SpaceOf(2);
  const auto db = Open();
  const std::uint32_t first = *db->TakeRange(space, kPlatform, "alice", "alice");
  EXPECT_NE(*db->TakeRange(space, kPlatform, "bob", "bob"), first);
  ASSERT_TRUE(db->MoveRange("alice", ".deleted-1"));
  const auto none = db->TakeRange(space, kPlatform, "carol", "carol");
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, ErrorCode::kTooLarge);
  EXPECT_EQ(*db->RangeOf("carol"), std::nullopt);
  ASSERT_TRUE(db->ReleaseRange(".deleted-1"));
  EXPECT_EQ(*db->TakeRange(space, kPlatform, "carol", "carol"), first);
}

TEST_F(PlatformDbTest, KnowsWhatIsBeingMadeAndRemoved) {
  const IdSpace space = SpaceOf(4);
  const auto db = Open();
  const std::uint32_t first = *db->TakeRange(space, kPlatform, "alice", ".new-1");
  const auto unsettled = db->UnsettledRanges();
  ASSERT_EQ(unsettled->size(), 1U);
  EXPECT_EQ(unsettled->front().first, first);
  EXPECT_EQ(unsettled->front().workspace, "alice");
  EXPECT_EQ(unsettled->front().folder, ".new-1");
  ASSERT_TRUE(db->MoveRange(".new-1", "alice"));
  EXPECT_TRUE(db->UnsettledRanges()->empty());
  EXPECT_THAT(*db->RangeOf("alice"), Optional(first));
}

TEST_F(PlatformDbTest, AFolderThatTakesANameIsTheOnlyOneOfIt) {
  const IdSpace space = SpaceOf(4);
  const auto db = Open();
  ASSERT_TRUE(db->TakeRange(space, kPlatform, "alice", "alice"));
  const std::uint32_t second = *db->TakeRange(space, kPlatform, "alice", ".new-1");
  ASSERT_TRUE(db->MoveRange(".new-1", "alice"));
  EXPECT_THAT(*db->RangeOf("alice"), Optional(second));
}

TEST_F(PlatformDbTest, TheLastRangesAreFoundToo) {
  const IdSpace space = SpaceOf(8);
  const auto db = Open();
  std::set<std::uint32_t> given;
  for (int i = 0; i < 8; ++i) {
    const std::string name = "w" + std::to_string(i);
    given.insert(*db->TakeRange(space, kPlatform, name, name));
  }
  EXPECT_EQ(given.size(), 8U);
  EXPECT_EQ(*given.begin(), 16'384U);
}

TEST_F(PlatformDbTest, ProcessesThatTakeRangesAtOnceGetDifferentOnes) {
  const IdSpace space = SpaceOf(10);
  ASSERT_NE(Open(), nullptr);
  std::vector<std::uint32_t> given(8);
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < given.size(); ++i)
      threads.emplace_back([&, i] {
        const std::string name = "w" + std::to_string(i);
        given[i] = *Open()->TakeRange(space, kPlatform, name, name);
      });
  }
  EXPECT_EQ(std::set(given.begin(), given.end()).size(), given.size());
}

TEST_F(PlatformDbTest, ANewDatabaseLearnsWhatIsInUse) {
  const auto db = Open();
  EXPECT_FALSE(*db->HasRanges());
  ASSERT_TRUE(db->AddRanges({{20'480, "alice", "alice"}, {20'480, "twin", "twin"}}));
  EXPECT_TRUE(*db->HasRanges());
  EXPECT_THAT(*db->RangeOf("alice"), Optional(20'480U));
  EXPECT_EQ(*db->RangeOf("twin"), std::nullopt);
}

}  // namespace
}  // namespace cofferdam::platform
