// What a tenant's files can do when its workspace is forked: to the host, to the layer that two
// workspaces share then, and to the other one. Nothing.

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>

#include <cofferdam/platform.h>

#include "fixture.h"
#include "sys/fd.h"
#include "sys/file.h"

namespace cofferdam::escape {
namespace {

using testing::HasSubstr;
using testing::Not;
namespace fs = std::filesystem;

constexpr char kSecret[] = "what only the host has";

class ForkAttacks : public EscapeTest {
 protected:
  void SetUp() override {
    EscapeTest::SetUp();
    ASSERT_EQ(::mkdir(victim().c_str(), 0777), 0);
    for (const char* name : {"secret", "d"}) Write(victim() + "/" + name, kSecret);
    auto opened = Platform::Open({.state = files() / "state"});
    ASSERT_TRUE(opened) << opened.error().ToString();
    platform_.emplace(std::move(*opened));
    Settings settings;
    settings.mounts = {{host().attacks_directory(), "/mnt/attacks", false}};
    settings.seccomp_profile = std::string(sandbox::SeccompProfileName(profile()));
    if (!AsRoot()) settings.allow_missing = {"cgroup"};
    alice_.emplace(*platform_->CreateWorkspace("alice", settings));
  }
  void TearDown() override {
    for (const char* name : {"secret", "d"})
      EXPECT_EQ(sys::ReadFile(victim() + "/" + name).value_or("gone"), kSecret);
    EscapeTest::TearDown();
  }

  std::string victim() const { return files() / "victim"; }
  static void Write(const std::string& path, const std::string& text) {
    const auto fd = sys::Open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    ASSERT_TRUE(fd && sys::WriteAll(fd->get(), text)) << path;
  }

  static std::string Run(Workspace& workspace, std::vector<std::string> argv) {
    std::string text;
    const auto outcome = workspace.Exec(
        {.argv = std::move(argv)}, [&text](bool, std::string_view bytes) { text += bytes; }, {});
    EXPECT_TRUE(outcome) << outcome.error().ToString();
    return text;
  }
  static std::string Sh(Workspace& workspace, const std::string& command) {
    return Run(workspace, {"/bin/sh", "-c", command});
  }
  /// Whether it is refused or has no effect shows in what others see.
  void SetAttribute(Workspace& workspace, const std::string& path, const std::string& name,
                    const std::string& value) {
    Run(workspace, {kProgramInside, "set_attribute", path, name, value, mark_});
  }

  ForkResult Fork(const std::string& from, const std::string& to) {
    auto forked = platform_->ForkWorkspace(from, to);
    EXPECT_TRUE(forked) << forked.error().ToString();
    return forked ? *forked : ForkResult();
  }
  Workspace Get(const std::string& id) { return *platform_->GetWorkspace(id); }
  std::string TreeOf(const ForkResult& forked) const {
    return files() / ("state/layers/" + forked.layer + "/tree");
  }
  /// A fork while another process works with the files, which nothing makes stand still.
  ForkResult ForkWhile(const std::vector<std::string>& argv, const std::string& to) {
    Platform other = *Platform::Open({.state = files() / "state"});
    Workspace there = *other.GetWorkspace("alice");
    std::stop_source stop;
    const sys::Pipe ready = *sys::NewPipe();
    const std::jthread live([&] {
      const auto ended = there.Exec(
          {.argv = argv},
          [&](bool, std::string_view) { EXPECT_TRUE(sys::WriteAll(ready.write_end.get(), "x")); },
          stop.get_token());
      EXPECT_TRUE(ended) << ended.error().ToString();
    });
    char byte;
    EXPECT_TRUE(sys::Read(ready.read_end.get(), {&byte, 1}));
    ForkResult forked = Fork("alice", to);
    stop.request_stop();
    EXPECT_EQ(forked.method, "copied");
    return forked;
  }

  /// The text of all files below a directory, whatever they are called.
  static std::string AllText(const std::string& directory) {
    std::string text;
    for (const auto& entry : fs::recursive_directory_iterator(directory))
      if (entry.is_regular_file() && !entry.is_symlink())
        text += sys::ReadFile(entry.path()).value_or("");
    return text;
  }

