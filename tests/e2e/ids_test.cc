// The host's ids of workspaces, as a host that is root gives them.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "fixture.h"
#include "platform/directory_lock.h"
#include "platform/id_space.h"
#include "platform/platform_db.h"
#include "sys/fd.h"

namespace cofferdam::e2e {
namespace {

using testing::HasSubstr;

class IdsTest : public PlatformFixture {
 protected:
  void SetUp() override {
    PlatformFixture::SetUp();
    if (!alice_->host_ids().own) GTEST_SKIP() << "workspaces have no ids of their own here";
  }

  static ExecOutcome Exec(Workspace& workspace, const std::string& command) {
    const auto outcome =
        workspace.Exec({.argv = {"sh", "-c", command}}, [](bool, std::string_view) {}, {});
    EXPECT_TRUE(outcome) << outcome.error().ToString();
    return outcome ? *outcome : ExecOutcome{.exit_code = -1};
  }

  static std::uint32_t OwnerOf(const std::string& path) {
    struct stat info{};
    EXPECT_EQ(::lstat(path.c_str(), &info), 0) << path;
    EXPECT_EQ(info.st_uid, info.st_gid) << path;
    return info.st_uid;
  }

  /// The errno with which a process of that id fails to open the file, or 0. The directories above
  /// the workspace are opened to it for that: only those of the workspace stand before it.
  static int OpenAs(std::uint32_t id, int workspaces, const std::string& file) {
    const pid_t pid = ::fork();
    if (pid == 0) {
      // The calls themselves: those of libc change the ids of threads that are not here.
      if (::syscall(SYS_setgroups, 0, nullptr) != 0 || ::syscall(SYS_setresgid, id, id, id) != 0 ||
          ::syscall(SYS_setresuid, id, id, id) != 0)
        ::_exit(255);
      ::_exit(::openat(workspaces, file.c_str(), O_RDONLY | O_CLOEXEC) >= 0 ? 0 : errno);
    }
    int status = 0;
    EXPECT_EQ(::waitpid(pid, &status, 0), pid);
    return WEXITSTATUS(status);
  }

  std::string workspaces() { return platform_->state() + "/workspaces"; }
};

TEST_F(IdsTest, WorkspacesFilesHaveDifferentOwnersAndAreClosedToEachOther) {
  Workspace bob = *platform_->CreateWorkspace("bob");
  const std::uint32_t of_alice = alice_->host_ids().first_uid;
  const std::uint32_t of_bob = bob.host_ids().first_uid;
  EXPECT_NE(of_alice, of_bob);
  const std::string command =
      "umask 0; mkdir -m 777 d && echo x >d/file && echo x >~/file && chmod 666 d/file";
  EXPECT_EQ(Exec(*alice_, command).exit_code, 0);
  EXPECT_EQ(Exec(bob, command).exit_code, 0);
  for (const char* name : {"/files/work/d/file", "/files/home/file", "/files/work"}) {
    EXPECT_EQ(OwnerOf(workspaces() + "/alice" + name), of_alice) << name;
    EXPECT_EQ(OwnerOf(workspaces() + "/bob" + name), of_bob) << name;
  }
  for (const char* name : {"", "/workspaces", "/workspaces/alice", "/workspaces/bob"})
    ASSERT_EQ(::chmod((platform_->state() + name).c_str(), 0755), 0);
  ASSERT_EQ(::chmod(temp_.path().c_str(), 0755), 0);
  const sys::UniqueFd directory = *sys::Open(workspaces(), O_RDONLY | O_DIRECTORY);
  EXPECT_EQ(OpenAs(of_bob, directory.get(), "alice/files/work/d/file"), EACCES);
  // Not for want of a right above it.
  EXPECT_EQ(OpenAs(of_bob, directory.get(), "alice"), 0);
}

TEST_F(IdsTest, RunsAndCommandsOfAWorkspaceHaveTheSameIds) {
  EXPECT_THAT(Call("write", "{path: by-run, content: x}"), HasSubstr("by-run"));
  EXPECT_EQ(Exec(*alice_, "echo y >>by-run").exit_code, 0);
  EXPECT_EQ(OwnerOf(alice_->work_folder() + "/by-run"), alice_->host_ids().first_uid);
}

TEST_F(IdsTest, ThatTheIdsAreItsOwnIsOnRecord) {
  const RunResult result = Play("turns: [{tool_calls: [{name: ls}]}, {text: Done.}]");
  std::string detail;
  for (const json::Json& event : Events(result)) {
    if (event.at("type") != "sandbox.verified") continue;
    for (const json::Json& layer : event.at("data").at("layers"))
      if (layer.at("name") == "identity") detail = layer.at("detail");
  }
  EXPECT_EQ(detail, "uid " + std::to_string(alice_->host_ids().first_uid) +
                        " on the host, its workspace's own");
}

TEST_F(IdsTest, IdsOfADeletedWorkspaceAreNotReusedWhileFilesRemain) {
  const std::uint32_t of_alice = alice_->host_ids().first_uid;
  EXPECT_EQ(Exec(*alice_, "echo x >file").exit_code, 0);
  alice_.reset();
  // A deletion that was killed while it removed files, and somebody still holds them.
  ASSERT_TRUE((*platform::PlatformDb::Open(platform_->state()))->MoveRange("alice", ".deleted-1"));
  const std::string left = workspaces() + "/.deleted-1";
  ASSERT_EQ(::rename((workspaces() + "/alice").c_str(), left.c_str()), 0);
  const auto range = [&] {
    return (*platform::PlatformDb::Open(platform_->state()))->RangeOf(".deleted-1")->value_or(0);
  };
  {
    const sys::UniqueFd folder = *sys::Open(left, O_PATH | O_DIRECTORY);
    const auto held = platform::DirectoryLock::TryShared(folder.get());
    ASSERT_TRUE(held);
    auto again = Platform::Open({.state = platform_->state()});
    ASSERT_TRUE(again);
    EXPECT_EQ(range(), of_alice);
    EXPECT_EQ(OwnerOf(left + "/files/work/file"), of_alice);
    for (const char* name : {"alice", "bob"})
      EXPECT_NE(again->CreateWorkspace(name)->host_ids().first_uid, of_alice);
  }
  ASSERT_TRUE(Platform::Open({.state = platform_->state()}));
  EXPECT_EQ(range(), 0U);
}

TEST_F(IdsTest, PlatformsBeginWhereTheirIdsSay) {
  const platform::IdSpace space = *platform::IdSpace::OfThisMachine();
  Platform other = *Platform::Open({.state = temp_ / "other"});
  EXPECT_EQ(alice_->host_ids().first_uid, space.StartFor(platform_->id()));
  EXPECT_EQ(other.CreateWorkspace("alice")->host_ids().first_uid, space.StartFor(other.id()));
}

}  // namespace
}  // namespace cofferdam::e2e
