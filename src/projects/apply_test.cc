#include "projects/apply.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "projects/apply_stage.h"
#include "projects/testing/apply_ground.h"
#include "projects/testing/files.h"
#include "projects/testing/property_seed.h"
#include "projects/testing/trees.h"
#include "sys/testing/temp_dir.h"

namespace cofferdam::projects {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
namespace fs = std::filesystem;

std::string Read(const std::string& path) { return sys::ReadFile(path).value_or("(none)"); }

std::vector<std::string> PathsOf(const std::vector<Conflict>& conflicts) {
  std::vector<std::string> paths;
  for (const Conflict& conflict : conflicts) paths.push_back(conflict.path);
  return paths;
}

class ApplyTest : public testing::Test {
 protected:
  std::string Project(const std::string& path) const { return ground_.project() + "/" + path; }
  std::string Agent(const std::string& path) const { return ground_.agent() + "/" + path; }
  static void Write(const std::string& path, const std::string& text, mode_t mode = 0644) {
    Put(path, text);
    ASSERT_EQ(::chmod(path.c_str(), mode), 0);
  }

  void ApplyAll() {
    ground_.End();
    const auto plan = ground_.Plan();
    ASSERT_TRUE(plan) << plan.error().ToString();
    ASSERT_THAT(PathsOf(plan->conflicts), IsEmpty());
    const Status applied = ground_.Do(*plan);
    ASSERT_TRUE(applied) << applied.error().ToString();
  }
  void ExpectProjectIsAgents() const {
    EXPECT_EQ(Difference(SnapshotOf(ground_.agent()), SnapshotOf(ground_.project())), "");
  }
  /// Why that path cannot be applied; and nothing is.
  std::string ReasonFor(const std::string& path) {
    ground_.End();
    const auto plan = ground_.Plan();
    if (!plan) return plan.error().ToString();
    for (const Conflict& conflict : plan->conflicts)
      if (conflict.path == path) return conflict.why;
    return "";
  }
  /// Plans, changes the project by `meanwhile`, and applies.
  void ExpectRefusedUnchanged(ErrorCode code, const std::function<void()>& meanwhile) {
    ground_.End();
    const auto plan = ground_.Plan();
    ASSERT_TRUE(plan) << plan.error().ToString();
    ASSERT_THAT(PathsOf(plan->conflicts), IsEmpty());
    meanwhile();
    const Snapshot before = SnapshotOf(ground_.project());
    const Status applied = ground_.Do(*plan);
    ASSERT_FALSE(applied);
    EXPECT_EQ(applied.error().code, code) << applied.error().ToString();
    EXPECT_EQ(Difference(before, SnapshotOf(ground_.project())), "");
    const auto recovered = ground_.Recover();
    ASSERT_TRUE(recovered) << recovered.error().ToString();
    EXPECT_EQ(*recovered, std::nullopt) << "it has taken back everything itself";
  }