  static constexpr char kList[] =
      "find . -printf '%y %p %l\\n' | sort; cat $(find . -type f | sort)";

  std::optional<Platform> platform_;
  std::optional<Workspace> alice_;
};

TEST_F(ForkAttacks, NothingThatAForkDoesReachesTheLayerOrTheOtherWorkspace) {
  Sh(*alice_, "mkdir d; echo below >file; echo below >d/below");
  const ForkResult forked = Fork("alice", "bob");
  const std::string file = TreeOf(forked) + "/file";
  struct stat before{};
  ASSERT_EQ(::stat(file.c_str(), &before), 0);
  Workspace bob = Get("bob");
  Sh(bob,
     "exec 3<>file; echo above >&3; chmod 777 file d; ln file link; echo through >>link;"
     "mv d moved; rm moved/below; rm file; truncate -s 0 link");
  struct stat after{};
  ASSERT_EQ(::stat(file.c_str(), &after), 0);
  EXPECT_EQ(after.st_nlink, 1U);
  EXPECT_EQ(after.st_mode, before.st_mode);
  EXPECT_EQ(after.st_ctim.tv_nsec, before.st_ctim.tv_nsec);
  EXPECT_EQ(Sh(*alice_, "cat file d/below; ls"), "below\nbelow\nd\nfile\n");
}

TEST_F(ForkAttacks, WhatTheFirstWorkspaceWritesLaterIsNowhereInTheOther) {
  Sh(*alice_, "echo common >common");
  Fork("alice", "bob");
  Sh(*alice_, "echo 'later in alice' >later");
  // The words are put together, so that the command line itself does not have them.
  const std::string search =
      "w=later; grep -rl \"$w in alice\" /workspace /home /tmp /run /mnt 2>/dev/null; echo end";
  EXPECT_THAT(Sh(*alice_, search), HasSubstr("/workspace/later")) << "where it is it is found";
  Workspace bob = Get("bob");
  EXPECT_EQ(Sh(bob, search), "end\n");
  const std::string mounts = Sh(bob, "cat /proc/self/mountinfo");
  EXPECT_THAT(mounts, Not(HasSubstr("workspaces/alice")));
  EXPECT_THAT(mounts, Not(HasSubstr("/layers/")));
}

TEST_F(ForkAttacks, MarksOfAnOverlayThatAreForgedInPlainFilesShowNothingElse) {
  Sh(*alice_, "mkdir -p a/b c; echo 1 >a/b/one; echo 2 >c/two; echo 3 >three");
  for (const std::string kind : {"user.overlay.", "trusted.overlay."}) {
    SetAttribute(*alice_, "a", kind + "opaque", "y");
    SetAttribute(*alice_, "c", kind + "redirect", victim());
    SetAttribute(*alice_, "a/b", kind + "redirect", "../../../../../victim");
    SetAttribute(*alice_, "c/two", kind + "redirect", victim() + "/secret");
  }
  const std::string files = Sh(*alice_, kList);
  Fork("alice", "bob");
  Workspace bob = Get("bob");
  EXPECT_EQ(Sh(bob, kList), files);
  EXPECT_EQ(Sh(*alice_, kList), files);
  // Once more, with changes above them.
  Sh(bob, "echo 4 >a/b/four; echo 5 >c/five");
  const std::string more = Sh(bob, kList);
  Fork("bob", "carol");
  Workspace carol = Get("carol");
  EXPECT_EQ(Sh(carol, kList), more);
  EXPECT_THAT(more, Not(HasSubstr(kSecret)));
}

TEST_F(ForkAttacks, MarksThatAreForgedAboveALayerShowNothingElse) {
  Sh(*alice_, "mkdir -p a/b; echo 1 >a/b/one; echo 2 >two");
  Fork("alice", "bob");
  Workspace bob = Get("bob");
  Sh(bob, "mkdir new; echo 3 >new/three; echo 4 >a/four");
  for (const std::string kind : {"user.overlay.", "trusted.overlay."}) {
    SetAttribute(bob, "a", kind + "opaque", "y");
    SetAttribute(bob, "new", kind + "redirect", "/a");
    SetAttribute(bob, "new/three", kind + "metacopy", "");
    SetAttribute(bob, "new/three", kind + "redirect", victim() + "/secret");
  }
  const std::string files = Sh(bob, kList);
  Fork("bob", "carol");
  Workspace carol = Get("carol");
  EXPECT_EQ(Sh(carol, kList), files);
  EXPECT_EQ(Sh(bob, kList), files);
}

TEST_F(ForkAttacks, AWhiteoutCannotBeMadeInPlainFiles) {
  EXPECT_THAT(Run(*alice_, {kProgramInside, "make_whiteout", mark_}), HasSubstr("errno EPERM"));
}

TEST_F(ForkAttacks, ALinkInThePlaceOfADirectoryIsCopiedAsALink) {
  Sh(*alice_, "ln -s " + victim() + " d; ln -s " + victim() + "/secret file; echo own >own");
  const ForkResult forked = ForkWhile({"/bin/sh", "-c", "echo; exec sleep 1000"}, "bob");
  EXPECT_EQ(AllText(TreeOf(forked)), "own\n");
  Workspace bob = Get("bob");
  EXPECT_EQ(Sh(bob, "readlink d file; cat own"), victim() + "\n" + victim() + "/secret\nown\n");
}

TEST_F(ForkAttacks, ControlACopyThatFollowsLinksHasWhatTheyLeadTo) {
  Sh(*alice_, "ln -s " + victim() + " d");
  fs::copy(alice_->work_folder(), files() / "copy", fs::copy_options::recursive);
  EXPECT_THAT(AllText(files() / "copy"), HasSubstr(kSecret));
}

TEST_F(ForkAttacks, SwapsWhileItIsCopiedDoNotLeadOutside) {
  // A directory and a link to the host's, exchanged all the time.
  for (int round = 0; round < 5; ++round) {
    const ForkResult forked = ForkWhile({kProgramInside, "swap_forever", victim(), mark_},
                                        "bob-" + std::to_string(round));
    EXPECT_THAT(AllText(TreeOf(forked)), Not(HasSubstr(kSecret)));
  }
}

TEST_F(ForkAttacks, ACopyHasNoSetuidProgramAndNoDevice) {
  Sh(*alice_, "cp /bin/sh shell; chmod 6755 shell; mkdir -m 3777 d; mkfifo fifo");
  std::vector<std::string> special = {"fifo"};
  if (AsRoot()) {
    // None can be made inside (MakeABlockDevice); that one came from outside changes nothing.
    ASSERT_EQ(::mknod((alice_->work_folder() + "/disk").c_str(), S_IFBLK | 0666, makedev(7, 0)), 0);
    special.insert(special.begin(), "disk");
  }
  const ForkResult forked = ForkWhile({"/bin/sh", "-c", "echo; exec sleep 1000"}, "bob");
  EXPECT_EQ(forked.left_out, special);
  for (const auto& entry : fs::recursive_directory_iterator(TreeOf(forked))) {
    struct stat info{};
    ASSERT_EQ(::lstat(entry.path().c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 07000, 0U) << entry.path();
    EXPECT_TRUE(S_ISREG(info.st_mode) || S_ISDIR(info.st_mode)) << entry.path();
  }
}

TEST_F(ForkAttacks, InASharedLayerSetuidProgramsAndDevicesHaveNoEffect) {
  Sh(*alice_, "cp /usr/bin/id own-id; chmod 6755 own-id");
  if (AsRoot()) {
    const std::string disk = alice_->work_folder() + "/disk";
    const std::string program = alice_->work_folder() + "/id";
    ASSERT_EQ(::mknod(disk.c_str(), S_IFCHR | 0666, makedev(1, 3)), 0);
    ASSERT_TRUE(fs::copy_file("/usr/bin/id", program));
    ASSERT_EQ(::chmod(program.c_str(), 06755), 0) << "setuid root";
  }
  ASSERT_EQ(Fork("alice", "bob").method, "shared");
  Workspace bob = Get("bob");
  const std::string me = Sh(bob, "id -u");
  EXPECT_EQ(Sh(bob, "./own-id -u"), me);
  if (!AsRoot()) return;
  EXPECT_EQ(Sh(bob, "./id -u"), me);
  EXPECT_THAT(Sh(bob, "cat disk 2>&1"), HasSubstr("ermission denied"));
}

}  // namespace
}  // namespace cofferdam::escape
