// Attacks with a tenant's files on what the host does with them for a diff, a checkpoint or an
// apply: walking them, reading them, comparing them.

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <functional>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "crypto/hex.h"
#include "crypto/sha256.h"
#include "fixture.h"
#include "projects/base_index.h"
#include "projects/changes.h"
#include "projects/tree_walk.h"
#include "sys/file.h"

namespace cofferdam::escape {
namespace {

using projects::Change;
using projects::ChangeList;
using projects::Descend;
using projects::LeftOut;
using projects::NodeKind;
using projects::TreeEntry;
using projects::UpperFormat;
using testing::Contains;

constexpr char kVictimText[] = "canary of the victim\n";
constexpr std::uint64_t kMaxFileBytes = 1 << 20;

class WalkerAttacks : public EscapeTest {
 protected:
  void SetUp() override {
    EscapeTest::SetUp();
    ASSERT_EQ(::mkdir(victim().c_str(), 0777), 0);
    const auto file = sys::Open(victim() + "/canary", O_WRONLY | O_CREAT, 0666);
    ASSERT_TRUE(file && sys::WriteAll(file->get(), kVictimText));
  }

  /// A directory of the host's that no sandbox is shown.
  std::string victim() const { return files() / "victim"; }
  const std::string& work() const { return spec_.mounts[0].source; }

  /// Has the agent do it.
  void Plant(const std::vector<std::string>& attack) {
    const auto sandbox = Make();
    ASSERT_NE(sandbox, nullptr);
    ASSERT_EQ(Attack(*sandbox, attack).outcome, "succeeded");
  }

  Result<ChangeList> Changes(UpperFormat format = UpperFormat::kPlain) const {
    const auto root = sys::Open(work(), O_PATH | O_DIRECTORY);
    if (!root) return std::unexpected(root.error());
    return projects::FindChanges({root->get(), format}, {}, kMaxFileBytes);
  }
  static const Change* Find(const ChangeList& list, const std::string& path) {
    const auto found = std::ranges::find(list.changes, path, &Change::path);
    return found == list.changes.end() ? nullptr : &*found;
  }
  static std::vector<std::string> Paths(const ChangeList& list) {
    std::vector<std::string> paths;
    for (const Change& change : list.changes) paths.push_back(change.path);
    for (const LeftOut& left_out : list.left_out) paths.push_back(left_out.path);
    return paths;
  }