  sys::TempDir folder_;
  ApplyGround ground_{folder_.path()};
};

// ---- Everything

TEST_F(ApplyTest, MakesTheProjectWhatTheAgentHas) {
  for (const char* path : {"text", "gone", "dir/a", "dir/b", "was/file", "is", "mode", "old"})
    Write(Project(path), std::string("of ") + path + "\n");
  ASSERT_EQ(::symlink("a", Project("link").c_str()), 0);
  ground_.Begin();
  Write(Agent("text"), "changed\n", 0600);
  fs::remove(Agent("gone"));
  fs::remove_all(Agent("dir"));
  fs::remove_all(Agent("was"));
  Write(Agent("was"), "now a file\n");
  fs::remove(Agent("is"));
  Write(Agent("is/a directory"), "x\n");
  ASSERT_EQ(::chmod(Agent("mode").c_str(), 0755), 0);
  fs::create_directories(Agent("new/place"));
  fs::rename(Agent("old"), Agent("new/place/old"));
  fs::remove(Agent("link"));
  ASSERT_EQ(::symlink("/etc/passwd", Agent("link").c_str()), 0);
  ASSERT_EQ(::chmod(Agent("new").c_str(), 0500), 0);
  ApplyAll();
  ExpectProjectIsAgents();
}

TEST_F(ApplyTest, IsKnownAsDoneUntilItIsFinished) {
  ground_.Begin();
  Write(Agent("new"), "x");
  ApplyAll();
  const auto plan = ground_.Plan();
  ASSERT_TRUE(plan);
  EXPECT_THAT(plan->list.changes, IsEmpty()) << "the project has it already";
  const Status again = ground_.Do(*plan);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, ErrorCode::kBusy);
  for (int i = 0; i < 2; ++i) {
    const auto recovered = ground_.Recover();
    ASSERT_TRUE(recovered) << recovered.error().ToString();
    EXPECT_EQ(*recovered, std::optional(true));
  }
  ASSERT_TRUE(ground_.Finish());
  EXPECT_EQ(*ground_.Recover(), std::nullopt);
  ExpectProjectIsAgents();
}

TEST_F(ApplyTest, OfRandomChangesEqualsACopy) {
  const std::uint64_t seed = PropertySeed();
  for (int round = 0; round < 20; ++round) {
    SCOPED_TRACE("seed " + std::to_string(seed) + ", round " + std::to_string(round));
    RandomTree random(seed + static_cast<std::uint64_t>(round));
    EmptyTree(ground_.project());
    random.Fill(ground_.project(), 40);
    ground_.Begin();
    random.Change(ground_.agent(), 40);
    ApplyAll();
    ExpectProjectIsAgents();
    ASSERT_TRUE(ground_.Finish());
    if (HasFailure()) return;
  }
}

TEST_F(ApplyTest, WorksInAProjectOnAnotherFileSystem) {
  if (::geteuid() != 0) GTEST_SKIP() << "mounting needs root";
  const OwnMounts mounts;
  ASSERT_EQ(::mount("tmpfs", ground_.project().c_str(), "tmpfs", 0, "mode=0755"), 0);
  Write(Project("x"), "1");
  ground_.Begin();
  Write(Agent("x"), "2");
  Write(Agent("d/y"), "3");
  ApplyAll();
  EXPECT_EQ(Difference(SnapshotOf(ground_.agent()), SnapshotOf(ground_.project())), "");
}

TEST_F(ApplyTest, NamesDevicesAndSocketsAndLeavesThemOut) {
  Write(Project("was a file"), "x");
  ground_.Begin();
  Write(Agent("new"), "x");
  ground_.End();
  ASSERT_EQ(::mkfifo((ground_.upper() + "/fifo").c_str(), 0644), 0);
  ASSERT_EQ(::mkfifo((ground_.upper() + "/was a file").c_str(), 0644), 0);
  const auto plan = ground_.Plan();
  ASSERT_TRUE(plan) << plan.error().ToString();
  ASSERT_TRUE(ground_.Do(*plan));
  std::vector<std::string> left_out;
  for (const LeftOut& one : plan->list.left_out) left_out.push_back(one.path);
  EXPECT_THAT(left_out, ElementsAre("fifo", "was a file"));
  EXPECT_EQ(Read(Project("new")), "x");
  EXPECT_EQ(Read(Project("was a file")), "x") << "what is left out is left alone";
  EXPECT_FALSE(fs::exists(Project("fifo")));
}

TEST_F(ApplyTest, TakesNothingThatCallsItselfAStage) {
  ground_.Begin();
  Write(Agent(".cofferdam-apply-1/0"), "x");
  Write(Agent(".cofferdam-apply-2"), "x");
  ApplyAll();
  EXPECT_THAT(SnapshotOf(ground_.project()), IsEmpty());
}

// ---- What the owner changed

