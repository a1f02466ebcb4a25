#include "platform/workspace_ids.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gmock/gmock.h>

#include "base/testing/fake_clock.h"
#include "platform/state_directory.h"
#include "sys/file.h"
#include "sys/testing/temp_dir.h"

namespace cofferdam::platform {
namespace {

using testing::IsEmpty;

class WorkspaceIdsTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "an ordinary user has no ids to give";
    if (IdSpace::OfThisMachine()->size() < 3) GTEST_SKIP() << "too few ids are mapped here";
  }

  std::optional<StateDirectory> Open() {
    auto state = StateDirectory::Open(temp_ / "state", clock_);
    EXPECT_TRUE(state) << state.error().ToString();
    if (!state) return std::nullopt;
    return std::move(*state);
  }
  std::uint32_t Create(const StateDirectory& state, const std::string& id) {
    const Status made = state.CreateWorkspace(id, {}, clock_);
    EXPECT_TRUE(made) << made.error().ToString();
    return Identity(state, id);
  }
  static std::uint32_t Identity(const StateDirectory& state, const std::string& id) {
    const auto folder = state.OpenWorkspace(id);
    if (!folder) return 0;
    const auto identity = state.IdentityOf(id, folder->get());
    EXPECT_TRUE(identity) << identity.error().ToString();
    return identity && *identity ? (*identity)->uid : 0;
  }
  /// What a host that was killed would have left on record.
  std::unique_ptr<PlatformDb> Db() { return *PlatformDb::Open(temp_ / "state"); }
  std::uint32_t RangeOf(const std::string& folder) { return Db()->RangeOf(folder)->value_or(0); }
  void Rename(const std::string& from, const std::string& to) {
    ASSERT_EQ(::rename((workspaces_ + "/" + from).c_str(), (workspaces_ + "/" + to).c_str()), 0);
  }
  void Give(const std::string& path, std::uint32_t id) {
    ASSERT_EQ(::lchown((workspaces_ + "/" + path).c_str(), id, id), 0);
  }
  std::uint32_t OwnerOf(const std::string& path) {
    struct stat info{};
    EXPECT_EQ(::lstat((workspaces_ + "/" + path).c_str(), &info), 0) << path;
    EXPECT_EQ(info.st_uid, info.st_gid) << path;
    return info.st_uid;
  }
  void Put(const std::string& path) {
    ASSERT_TRUE(sys::Open(workspaces_ + "/" + path, O_WRONLY | O_CREAT, 0600));
  }
  /// As an older version left it: its files are everybody's, and nothing is on record.
  void MakeOld(const std::string& id) {
    ASSERT_TRUE(Db()->ReleaseRange(id));
    for (const char* name : {"/files/work", "/files/home"}) Give(id + name, kOldId);
  }

  static constexpr std::uint32_t kOldId = 1'879'048'192;
  sys::TempDir temp_;
  std::string workspaces_ = temp_ / "state/workspaces";
  FakeClock clock_;
};

