#include "platform/state_directory.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gmock/gmock.h>

#include <cofferdam/platform.h>

#include "base/testing/fake_clock.h"
#include "platform/directory_lock.h"
#include "sys/file.h"
#include "sys/testing/temp_dir.h"

namespace cofferdam::platform {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

void Put(const std::string& path, std::string_view text) {
  const sys::UniqueFd fd = *sys::Open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  ASSERT_TRUE(sys::WriteAll(fd.get(), text));
}

class StateDirectoryTest : public testing::Test {
 protected:
  Result<StateDirectory> Open() { return StateDirectory::Open(temp_ / "state", clock_); }
  ErrorCode Refusal() {
    const auto state = Open();
    return state ? ErrorCode::kInternal : state.error().code;
  }
  std::vector<std::string> NamesIn(const std::string& path) {
    const sys::UniqueFd directory = *sys::Open(path, O_RDONLY | O_DIRECTORY);
    return *sys::ListDirectory(directory.get());
  }
  sys::TempDir temp_;
  FakeClock clock_;
};

TEST_F(StateDirectoryTest, IsMadeForItsOwnerOnlyAndKeepsItsId) {
  const auto first = Open();
  ASSERT_TRUE(first) << first.error().ToString();
  struct stat info{};
  ASSERT_EQ(::stat((temp_ / "state").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700U);
  const auto second = Open();
  ASSERT_TRUE(second);
  EXPECT_EQ(second->id(), first->id());
}

TEST_F(StateDirectoryTest, AnOpenDoorIsClosed) {
  ASSERT_TRUE(sys::MakeDirectories(temp_ / "state", 0755));
  ASSERT_EQ(::chmod((temp_ / "state").c_str(), 0755), 0);
  ASSERT_TRUE(Open());
  struct stat info{};
  ASSERT_EQ(::stat((temp_ / "state").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700U);
}

TEST_F(StateDirectoryTest, ADirectoryWithOtherThingsInItIsRefusedAndLeftAlone) {
  ASSERT_TRUE(sys::MakeDirectories(temp_ / "state", 0755));
  ASSERT_EQ(::chmod((temp_ / "state").c_str(), 0755), 0);
  Put(temp_ / "state/letter", "x");
  EXPECT_EQ(Refusal(), ErrorCode::kInvalidArgument);
  EXPECT_THAT(NamesIn(temp_ / "state"), ElementsAre("letter"));
  struct stat info{};
  ASSERT_EQ(::stat((temp_ / "state").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0755U);
}

TEST_F(StateDirectoryTest, ASystemDirectoryIsRefusedByWhateverName) {
  ASSERT_EQ(::symlink("/etc", (temp_ / "state").c_str()), 0);
  const auto state = Open();
  ASSERT_FALSE(state);
  EXPECT_THAT(state.error().message, HasSubstr("sensitive system path"));
}

TEST_F(StateDirectoryTest, ADamagedPlatformFileIsReportedAndKept) {
  ASSERT_TRUE(Open());
  for (const char* text : {"", "{", "[]", "{\"format\":1}", "{\"format\":\"1\",\"id\":\"x\"}"}) {
    Put(temp_ / "state/platform.json", text);
    EXPECT_EQ(Refusal(), ErrorCode::kCorrupt) << text;
    EXPECT_EQ(*sys::ReadFile(temp_ / "state/platform.json"), text);
  }
  Put(temp_ / "state/platform.json", "{\"format\":2}");
  EXPECT_EQ(Refusal(), ErrorCode::kUnsupported);
}

TEST_F(StateDirectoryTest, WorkspacesAreListedByNameAndHoldTheirFolders) {
  const auto state = Open();
  ASSERT_TRUE(state->CreateWorkspace("bob", {}, clock_));
  ASSERT_TRUE(state->CreateWorkspace("alice", {.model = "m"}, clock_));
  ASSERT_TRUE(sys::MakeDirectories(temp_ / "state/workspaces/no-workspace", 0700));
  EXPECT_THAT(*state->ListWorkspaces(), ElementsAre("alice", "bob"));
  for (const char* folder : {"sessions", "runs", "files/work", "files/home"})
    EXPECT_EQ(::access((temp_ / "state/workspaces/alice/" + folder).c_str(), F_OK), 0) << folder;
  EXPECT_EQ(ReadWorkspaceSettings(state->OpenWorkspace("alice")->get())->model, "m");
}

TEST_F(StateDirectoryTest, ANameIsTakenOnce) {
  const auto state = Open();
  ASSERT_TRUE(state->CreateWorkspace("alice", {.model = "first"}, clock_));
  const Status again = state->CreateWorkspace("alice", {.model = "second"}, clock_);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, ErrorCode::kAlreadyExists);
  EXPECT_THAT(again.error().message, HasSubstr("already exists"));
  EXPECT_EQ(ReadWorkspaceSettings(state->OpenWorkspace("alice")->get())->model, "first");
  EXPECT_THAT(NamesIn(temp_ / "state/workspaces"), ElementsAre("alice"));
}

TEST_F(StateDirectoryTest, IdsThatAreNoNamesSayWhatIsWrong) {
  const auto state = Open();
  const auto complaint = [&](const std::string& id) {
    const Status status = state->CreateWorkspace(id, {}, clock_);
    return status ? "" : status.error().message;
  };
  EXPECT_THAT(complaint(""), HasSubstr("non-empty"));
  for (const char* id : {"..", "../etc", "foo/../../bar", "hello/world", "a\\b"})
    EXPECT_THAT(complaint(id), HasSubstr("path traversal")) << id;
  for (const char* id : {"hello world", "user@domain", "user!", "café", ".hidden"})
    EXPECT_THAT(complaint(id), HasSubstr("alphanumeric")) << id;
  EXPECT_THAT(complaint(std::string(129, 'a')), HasSubstr("128 characters"));
  for (const std::string id : {"alice", "user-123", "my_workspace", "ABC", "a"})
    EXPECT_EQ(complaint(id), "");
  EXPECT_EQ(complaint(std::string(128, 'a')), "");
}

TEST_F(StateDirectoryTest, ADeletedWorkspaceIsGoneWithAllInIt) {
  const auto state = Open();
  ASSERT_TRUE(state->CreateWorkspace("alice", {}, clock_));
  Put(temp_ / "state/workspaces/alice/files/home/file", "x");
  ASSERT_TRUE(state->DeleteWorkspace("alice", clock_));
  EXPECT_THAT(NamesIn(temp_ / "state/workspaces"), IsEmpty());
  EXPECT_EQ(state->OpenWorkspace("alice").error().code, ErrorCode::kNotFound);
  EXPECT_EQ(state->DeleteWorkspace("alice", clock_).error().code, ErrorCode::kNotFound);
}

TEST_F(StateDirectoryTest, AWorkspaceInUseIsNotDeleted) {
  const auto state = Open();
  ASSERT_TRUE(state->CreateWorkspace("alice", {}, clock_));
  const auto lock = DirectoryLock::TryShared(state->OpenWorkspace("alice")->get());
  ASSERT_TRUE(lock);
  EXPECT_EQ(state->DeleteWorkspace("alice", clock_).error().code, ErrorCode::kBusy);
  EXPECT_THAT(*state->ListWorkspaces(), ElementsAre("alice"));
}

TEST_F(StateDirectoryTest, WhatACrashLeftHalfMadeOrHalfRemovedIsCleanedUp) {
  ASSERT_TRUE(Open());
  ASSERT_TRUE(sys::MakeDirectories(temp_ / "state/workspaces/.new-1/files", 0700));
  ASSERT_TRUE(sys::MakeDirectories(temp_ / "state/workspaces/.deleted-1/files", 0700));
  ASSERT_TRUE(Open());
  EXPECT_THAT(NamesIn(temp_ / "state/workspaces"), IsEmpty());
}

TEST_F(StateDirectoryTest, SettingsAreReplacedOnDiskAndADamagedFileIsKept) {
  const auto state = Open();
  ASSERT_TRUE(state->CreateWorkspace("alice", {.model = "a"}, clock_));
  const sys::UniqueFd folder = *state->OpenWorkspace("alice");
  ASSERT_TRUE(WriteWorkspaceSettings(folder.get(), {.provider = "scripted"}));
  EXPECT_EQ(*ReadWorkspaceSettings(folder.get()), Settings{.provider = "scripted"});
  const std::string file = temp_ / "state/workspaces/alice/workspace.json";
  Put(file, "{\"format\":1,\"settings\":{\"nonsense\":1}}");
  EXPECT_EQ(ReadWorkspaceSettings(folder.get()).error().code, ErrorCode::kCorrupt);
  Put(file, "{\"form");
  EXPECT_EQ(WriteWorkspaceSettings(folder.get(), {}).error().code, ErrorCode::kCorrupt);
  EXPECT_EQ(*sys::ReadFile(file), "{\"form");
}

TEST_F(StateDirectoryTest, ALinkInPlaceOfAWorkspaceIsNotFollowed) {
  const auto state = Open();
  ASSERT_TRUE(sys::MakeDirectories(temp_ / "elsewhere", 0700));
  ASSERT_EQ(::symlink((temp_ / "elsewhere").c_str(), (temp_ / "state/workspaces/eve").c_str()), 0);
  EXPECT_EQ(state->OpenWorkspace("eve").error().code, ErrorCode::kPermissionDenied);
}

}  // namespace
}  // namespace cofferdam::platform