TEST_F(ApplyTest, WhatTheOwnerChangedInOtherFilesStays) {
  Write(Project("mine"), "1");
  Write(Project("agents"), "1");
  ground_.Begin();
  Write(Agent("agents"), "2");
  Write(Project("mine"), "3");
  Write(Project("new"), "4");
  ApplyAll();
  EXPECT_EQ(Read(Project("mine")), "3");
  EXPECT_EQ(Read(Project("agents")), "2");
  EXPECT_EQ(Read(Project("new")), "4");
}

TEST_F(ApplyTest, WhatBothChangedIsMergedOrAConflict) {
  Write(Project("text"), "base");
  ground_.Begin();
  Write(Agent("text"), "agent", 0755);
  ground_.End();
  Write(Project("text"), "owner");
  auto plan = ground_.Plan();
  ASSERT_TRUE(plan) << plan.error().ToString();
  EXPECT_THAT(plan->conflicts,
              ElementsAre(Conflict{"text", "you and the agent changed the same lines"}));
  plan = ground_.Plan([](const std::string& base, const std::string& owner,
                         const std::string& agent) -> Result<std::optional<std::string>> {
    return base + "+" + owner + "+" + agent;
  });
  ASSERT_TRUE(plan) << plan.error().ToString();
  ASSERT_THAT(plan->conflicts, IsEmpty());
  ASSERT_TRUE(ground_.Do(*plan));
  EXPECT_EQ(Read(Project("text")), "base+owner+agent");
  EXPECT_EQ(fs::status(Project("text")).permissions(), fs::perms(0755));
}

TEST_F(ApplyTest, BytesThatAreNoTextAreNotMerged) {
  Write(Project("bin"), std::string("\0base", 5));
  ground_.Begin();
  Write(Agent("bin"), "agent");
  Write(Project("bin"), "owner");
  EXPECT_EQ(ReasonFor("bin"), "you changed it, too, and it cannot be merged");
}

TEST_F(ApplyTest, ATouchedFileWithItsFirstContentIsFree) {
  Write(Project("x"), "1");
  ground_.Begin();
  Write(Agent("x"), "2");
  fs::remove(Project("x"));
  Write(Project("x"), "1");
  ApplyAll();
  ExpectProjectIsAgents();
}

TEST_F(ApplyTest, PermissionsThatTheOwnerChangedStay) {
  Write(Project("x"), "1");
  ground_.Begin();
  Write(Agent("x"), "2");
  ASSERT_EQ(::chmod(Project("x").c_str(), 0600), 0);
  ApplyAll();
  EXPECT_EQ(Read(Project("x")), "2");
  EXPECT_EQ(fs::status(Project("x")).permissions(), fs::perms(0600));
}

TEST_F(ApplyTest, SaysWhyAPathIsAConflict) {
  for (const char* path : {"edited", "deleted", "dir/x", "kind", "mode", "both dirs/x"})
    Write(Project(path), "base");
  ground_.Begin();
  fs::remove(Agent("edited"));
  Write(Agent("deleted"), "agent");
  fs::remove_all(Agent("dir"));
  Write(Agent("kind"), "agent");
  ASSERT_EQ(::chmod(Agent("mode").c_str(), 0755), 0);
  Write(Agent("new"), "agent");
  ground_.End();
  Write(Project("edited"), "owner");
  fs::remove(Project("deleted"));
  Write(Project("dir/new"), "owner");
  fs::remove(Project("kind"));
  ASSERT_EQ(::symlink("edited", Project("kind").c_str()), 0);
  ASSERT_EQ(::chmod(Project("mode").c_str(), 0600), 0);
  Write(Project("new"), "owner");
  const auto plan = ground_.Plan();
  ASSERT_TRUE(plan) << plan.error().ToString();
  EXPECT_THAT(plan->conflicts,
              ElementsAre(Conflict{"deleted", "you deleted it"},
                          Conflict{"dir/new",
                                   "it is new, and the agent deleted the directory that it is in"},
                          Conflict{"edited", "you changed it, and the agent deleted it"},
                          Conflict{"kind", "you changed it, too"},
                          Conflict{"mode", "you changed its permissions, too"},
                          Conflict{"new", "it is new in both"}));
}