TEST_F(WorkspaceIdsTest, EachWorkspaceHasItsOwnAndItsFilesBelongToThem) {
  const auto state = Open();
  const std::uint32_t alice = Create(*state, "alice");
  const std::uint32_t bob = Create(*state, "bob");
  EXPECT_NE(alice, 0U);
  EXPECT_EQ(alice % kIdsPerWorkspace, 0U);
  EXPECT_NE(alice, bob);
  for (const char* name : {"/files/work", "/files/home"}) {
    EXPECT_EQ(OwnerOf(std::string("alice") + name), alice);
    EXPECT_EQ(OwnerOf(std::string("bob") + name), bob);
  }
  EXPECT_EQ(OwnerOf("alice/files"), 0U);
  struct stat info{};
  ASSERT_EQ(::stat((workspaces_ + "/alice/files").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0700U);
  EXPECT_EQ(Identity(*Open(), "alice"), alice);
}

TEST_F(WorkspaceIdsTest, ANameThatIsTakenTakesNoRange) {
  const auto state = Open();
  const std::uint32_t alice = Create(*state, "alice");
  EXPECT_FALSE(state->CreateWorkspace("alice", {}, clock_));
  EXPECT_EQ(RangeOf("alice"), alice);
  EXPECT_THAT(*Db()->UnsettledRanges(), IsEmpty());
}

TEST_F(WorkspaceIdsTest, ADeletedWorkspacesRangeIsFreeWhenItsFilesAreGone) {
  const auto state = Open();
  Create(*state, "alice");
  ASSERT_TRUE(state->DeleteWorkspace("alice", clock_));
  EXPECT_FALSE(*Db()->HasRanges());
}

TEST_F(WorkspaceIdsTest, FilesThatCannotBeRemovedYetKeepTheirRange) {
  std::uint32_t alice = 0;
  {
    const auto state = Open();
    alice = Create(*state, "alice");
  }
  // As after a crash while they were removed; and somebody still holds them.
  ASSERT_TRUE(Db()->MoveRange("alice", ".deleted-1"));
  Rename("alice", ".deleted-1");
  {
    const sys::UniqueFd folder = *sys::Open(workspaces_ + "/.deleted-1", O_PATH | O_DIRECTORY);
    const auto held = DirectoryLock::TryShared(folder.get());
    ASSERT_TRUE(held);
    const auto state = Open();
    EXPECT_EQ(RangeOf(".deleted-1"), alice);
    EXPECT_NE(Create(*state, "alice"), alice);
  }
  ASSERT_TRUE(Open());
  EXPECT_EQ(RangeOf(".deleted-1"), 0U);
}

TEST_F(WorkspaceIdsTest, WhatAnOlderWorkspaceHasChangedOfProjectsBecomesItsIdsToo) {
  Create(*Open(), "alice");
  MakeOld("alice");
  const std::string project = "alice/files/projects/0011223344556677";
  for (const char* name : {"/upper", "/work"}) {
    ASSERT_TRUE(sys::MakeDirectories(workspaces_ + "/" + project + name, 0700));
    Give(project + name, kOldId);
  }
  Put(project + "/upper/file");
  Give(project + "/upper/file", kOldId);
  const auto state = Open();
  const std::uint32_t alice = Identity(*state, "alice");
  EXPECT_NE(alice, kOldId);
  for (const char* name : {"/upper", "/upper/file", "/work"})
    EXPECT_EQ(OwnerOf(project + name), alice) << name;
  EXPECT_EQ(OwnerOf(project), 0U) << "the host's";
}

TEST_F(WorkspaceIdsTest, AWorkspaceWhoseMakerDiedAfterNamingItKeepsItsIds) {
  const std::uint32_t alice = Create(*Open(), "alice");
  ASSERT_TRUE(Db()->MoveRange("alice", ".new-1"));
  const auto state = Open();
  EXPECT_EQ(RangeOf(".new-1"), alice);
  EXPECT_EQ(Identity(*state, "alice"), alice);
  EXPECT_EQ(RangeOf("alice"), alice);
}

TEST_F(WorkspaceIdsTest, AWorkspaceWhoseMakerDiedBeforeIsGoneWithItsRange) {
  Create(*Open(), "alice");
  ASSERT_TRUE(Db()->MoveRange("alice", ".new-1"));
  Rename("alice", ".new-1");
  ASSERT_TRUE(Open());
  EXPECT_FALSE(*Db()->HasRanges());
}

TEST_F(WorkspaceIdsTest, AWorkspaceWhoseRemoverDiedBeforeRenamingItKeepsItsIds) {
  const std::uint32_t alice = Create(*Open(), "alice");
  ASSERT_TRUE(Db()->MoveRange("alice", ".deleted-1"));
  const auto state = Open();
  EXPECT_NE(Create(*state, "bob"), alice);
  EXPECT_EQ(Identity(*state, "alice"), alice);
}

TEST_F(WorkspaceIdsTest, ARangeWithoutFilesIsFreedAlsoWhenItsNameIsTakenAgain) {
  Create(*Open(), "alice");
  ASSERT_TRUE(Db()->MoveRange("alice", ".deleted-1"));
  ASSERT_TRUE(sys::RemoveTree(sys::Open(workspaces_, O_PATH)->get(), "alice"));
  const std::uint32_t second = Create(*Open(), "alice");
  EXPECT_EQ(RangeOf(".deleted-1"), 0U);
  EXPECT_EQ(RangeOf("alice"), second);
  EXPECT_THAT(*Db()->UnsettledRanges(), IsEmpty());
}

TEST_F(WorkspaceIdsTest, AnOlderWorkspaceGetsARangeAndItsFilesWithoutFollowingLinks) {
  {
    const auto state = Open();
    Create(*state, "alice");
  }
  MakeOld("alice");
  const std::string outside = temp_ / "outside";
  ASSERT_TRUE(sys::Open(outside, O_WRONLY | O_CREAT, 0600));
  ASSERT_EQ(::chown(outside.c_str(), kOldId, kOldId), 0);
  ASSERT_TRUE(sys::MakeDirectories(workspaces_ + "/alice/files/work/a/b", 0700));
  Put("alice/files/work/a/b/file");
  Put("alice/files/work/of-the-host");
  ASSERT_EQ(::symlink(outside.c_str(), (workspaces_ + "/alice/files/work/a/link").c_str()), 0);
  for (const char* path : {"a", "a/b", "a/b/file", "a/link"})
    Give("alice/files/work/" + std::string(path), kOldId);
  const auto state = Open();
  const std::uint32_t alice = Identity(*state, "alice");
  EXPECT_NE(alice, kOldId);
  for (const char* path : {"work", "home", "work/a", "work/a/b", "work/a/b/file", "work/a/link"})
    EXPECT_EQ(OwnerOf("alice/files/" + std::string(path)), alice) << path;
  EXPECT_EQ(OwnerOf("alice/files/work/of-the-host"), 0U);
  EXPECT_EQ(OwnerOf("../../outside"), kOldId);
}

TEST_F(WorkspaceIdsTest, GivingFilesGoesOnWhereItWasInterrupted) {
  {
    const auto state = Open();
    Create(*state, "alice");
  }
  const std::uint32_t alice = RangeOf("alice");
  ASSERT_TRUE(sys::MakeDirectories(workspaces_ + "/alice/files/work/done/not", 0700));
  Give("alice/files/work/done", alice);
  Give("alice/files/work/done/not", kOldId);
  Give("alice/files/work", kOldId);
  EXPECT_EQ(Identity(*Open(), "alice"), alice);
  EXPECT_EQ(OwnerOf("alice/files/work/done/not"), alice);
  EXPECT_EQ(OwnerOf("alice/files/work"), alice);
}

TEST_F(WorkspaceIdsTest, FilesThatSomebodyWorksWithDoNotChangeHands) {
  {
    const auto state = Open();
    Create(*state, "alice");
  }
  MakeOld("alice");
  const auto state = Open();
  const sys::UniqueFd folder = *state->OpenWorkspace("alice");
  const auto run = DirectoryLock::TryShared(folder.get());
  ASSERT_TRUE(run);
  const auto identity = state->IdentityOf("alice", folder.get());
  ASSERT_FALSE(identity);
  EXPECT_EQ(identity.error().code, ErrorCode::kBusy);
  EXPECT_EQ(OwnerOf("alice/files/work"), kOldId);
}

TEST_F(WorkspaceIdsTest, ALostDatabaseIsLearnedFromTheFiles) {
  std::uint32_t alice = 0;
  std::uint32_t bob = 0;
  {
    const auto state = Open();
    alice = Create(*state, "alice");
    bob = Create(*state, "bob");
  }
  Rename("bob", ".deleted-1");
  ASSERT_EQ(::unlink((temp_ / "state/platform.db").c_str()), 0);
  {
    const sys::UniqueFd folder = *sys::Open(workspaces_ + "/.deleted-1", O_PATH | O_DIRECTORY);
    const auto held = DirectoryLock::TryShared(folder.get());
    const auto state = Open();
    const std::uint32_t carol = Create(*state, "carol");
    EXPECT_NE(carol, alice);
    EXPECT_NE(carol, bob);
    EXPECT_EQ(RangeOf(".deleted-1"), bob);
    EXPECT_EQ(Identity(*state, "alice"), alice);
  }
  ASSERT_TRUE(Open());
  EXPECT_EQ(RangeOf(".deleted-1"), 0U);
}

TEST_F(WorkspaceIdsTest, ADamagedDatabaseIsReportedAndKept) {
  Create(*Open(), "alice");
  const sys::UniqueFd file = *sys::Open(temp_ / "state/platform.db", O_WRONLY | O_TRUNC);
  ASSERT_TRUE(sys::WriteAll(file.get(), "damaged"));
  const auto state = StateDirectory::Open(temp_ / "state", clock_);
  ASSERT_FALSE(state);
  EXPECT_EQ(state.error().code, ErrorCode::kCorrupt);
  EXPECT_EQ(*sys::ReadFile(temp_ / "state/platform.db"), "damaged");
}

}  // namespace
}  // namespace cofferdam::platform