  static ino_t InodeOf(const std::string& path) {
    struct stat info;
    return ::lstat(path.c_str(), &info) == 0 ? info.st_ino : 0;
  }
};

// ---- Names that change while the host walks

TEST_F(WalkerAttacks, SwapsDoNotLeadAWalkOutside) {
  const auto root = sys::Open(work(), O_PATH | O_DIRECTORY);
  ASSERT_TRUE(root);
  const std::string victims_hash = crypto::HexEncode(crypto::Sha256(kVictimText));
  const ino_t victims_file = InodeOf(victim() + "/canary");
  const auto sandbox = Make();
  ASSERT_NE(sandbox, nullptr);
  std::stop_source stop;
  constexpr int kRounds = 1000;
  const auto walk = [&](const std::string&) {
    for (int round = 0; round < kRounds; ++round) {
      EXPECT_TRUE(projects::WalkTree(root->get(), [&](const TreeEntry& entry) -> Result<Descend> {
        EXPECT_NE(entry.info.st_ino, victims_file) << entry.path;
        // It is looked at, and not open yet: the time for a swap.
        for (int i = 0; i < 20; ++i) ::sched_yield();
        return Descend::kYes;
      }));
      const auto list = Changes();
      ASSERT_TRUE(list) << list.error().ToString();
      for (const Change& change : list->changes) EXPECT_NE(change.after_sha256, victims_hash);
    }
    stop.request_stop();
  };
  const Attempt attempt = Attack(*sandbox, {"swap_forever", victim()}, walk, {}, stop.get_token());
  ASSERT_TRUE(attempt.result) << attempt.outcome;
}

// Looks at a name, and then opens what has that name by then.
std::set<ino_t> WalkByNames(const std::string& path, const std::function<void()>& meanwhile) {
  std::set<ino_t> seen;
  struct stat info;
  if (::lstat(path.c_str(), &info) != 0 || !S_ISDIR(info.st_mode)) return seen;
  meanwhile();
  const auto directory = sys::Open(path, O_RDONLY | O_DIRECTORY);
  if (!directory) return seen;
  const std::vector<std::string> names = *sys::ListDirectory(directory->get());
  for (const std::string& name : names)
    if (::lstat((path + "/" + name).c_str(), &info) == 0) seen.insert(info.st_ino);
  return seen;
}

TEST_F(WalkerAttacks, ControlWhoWalksByNamesIsLedOutsideByASwap) {
  ASSERT_EQ(::mkdir((work() + "/swapped").c_str(), 0700), 0);
  ASSERT_EQ(::symlink(victim().c_str(), (work() + "/link").c_str()), 0);
  EXPECT_THAT(WalkByNames(work() + "/swapped",
                          [&] {
                            EXPECT_EQ(::renameat2(AT_FDCWD, (work() + "/swapped").c_str(), AT_FDCWD,
                                                  (work() + "/link").c_str(), RENAME_EXCHANGE),
                                      0);
                          }),
              Contains(InodeOf(victim() + "/canary")));
}

// ---- Files that are other than they look

TEST_F(WalkerAttacks, AHostileTreeIsToldWithoutReadingWhatItLinksTo) {
  Plant({"hostile_tree", victim() + "/canary"});
  const auto list = Changes();
  ASSERT_TRUE(list) << list.error().ToString();
  const Change* link = Find(*list, "hostile/file-link");
  ASSERT_NE(link, nullptr);
  EXPECT_EQ(link->after->kind, NodeKind::kSymlink);
  EXPECT_EQ(link->after->target, victim() + "/canary");
  const std::string victims_hash = crypto::HexEncode(crypto::Sha256(kVictimText));
  for (const Change& change : list->changes) EXPECT_NE(change.after_sha256, victims_hash);
  // All of it is named, also what cannot be part of a diff or may not be read.
  for (const char* path :
       {"hostile/root-link", "hostile/self-link", "hostile/fifo", "hostile/socket",
        "hostile/\xFF\xFE", "hostile/-rf", "hostile/closed", "hostile/mode-0", "hostile/mode-384"})
    EXPECT_THAT(Paths(*list), Contains(path));
  for (const char* special : {"hostile/fifo", "hostile/socket"})
    EXPECT_THAT(list->left_out, Contains(LeftOut{special, LeftOut::Why::kSpecial, 0}));
  EXPECT_TRUE(!AsRoot() || Find(*list, "hostile/mode-0/below/file") != nullptr);
}

TEST_F(WalkerAttacks, ControlWhoReadsByNamesReadsWhatALinkPointsTo) {
  Plant({"hostile_tree", victim() + "/canary"});
  EXPECT_EQ(sys::ReadFile(work() + "/hostile/file-link").value_or(""), kVictimText);
}

// The call that a process sleeps in; none while it runs.
std::string CallOf(pid_t process) {
  const auto call = sys::ReadFile("/proc/" + std::to_string(process) + "/syscall");
  return call ? call->substr(0, call->find(' ')) : call.error().message;
}

TEST_F(WalkerAttacks, ControlWhoOpensAPipeAsAFileWaitsForEver) {
  Plant({"hostile_tree", victim() + "/canary"});
  const std::string fifo = work() + "/hostile/fifo";
  ASSERT_EQ(::chmod(fifo.c_str(), 0600), 0);
  const pid_t reader = ::fork();
  if (reader == 0) {
    ::open(fifo.c_str(), O_RDONLY | O_CLOEXEC);
    ::_exit(0);
  }
  const std::string opening = std::to_string(SYS_openat);
  while (CallOf(reader) != opening && ::waitpid(reader, nullptr, WNOHANG) == 0) ::sched_yield();
  EXPECT_EQ(CallOf(reader), opening);
  ::kill(reader, SIGKILL);
  ::waitpid(reader, nullptr, 0);
}

TEST_F(WalkerAttacks, NoNameReachesATerminalAsItIs) {
  Plant({"hostile_tree", victim() + "/canary"});
  const std::string raw = "hostile/new\nline \x1b[2J";
  const auto list = Changes();
  ASSERT_TRUE(list) << list.error().ToString();
  ASSERT_NE(Find(*list, raw), nullptr);
  EXPECT_EQ(projects::PathForPerson(raw), "hostile/new\\x0aline \\x1b[2J");
}

TEST_F(WalkerAttacks, ASparseFileIsNamedAndNotRead) {
  Plant({"sparse_file", "1024"});
  struct stat info;
  ASSERT_EQ(::lstat((work() + "/sparse").c_str(), &info), 0);
  ASSERT_EQ(info.st_size, off_t{1} << 40) << "who reads it all reads a tebibyte";
  const auto list = Changes();
  ASSERT_TRUE(list) << list.error().ToString();
  EXPECT_THAT(list->left_out,
              Contains(LeftOut{"sparse", LeftOut::Why::kTooLarge, std::uint64_t{1} << 40}));
}

TEST_F(WalkerAttacks, NoSetuidBitIsTaken) {
  const auto sandbox = Make();
  ASSERT_NE(sandbox, nullptr);
  ASSERT_TRUE(sandbox->Exec({.argv = {"/bin/sh", "-c", "echo x > program; chmod 6755 program"}},
                            [](sandbox::OutputStream, std::string_view) {}, {}));
  struct stat info;
  ASSERT_EQ(::lstat((work() + "/program").c_str(), &info), 0);
  if ((info.st_mode & (S_ISUID | S_ISGID)) == 0)
    NoteSkipped("a setuid bit in a workspace", "the sandbox lets nobody set one");
  const auto list = Changes();
  ASSERT_TRUE(list && Find(*list, "program") != nullptr);
  EXPECT_EQ(Find(*list, "program")->after->mode, 0755U);
}

// ---- Trees without an end

int HighestDescriptor() {
  int highest = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd"))
    highest = std::max(highest, std::stoi(entry.path().filename().string()));
  return highest;
}

TEST_F(WalkerAttacks, ATreeThatIsDeeperThanAnyPathIsWalkedToItsEnd) {
  const FastDirectory fast;
  spec_.mounts[0].source = fast.path();
  Plant({"deep_tree", "5000"});
  const auto root = sys::Open(work(), O_PATH | O_DIRECTORY);
  ASSERT_TRUE(root);
  // As many descriptors as a host of many runs may have left; the launcher's pool takes some
  // meanwhile.
  rlimit before;
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit few{static_cast<rlim_t>(HighestDescriptor()) + 160, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
  int depth = 0;
  bool has_seen_bottom = false;
  const Status walked = projects::WalkTree(root->get(), [&](const TreeEntry& entry) {
    depth += S_ISDIR(entry.info.st_mode) ? 1 : 0;
    has_seen_bottom |= entry.name == "bottom";
    return Result<Descend>(Descend::kYes);
  });
  const auto list = Changes();
  const auto base = projects::BaseIndex::Scan(root->get());
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_TRUE(walked) << walked.error().ToString();
  EXPECT_EQ(depth, 5000);
  EXPECT_TRUE(has_seen_bottom);
  ASSERT_TRUE(list) << list.error().ToString();
  EXPECT_EQ(list->changes.size(), projects::kMaxChangePathBytes / 251);
  ASSERT_EQ(list->left_out.size(), 1U);
  EXPECT_EQ(list->left_out[0].why, LeftOut::Why::kPathTooLong);
  ASSERT_TRUE(base) << base.error().ToString();
  EXPECT_EQ(base->entries().size(), list->changes.size());
}

TEST_F(WalkerAttacks, ControlWhoWalksByNamesNeverSeesTheBottomOfADeepTree) {
  const FastDirectory fast;
  spec_.mounts[0].source = fast.path();
  Plant({"deep_tree", "20"});
  std::string path = work();
  for (int i = 0; i < 20; ++i) path += "/" + std::string(250, 'd');
  EXPECT_EQ(::access((path + "/bottom").c_str(), F_OK), -1);
  EXPECT_EQ(errno, ENAMETOOLONG);
}

// ---- Marks of an overlay where there is none

class ForgedMarks : public WalkerAttacks {
 protected:
  void SetUp() override {
    WalkerAttacks::SetUp();
    const auto sandbox = Make();
    ASSERT_NE(sandbox, nullptr);
    ASSERT_TRUE(sandbox->Exec({.argv = {"/bin/mkdir", "folder"}},
                              [](sandbox::OutputStream, std::string_view) {}, {}));
    const std::string outcome =
        Attack(*sandbox, {"set_attribute", "folder", "user.overlay.redirect", "/../.."}).outcome;
    if (outcome != "succeeded") GTEST_SKIP() << "no such attribute can be set here: " << outcome;
  }
};

TEST_F(ForgedMarks, MeanNothingInAPlainWorkspace) {
  for (const UpperFormat format : {UpperFormat::kPlain, UpperFormat::kTrusted}) {
    const auto list = Changes(format);
    ASSERT_TRUE(list) << list.error().ToString();
    ASSERT_NE(Find(*list, "folder"), nullptr);
    EXPECT_EQ(Find(*list, "folder")->after->redirect, "");
  }
}

TEST_F(ForgedMarks, ControlTheyAreReadByWhoTakesTheWorkspaceForAnUpper) {
  const auto list = Changes(UpperFormat::kUser);
  ASSERT_FALSE(list);
  EXPECT_EQ(list.error().code, ErrorCode::kCorrupt);
}

}  // namespace
}  // namespace cofferdam::escape