TEST_F(ApplyTest, WhatBothDidAlikeIsNoConflict) {
  Write(Project("x"), "1");
  Write(Project("gone"), "1");
  ground_.Begin();
  for (const std::string& root : {ground_.agent(), ground_.project()}) {
    Write(root + "/x", "2");
    Write(root + "/new", "2");
    fs::remove(root + "/gone");
  }
  ApplyAll();
  ExpectProjectIsAgents();
}

/// What the owner has changed is as the owner has it, all else as the agent has it.
TEST_F(ApplyTest, RandomChangesOfTheOwnersAreNeverOverwritten) {
  const std::uint64_t seed = PropertySeed();
  int applied = 0;
  int refused = 0;
  for (int round = 0; round < 30; ++round) {
    SCOPED_TRACE("seed " + std::to_string(seed) + ", round " + std::to_string(round));
    RandomTree random(seed + static_cast<std::uint64_t>(round));
    EmptyTree(ground_.project());
    random.Fill(ground_.project(), 40);
    ground_.Begin();
    const Snapshot base = SnapshotOf(ground_.project());
    random.Change(ground_.agent(), 8);
    ground_.End();
    random.Change(ground_.project(), 4);
    const Snapshot owners = SnapshotOf(ground_.project());
    Snapshot expected = SnapshotOf(ground_.agent());
    const auto plan = ground_.Plan();
    ASSERT_TRUE(plan) << plan.error().ToString();
    if (!plan->conflicts.empty()) {
      ++refused;
      continue;
    }
    ++applied;
    for (const auto& [path, item] : owners) {
      if (base.contains(path) && base.at(path) == item) continue;
      const bool only_mode = base.contains(path) && S_ISREG(item.mode) &&
                             S_ISREG(base.at(path).mode) && base.at(path).content == item.content &&
                             expected.contains(path);
      expected[path] = {item.mode, only_mode ? expected[path].content : item.content};
    }
    for (const auto& [path, item] : base)
      if (!owners.contains(path)) expected.erase(path);
    // What is only renamed goes along as the owner has it.
    for (const Change& change : plan->list.changes) {
      if (change.kind != ChangeKind::kRenamed) continue;
      expected.erase(change.old_path);
      const Item& owned = owners.at(change.old_path);
      if (owned != base.at(change.old_path)) expected[change.path] = owned;
    }
    const Status done = ground_.Do(*plan);
    ASSERT_TRUE(done) << done.error().ToString();
    ASSERT_TRUE(ground_.Finish());
    ASSERT_EQ(Difference(expected, SnapshotOf(ground_.project())), "");
  }
  EXPECT_GT(applied, 0);
  EXPECT_GT(refused, 0);
}

// ---- What happens in the middle

TEST_F(ApplyTest, AFileThatChangesAfterThePlanIsNotTouchedAndNothingIs) {
  Write(Project("a"), "1");
  Write(Project("z"), "1");
  ground_.Begin();
  Write(Agent("a"), "2");
  Write(Agent("b"), "2");
  Write(Agent("z"), "2");
  ExpectRefusedUnchanged(ErrorCode::kConflict, [this] { Write(Project("z"), "owner"); });
}

TEST_F(ApplyTest, AFileThatIsRemovedOrMadeAfterThePlanIsAConflict) {
  Write(Project("z"), "1");
  ground_.Begin();
  Write(Agent("b"), "2");
  Write(Agent("z"), "2");
  ExpectRefusedUnchanged(ErrorCode::kConflict, [this] { fs::remove(Project("z")); });
  EmptyTree(ground_.upper());
  Write(Project("z"), "1");
  ExpectRefusedUnchanged(ErrorCode::kConflict, [this] { Write(Project("b"), "owner"); });
}

TEST_F(ApplyTest, ADirectoryThatBecomesASymlinkLeadsNowhere) {
  const sys::TempDir elsewhere;
  Write(elsewhere / "x", "secret");
  Write(Project("d/x"), "1");
  ground_.Begin();
  Write(Agent("a"), "2");
  Write(Agent("d/x"), "2");
  Write(Agent("d/y"), "2");
  ExpectRefusedUnchanged(ErrorCode::kConflict, [&] {
    fs::rename(Project("d"), Project("moved"));
    ASSERT_EQ(::symlink(elsewhere.path().c_str(), Project("d").c_str()), 0);
  });
  EXPECT_EQ(Read(elsewhere / "x"), "secret");
  EXPECT_FALSE(fs::exists(elsewhere / "y"));
}

TEST_F(ApplyTest, AFileThatBecomesADirectoryOrSymlinkIsAConflict) {
  Write(Project("x"), "1");
  ground_.Begin();
  Write(Agent("a"), "2");
  Write(Agent("x"), "2");
  ExpectRefusedUnchanged(ErrorCode::kConflict, [this] {
    fs::remove(Project("x"));
    Write(Project("x/y"), "owner");
  });
  fs::remove_all(Project("x"));
  Write(Project("x"), "1");
  EmptyTree(ground_.upper());
  ExpectRefusedUnchanged(ErrorCode::kConflict, [this] {
    fs::remove(Project("x"));
    ASSERT_EQ(::symlink("/etc/passwd", Project("x").c_str()), 0);
  });
}

TEST_F(ApplyTest, ADirectoryThatGetsAFileAfterThePlanIsNotRemoved) {
  Write(Project("d/x"), "1");
  ground_.Begin();
  Write(Agent("a"), "2");
  fs::remove_all(Agent("d"));
  ExpectRefusedUnchanged(ErrorCode::kConflict, [this] { Write(Project("d/new"), "owner"); });
}

TEST_F(ApplyTest, AnAgentThatWritesOnIsNoticed) {
  ground_.Begin();
  Write(Agent("x"), "1");
  ground_.End();
  const auto plan = ground_.Plan();
  ASSERT_TRUE(plan);
  Write(ground_.upper() + "/x", "more");
  const Status applied = ground_.Do(*plan);
  ASSERT_FALSE(applied);
  EXPECT_EQ(applied.error().code, ErrorCode::kBusy);
  EXPECT_THAT(SnapshotOf(ground_.project()), IsEmpty());
}

TEST_F(ApplyTest, HardLinksInTheProjectAreNoConflict) {
  Write(Project("a"), "1");
  ASSERT_EQ(::link(Project("a").c_str(), Project("b").c_str()), 0);
  ground_.Begin();
  fs::remove(Agent("b"));
  Write(Agent("a"), "2");
  ApplyAll();
  ExpectProjectIsAgents();
}

// ---- What the file system refuses

TEST_F(ApplyTest, AFullFileSystemLeavesTheProjectAsItWas) {
  if (::geteuid() != 0) GTEST_SKIP() << "mounting needs root";
  const OwnMounts mounts;
  ASSERT_EQ(::mount("tmpfs", ground_.project().c_str(), "tmpfs", 0, "mode=0755,size=256k"), 0);
  Write(Project("x"), "1");
  ground_.Begin();
  Write(Agent("x"), "2");
  Write(Agent("y"), std::string(1 << 20, 'x'));
  ExpectRefusedUnchanged(ErrorCode::kOs, [] {});
}

TEST_F(ApplyTest, AReadOnlyProjectIsRefused) {
  if (::geteuid() != 0) GTEST_SKIP() << "mounting needs root";
  const OwnMounts mounts;
  ASSERT_EQ(::mount("tmpfs", ground_.project().c_str(), "tmpfs", 0, "mode=0755"), 0);
  ground_.Begin();
  Write(Agent("x"), "2");
  ExpectRefusedUnchanged(ErrorCode::kPermissionDenied, [this] {
    ASSERT_EQ(::mount("", ground_.project().c_str(), "", MS_REMOUNT | MS_RDONLY, ""), 0);
  });
}

TEST_F(ApplyTest, AMountInTheProjectIsNotWrittenThrough) {
  if (::geteuid() != 0) GTEST_SKIP() << "mounting needs root";
  const OwnMounts mounts;
  Write(Project("d/x"), "1");
  ground_.Begin();
  Write(Agent("a"), "2");
  Write(Agent("d/y"), "2");
  ExpectRefusedUnchanged(ErrorCode::kUnsupported, [this] {
    ASSERT_EQ(::mount("tmpfs", Project("d").c_str(), "tmpfs", 0, ""), 0);
  });
}

TEST_F(ApplyTest, AStageOfAnotherWorkspaceIsLeftAlone) {
  ground_.Begin();
  Write(Agent("x"), "2");
  ExpectRefusedUnchanged(ErrorCode::kBusy, [this] {
    ASSERT_EQ(::mkdir(Project(".cofferdam-apply-other").c_str(), 0700), 0);
  });
}

// ---- Owners and modes

TEST_F(ApplyTest, NewFilesBelongToTheOwnerOfTheirDirectoryAndChangedOnesKeepTheirs) {
  if (::geteuid() != 0) GTEST_SKIP() << "other owners need root";
  Write(Project("d/old"), "1");
  Write(Project("d/kept"), "1");
  ASSERT_EQ(::chown(Project("d").c_str(), 1000, 1001), 0);
  ASSERT_EQ(::chown(Project("d/old").c_str(), 2000, 2001), 0);
  ground_.Begin();
  Write(Agent("d/old"), "2");
  Write(Agent("d/new/file"), "2");
  ASSERT_EQ(::symlink("x", Agent("d/new/link").c_str()), 0);
  ApplyAll();
  const auto owner = [this](const std::string& path) {
    struct stat info{};
    EXPECT_EQ(::lstat(Project(path).c_str(), &info), 0) << path;
    return std::pair(info.st_uid, info.st_gid);
  };
  EXPECT_EQ(owner("d/old"), (std::pair<uid_t, gid_t>(2000, 2001)));
  for (const char* path : {"d/new", "d/new/file", "d/new/link"})
    EXPECT_EQ(owner(path), (std::pair<uid_t, gid_t>(1000, 1001))) << path;
}

TEST_F(ApplyTest, NeverSetsSetuidOrSetgidAndKeepsThoseOfDirectories) {
  fs::create_directories(Project("shared"));
  ASSERT_EQ(::chmod(Project("shared").c_str(), 02775), 0);
  Write(Project("tool"), "1", 04755);
  Write(Project("other"), "1", 04755);
  ground_.Begin();
  ASSERT_EQ(::chmod(Agent("shared").c_str(), 0770), 0);
  fs::create_directories(Agent("shared/new"));
  Write(Agent("new"), "2");
  Write(Agent("tool"), "2");
  Write(Agent("other"), "1", 0777);
  ground_.End();
  ASSERT_EQ(::chmod((ground_.upper() + "/new").c_str(), 06755), 0);
  const auto plan = ground_.Plan();
  ASSERT_TRUE(plan && plan->conflicts.empty());
  ASSERT_TRUE(ground_.Do(*plan));
  const auto mode = [this](const std::string& path) {
    struct stat info{};
    EXPECT_EQ(::lstat(Project(path).c_str(), &info), 0) << path;
    return info.st_mode & 07777;
  };
  EXPECT_EQ(mode("new"), 0755U);
  EXPECT_EQ(mode("tool") & 07000, 0U);
  EXPECT_EQ(mode("other"), 0777U);
  EXPECT_EQ(mode("shared"), 02770U);
  EXPECT_EQ(mode("shared/new") & 07000, 02000U);
}

/// As an ordinary user, who has no rights but those of the modes.
TEST_F(ApplyTest, ClosedDirectoriesAreOpenedForItAndClosedAgain) {
  if (::geteuid() != 0) GTEST_SKIP() << "to become another user";
  constexpr uid_t kUser = 65534;
  for (const char* path : {"closed/old", "closed/gone/x", "closed/stays"})
    Write(Project(path), "1");
  ASSERT_EQ(::chmod(Project("closed/gone").c_str(), 0555), 0);
  ASSERT_EQ(::chmod(Project("closed").c_str(), 0555), 0);
  const sys::UniqueFd parent = *sys::Open(folder_.path(), O_PATH | O_DIRECTORY);
  ASSERT_EQ(::chmod(folder_.path().c_str(), 0755), 0);
  ASSERT_TRUE(sys::GiveTree(parent.get(), "project", {kUser, kUser}));
  ground_.Begin();
  Write(Agent("closed/old"), "2");
  fs::remove_all(Agent("closed/gone"));
  Write(Agent("closed/new/x"), "2");
  ASSERT_EQ(::chmod(Agent("closed/new").c_str(), 0500), 0);
  ground_.End();
  for (const char* name : {"upper", "journal"})
    ASSERT_TRUE(sys::GiveTree(parent.get(), name, {kUser, kUser}));
  const auto plan = ground_.Plan();
  ASSERT_TRUE(plan && plan->conflicts.empty());
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    if (::setresgid(kUser, kUser, kUser) != 0 || ::setresuid(kUser, kUser, kUser) != 0) ::_exit(2);
    const Status applied = ground_.Do(*plan);
    if (!applied) fprintf(stderr, "%s\n", applied.error().ToString().c_str());
    ::_exit(applied ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  ExpectProjectIsAgents();
}

// ---- Killed in the middle

class InterruptedApplyTest : public ApplyTest {
 protected:
  void SetUp() override {
    for (const char* path : {"a", "b/x", "b/y", "c", "mode", "z/z"}) Write(Project(path), "1");
    ground_.Begin();
    Write(Agent("a"), "2", 0755);
    fs::remove_all(Agent("b"));
    fs::remove(Agent("c"));
    Write(Agent("c/d/new"), "2");
    ASSERT_EQ(::chmod(Agent("mode").c_str(), 0600), 0);
    fs::rename(Agent("z/z"), Agent("z/renamed"));
    ASSERT_EQ(::symlink("a", Agent("link").c_str()), 0);
    ASSERT_EQ(::chmod(Agent("z").c_str(), 0500), 0);
    ground_.End();
    plan_ = *ground_.Plan();
    ASSERT_THAT(PathsOf(plan_.conflicts), IsEmpty());
    before_ = SnapshotOf(ground_.project());
  }

  /// As Apply, but ends after so many steps. How many there are.
  std::size_t DoFirst(std::size_t count) {
    constexpr char kStage[] = ".cofferdam-apply-test";
    // What was exchanged and exchanged back has another ctime than it had.
    plan_ = *ground_.Plan();
    EXPECT_THAT(PathsOf(plan_.conflicts), IsEmpty());
    const sys::UniqueFd upper = ApplyGround::Open(ground_.upper());
    const sys::UniqueFd project = ApplyGround::Open(ground_.project());
    auto journal = *ApplyJournal::Begin(ApplyGround::Open(ground_.journal()).get(), kStage);
    CHECK(::mkdir(Project(kStage).c_str(), 0700) == 0);
    const sys::UniqueFd stage = *sys::Open(Project(kStage), O_RDONLY | O_DIRECTORY);
    const Ground ground{project.get(), stage.get()};
    steps_ = *FillStage(plan_, {upper.get(), UpperFormat::kTrusted}, ground);
    CHECK(journal.WriteSteps(steps_));
    CHECK(journal.WriteState(ApplyState::kReady));
    for (std::size_t number = 0; number < std::min(count, steps_.size()); ++number) {
      const Status done = DoStep(ground, steps_[number], number, plan_.seen);
      EXPECT_TRUE(done) << number << ": " << done.error().ToString();
    }
    return steps_.size();
  }
  void ExpectTakenBack() {
    const auto recovered = ground_.Recover();
    ASSERT_TRUE(recovered) << recovered.error().ToString();
    EXPECT_EQ(*recovered, std::optional(false));
    EXPECT_EQ(*ground_.Recover(), std::nullopt);
  }

  ApplyPlan plan_;
  Snapshot before_;
  std::vector<Step> steps_;
};

TEST_F(InterruptedApplyTest, IsTakenBackAfterAnyNumberOfSteps) {
  std::size_t steps = 1;
  for (std::size_t count = 0; count <= steps; ++count) {
    SCOPED_TRACE(count);
    steps = DoFirst(count);
    ExpectTakenBack();
    ASSERT_EQ(Difference(before_, SnapshotOf(ground_.project())), "");
  }
  EXPECT_GT(steps, 8U);
  ApplyAll();
  ExpectProjectIsAgents();
}

TEST_F(InterruptedApplyTest, AWayBackThatWasInterruptedIsGoneAgain) {
  const std::size_t steps = DoFirst(1000);
  ExpectTakenBack();
  for (std::size_t undone = 0; undone <= steps; ++undone) {
    SCOPED_TRACE(undone);
    DoFirst(1000);
    const sys::UniqueFd project = ApplyGround::Open(ground_.project());
    const sys::UniqueFd stage = ApplyGround::Open(Project(".cofferdam-apply-test"));
    // From the end; the numbers are those of the whole.
    std::vector<Step> last = steps_;
    for (std::size_t i = 0; i + undone < steps; ++i) last[i].path = "nowhere/x";
    ASSERT_TRUE(UndoSteps({project.get(), stage.get()}, last));
    ExpectTakenBack();
    ASSERT_EQ(Difference(before_, SnapshotOf(ground_.project())), "");
  }
}

TEST_F(InterruptedApplyTest, WhatTheOwnerWroteSinceStays) {
  DoFirst(1000);
  Write(Project("a"), "owner");
  Write(Project("c/d/mine"), "owner");
  fs::remove(Project("link"));
  Write(Project("link"), "owner");
  ExpectTakenBack();
  EXPECT_EQ(Read(Project("a")), "owner");
  EXPECT_EQ(Read(Project("c/d/mine")), "owner");
  EXPECT_EQ(Read(Project("link")), "owner");
  EXPECT_EQ(Read(Project("b/x")), "1");
}

TEST_F(InterruptedApplyTest, BeforeItsFirstLineWasWholeHasDoneNothing) {
  std::ofstream(ground_.journal() + "/apply.journal") << R"({"format":)";
  const auto recovered = ground_.Recover();
  ASSERT_TRUE(recovered) << recovered.error().ToString();
  EXPECT_EQ(*recovered, std::nullopt);
  ApplyAll();
  ExpectProjectIsAgents();
}

TEST_F(InterruptedApplyTest, WithoutItsStageThereIsNothingToTakeBack) {
  DoFirst(0);
  fs::remove_all(Project(".cofferdam-apply-test"));
  ExpectTakenBack();
}

TEST_F(InterruptedApplyTest, ADamagedJournalIsKeptAndNothingIsDone) {
  DoFirst(3);
  const Snapshot now = SnapshotOf(ground_.project());
  std::ofstream(ground_.journal() + "/apply.journal", std::ios::app) << "damage\n";
  for (int i = 0; i < 2; ++i) {
    const auto recovered = ground_.Recover();
    ASSERT_FALSE(recovered);
    EXPECT_EQ(recovered.error().code, ErrorCode::kCorrupt);
  }
  EXPECT_EQ(Difference(now, SnapshotOf(ground_.project())), "");
}

}  // namespace
}  // namespace cofferdam::projects
