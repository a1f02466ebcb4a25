#include "projects/restore.h"

#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <functional>
#include <memory>
#include <random>

#include <gmock/gmock.h>

#include "projects/checkpoints.h"
#include "projects/testing/files.h"
#include "projects/testing/upper_ground.h"
#include "projects/tree_walk.h"

namespace cofferdam::projects {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

/// Waits until what was changed so far has stamps that say something.
void Settle() {
  const std::int64_t changed = RealTimeNanos();
  while (RealTimeNanos() - changed <= kStampSettleNanos) ::sched_yield();
}

class RestoreTest : public testing::Test {
 protected:
  std::int64_t Take() {
    const auto taken = checkpoints_.Take("work", ground_.upper(), {.reason = "turn"});
    EXPECT_TRUE(taken) << taken.error().ToString();
    if (taken && taken->checkpoint) return taken->checkpoint->id;
    const auto listed = *checkpoints_.List();
    return listed.empty() ? 0 : listed.back().id;
  }
  Restored Restore(std::int64_t id) {
    auto restored =
        checkpoints_.Restore("work", id, ground_.upper(), {.reason = "rewind", .session = "s"});
    EXPECT_TRUE(restored) << restored.error().ToString();
    return restored.value_or(Restored());
  }

  UpperGround ground_;
  Checkpoints checkpoints_ = ground_.Open();
};

TEST_F(RestoreTest, GivesBackEveryStateInAnyOrder) {
  Put(ground_ / "a/b/file", "one");
  Put(ground_ / "executable", "#!");
  ASSERT_EQ(::chmod((ground_ / "executable").c_str(), 0751), 0);
  ASSERT_EQ(::symlink("no/where", (ground_ / "a/link").c_str()), 0);
  const std::int64_t first = Take();
  const Picture at_first = ground_.Look();
  fs::remove_all(ground_ / "a");
  Put(ground_ / "a", "a file now");
  Put(ground_ / "executable", "#!/bin/sh");
  const std::int64_t second = Take();
  const Picture at_second = ground_.Look();
  fs::remove(ground_ / "a");
  ASSERT_EQ(::symlink("executable", (ground_ / "a").c_str()), 0);
  ASSERT_EQ(::chmod((ground_ / "executable").c_str(), 0600), 0);
  const std::int64_t third = Take();
  const Picture at_third = ground_.Look();

  for (const auto& [id, picture] :
       {std::pair{first, at_first}, {third, at_third}, {second, at_second}, {first, at_first}}) {
    const Restored restored = Restore(id);
    EXPECT_EQ(ground_.Look(), picture);
    EXPECT_THAT(restored.left_out, IsEmpty());
    EXPECT_GT(restored.paths, 0U);
    EXPECT_EQ(Take(), restored.checkpoint.id) << "it is what the last checkpoint has";
  }
  Restore(0);
  EXPECT_THAT(ground_.Look(), IsEmpty());
}

TEST_F(RestoreTest, MakesACheckpointThatSaysWhatItChanged) {
  Put(ground_ / "a", "a");
  const std::int64_t first = Take();
  Put(ground_ / "a", "b");
  Put(ground_ / "c", "c");
  Take();
  const Restored restored = Restore(first);
  EXPECT_EQ(restored.checkpoint.label.reason, "rewind");
  EXPECT_EQ(restored.checkpoint.label.session, "s");
  EXPECT_EQ(restored.checkpoint.changed, 2);
  const Restored again = Restore(first);
  EXPECT_GT(again.checkpoint.id, restored.checkpoint.id);
  EXPECT_EQ(again.checkpoint.changed, 0);
  EXPECT_FALSE(checkpoints_.Unfinished("work")->has_value());
}

TEST_F(RestoreTest, LeavesAloneWhatIsRight) {
  Put(ground_ / "same", "same");
  Put(ground_ / "other", "other");
  Settle();
  const std::int64_t first = Take();
  Put(ground_ / "other", "changed");
  Take();
  struct stat before, after;
  ASSERT_EQ(::stat((ground_ / "same").c_str(), &before), 0);
  EXPECT_EQ(Restore(first).paths, 1U);
  ASSERT_EQ(::stat((ground_ / "same").c_str(), &after), 0);
  EXPECT_EQ(before.st_ino, after.st_ino);
}

TEST_F(RestoreTest, KnowsOnlyTheViewsOwnCheckpoints) {
  Put(ground_ / "a", "a");
  const std::int64_t id = Take();
  for (const auto& [view, wanted] : {std::pair{"other", id}, {"work", id + 1}, {"work", -1L}}) {
    const auto restored = checkpoints_.Restore(view, wanted, ground_.upper(), {.reason = "rewind"});
    ASSERT_FALSE(restored);
    EXPECT_EQ(restored.error().code, ErrorCode::kNotFound);
  }
  EXPECT_EQ(ground_.Look().size(), 1U);
  EXPECT_FALSE(checkpoints_.Unfinished("work")->has_value());
}

TEST_F(RestoreTest, FollowsNoSymlinkThatTookADirectorysPlace) {
  const sys::TempDir outside;
  Put(outside / "file", "outside");
  Put(ground_ / "dir/file", "inside");
  Put(ground_ / "dir/sub/file", "inside");
  const std::int64_t id = Take();
  const Picture before = ground_.Look();
  fs::remove_all(ground_ / "dir");
  ASSERT_EQ(::symlink(outside.path().c_str(), (ground_ / "dir").c_str()), 0);
  Restore(id);
  EXPECT_EQ(ground_.Look(), before);
  EXPECT_THAT(PictureOf(outside.path()), ElementsAre(testing::Key("file")));
  EXPECT_EQ(*sys::ReadFile(outside / "file"), "outside");
}

TEST_F(RestoreTest, ReplacesALinkToAFileAndNotTheFile) {
  const sys::TempDir outside;
  Put(outside / "file", "outside");
  Put(ground_ / "file", "inside");
  const std::int64_t id = Take();
  fs::remove(ground_ / "file");
  ASSERT_EQ(::symlink((outside / "file").c_str(), (ground_ / "file").c_str()), 0);
  Restore(id);
  EXPECT_EQ(*sys::ReadFile(ground_ / "file"), "inside");
  EXPECT_EQ(*sys::ReadFile(outside / "file"), "outside");
}

TEST_F(RestoreTest, LeavesAloneAndNamesWhatNobodyKept) {
  Put(ground_ / "big", std::string(2 << 20, 'x'));
  Put(ground_ / "kept_big", std::string(2 << 20, 'x'));
  ASSERT_EQ(::mkfifo((ground_ / "fifo").c_str(), 0600), 0);
  ASSERT_EQ(::mkfifo((ground_ / "gone_fifo").c_str(), 0600), 0);
  Settle();
  const std::int64_t id = Take();
  Put(ground_ / "big", "small");
  fs::remove(ground_ / "gone_fifo");
  ASSERT_EQ(::mkfifo((ground_ / "new_fifo").c_str(), 0600), 0);
  Take();
  using enum LeftOut::Why;
  EXPECT_THAT(Restore(id).left_out, UnorderedElementsAre(LeftOut{"big", kTooLarge, 2 << 20},
                                                         LeftOut{"gone_fifo", kSpecial, 0}))
      << "what is as it was is not named";
  EXPECT_EQ(*sys::ReadFile(ground_ / "big"), "small");
  EXPECT_TRUE(fs::is_fifo(ground_ / "fifo"));
  EXPECT_FALSE(fs::exists(ground_ / "new_fifo"));
  EXPECT_EQ(fs::file_size(ground_ / "kept_big"), 2U << 20);
}

TEST_F(RestoreTest, NamesContentsThatTheStoreHasLost) {
  Put(ground_ / "damaged", "damaged");
  Put(ground_ / "missing", "missing");
  Put(ground_ / "fine", "fine");
  const auto taken = checkpoints_.Take("work", ground_.upper(), {.reason = "turn"});
  const auto object = [&](std::size_t change) {
    const ObjectId& id = taken->changes[change].object;
    return ground_.folder() + "/checkpoints/objects/" + id.substr(0, 2) + "/" + id.substr(2);
  };
  std::ofstream(object(0)) << "DAMAGED";
  fs::remove(object(2));
  Restore(0);
  using enum LeftOut::Why;
  EXPECT_THAT(
      Restore(taken->checkpoint->id).left_out,
      UnorderedElementsAre(LeftOut{"damaged", kUnreadable, 7}, LeftOut{"missing", kUnreadable, 7}));
  EXPECT_THAT(ground_.Look(), ElementsAre(testing::Key("fine")));
}

TEST_F(RestoreTest, RemovesWhatAKilledRestoreLeft) {
  Put(ground_ / "a", "a");
  const std::int64_t id = Take();
  Put(ground_ / ".cofferdam-0123", "half");
  Restore(id);
  EXPECT_THAT(ground_.Look(), ElementsAre(testing::Key("a")));
}

TEST_F(RestoreTest, ReachesEveryDepth) {
  constexpr int kDepth = 380;
  const std::string name = "directory";
  std::string path;
  {
    sys::UniqueFd directory = *sys::Open(ground_ / "", O_PATH | O_DIRECTORY);
    for (int i = 0; i < kDepth; ++i) {
      ASSERT_EQ(::mkdirat(directory.get(), name.c_str(), 0755), 0);
      directory = *sys::OpenAt(directory.get(), name, O_PATH | O_DIRECTORY);
      path += name + "/";
    }
    ASSERT_TRUE(sys::OpenAt(directory.get(), "file", O_WRONLY | O_CREAT, 0600));
  }
  path += "file";
  const std::int64_t id = Take();
  Restore(0);
  EXPECT_THAT(ground_.Look(), IsEmpty());
  EXPECT_EQ(Restore(id).paths, kDepth + 1U);
  int depth = 0;
  sys::UniqueFd directory = *sys::Open(ground_ / "", O_PATH | O_DIRECTORY);
  for (; directory.valid(); ++depth) {
    struct stat info;
    if (::fstatat(directory.get(), "file", &info, 0) == 0) break;
    directory = sys::OpenAt(directory.get(), name, O_PATH | O_DIRECTORY).value_or(sys::UniqueFd());
  }
  EXPECT_EQ(depth, kDepth);
}

TEST_F(RestoreTest, NamesWhatLiesTooDeepAndLeavesItAlone) {
  const std::string name(250, 'd');
  {
    sys::UniqueFd directory = *sys::Open(ground_ / "", O_PATH | O_DIRECTORY);
    for (int i = 0; i < 300; ++i) {
      ASSERT_EQ(::mkdirat(directory.get(), name.c_str(), 0755), 0);
      directory = *sys::OpenAt(directory.get(), name, O_PATH | O_DIRECTORY);
    }
  }
  const auto taken = checkpoints_.Take("work", ground_.upper(), {.reason = "turn"});
  ASSERT_TRUE(taken) << taken.error().ToString();
  ASSERT_EQ(taken->left_out.size(), 1U);
  EXPECT_EQ(taken->left_out[0].why, LeftOut::Why::kTooLarge);
  EXPECT_LT(taken->left_out[0].path.size(), kMaxUpperPathBytes);
  Put(ground_ / "file", "file");
  Take();
  EXPECT_EQ(Restore(taken->checkpoint->id).paths, 1U);
  EXPECT_FALSE(fs::exists(ground_ / "file"));
}

TEST_F(RestoreTest, RefusesRowsThatLeadOut) {
  const auto insert = [&](const std::string& path, std::int64_t kind, const std::string& target,
                          const std::string& object) {
    ASSERT_TRUE(checkpoints_.database().Run("DELETE FROM changes"));
    ASSERT_TRUE(checkpoints_.database().Run(
        "INSERT INTO changes VALUES ('work', ?1, 1, ?2, 0, 0, 0, ?3, 0, '', ?4)",
        {path, kind, target, object}));
  };
  Put(ground_ / "a", "a");
  ASSERT_EQ(Take(), 1);
  const std::string object(64, 'a');
  const std::vector<std::function<void()>> rows = {
      [&] { insert("../out", 2, "", ""); },
      [&] { insert("a/../../out", 2, "", ""); },
      [&] { insert("/out", 2, "", ""); },
      [&] { insert("a//b", 2, "", ""); },
      [&] { insert("", 2, "", ""); },
      [&] { insert("a/.", 2, "", ""); },
      [&] { insert("a/", 2, "", ""); },
      [&] { insert(std::string(256, 'x'), 2, "", ""); },
      [&] { insert("a", 6, "", ""); },
      [&] { insert("a", -1, "", ""); },
      [&] { insert("a", 3, "", ""); },
      [&] { insert("a", 2, "target", ""); },
      [&] { insert("a", 1, "", "../../x"); },
      [&] { insert("a", 2, "", object); },
      [&] { insert("a", 3, std::string(5000, 'x'), ""); }};
  for (const auto& row : rows) {
    row();
    const auto restored = checkpoints_.Restore("work", 1, ground_.upper(), {.reason = "rewind"});
    ASSERT_FALSE(restored);
    EXPECT_EQ(restored.error().code, ErrorCode::kCorrupt) << restored.error().ToString();
    EXPECT_THAT(ground_.Look(), ElementsAre(testing::Key("a")));
  }
  // A file and something in it.
  ASSERT_TRUE(
      checkpoints_.database().Run("UPDATE changes SET path = 'link', kind = 3, target = '/tmp'"));
  ASSERT_TRUE(checkpoints_.database().Run(
      "INSERT INTO changes VALUES ('work', 'link/out', 1, 2, 448, 0, 0, '', 0, '', '')"));
  EXPECT_FALSE(checkpoints_.Restore("work", 1, ground_.upper(), {.reason = "rewind"}));
  EXPECT_FALSE(fs::exists("/tmp/out"));
}

TEST_F(RestoreTest, IsFinishedByBeingCalledAgain) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, to mount a small file system";
  const OwnMounts mounts;
  const std::string small = ground_.folder() + "/small";
  fs::create_directory(small);
  ASSERT_EQ(::mount("none", small.c_str(), "tmpfs", 0, "size=8m"), 0);
  const sys::UniqueFd root = *sys::Open(small, O_PATH | O_DIRECTORY);
  const Upper upper{.root = root.get()};
  for (int i = 0; i < 20; ++i)
    Put(small + "/" + std::to_string(i), std::string(100'000, static_cast<char>('a' + i)));
  const auto first = checkpoints_.Take("work", upper, {.reason = "turn"});
  ASSERT_TRUE(first && first->checkpoint);
  const Picture before = PictureOf(small);
  const CheckpointLabel label{.reason = "rewind", .session = "s", .run = "r", .turn = 2};
  ASSERT_TRUE(checkpoints_.Restore("work", 0, upper, label));
  ASSERT_EQ(::mount("none", small.c_str(), nullptr, MS_REMOUNT, "size=1m"), 0);
  const auto full = checkpoints_.Restore("work", first->checkpoint->id, upper, label);
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().code, ErrorCode::kOs) << full.error().ToString();

  const auto unfinished = *checkpoints_.Unfinished("work");
  ASSERT_TRUE(unfinished);
  EXPECT_EQ(unfinished->view, "work");
  EXPECT_EQ(unfinished->id, first->checkpoint->id);
  EXPECT_EQ(unfinished->label.turn, 2);
  EXPECT_FALSE(checkpoints_.Unfinished("other")->has_value()) << "each view has its own";
  const auto taken = checkpoints_.Take("work", upper, {.reason = "turn"});
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().code, ErrorCode::kBusy);
  EXPECT_TRUE(checkpoints_.Take("other", ground_.upper(), {.reason = "turn"}));

  ASSERT_EQ(::mount("none", small.c_str(), nullptr, MS_REMOUNT, "size=8m"), 0);
  ASSERT_TRUE(checkpoints_.Restore("work", first->checkpoint->id, upper, label));
  EXPECT_EQ(PictureOf(small), before);
  EXPECT_FALSE(checkpoints_.Unfinished("work")->has_value());
}

TEST_F(RestoreTest, GivesFilesToTheirOwner) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, to give files away";
  Upper upper = ground_.upper();
  upper.owner = {12345, 23456};
  Put(ground_ / "dir/file", "file");
  ASSERT_EQ(::symlink("file", (ground_ / "dir/link").c_str()), 0);
  const std::int64_t id = Take();
  Restore(0);
  ASSERT_TRUE(checkpoints_.Restore("work", id, upper, {.reason = "rewind"}));
  for (const char* path : {"dir", "dir/file", "dir/link"}) {
    struct stat info;
    ASSERT_EQ(::lstat((ground_ / path).c_str(), &info), 0);
    EXPECT_EQ(info.st_uid, 12345U) << path;
    EXPECT_EQ(info.st_gid, 23456U) << path;
  }
}

TEST(RestoreOfAnOrdinaryUser, GetsByWhatTheAgentHasShut) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, to be an ordinary user";
  const OrdinaryUser user;
  UpperGround ground;
  Checkpoints checkpoints = ground.Open();
  Put(ground / "dir/sub/file", "file");
  ASSERT_EQ(::chmod((ground / "dir").c_str(), 0555), 0);
  const auto taken = checkpoints.Take("work", ground.upper(), {.reason = "turn"});
  ASSERT_TRUE(taken) << taken.error().ToString();
  const Picture before = ground.Look();
  ASSERT_EQ(::chmod((ground / "dir").c_str(), 0700), 0);
  Put(ground / "dir/sub/file", "changed");
  Put(ground / "dir/new/deep", "new");
  ASSERT_EQ(::chmod((ground / "dir/new").c_str(), 0), 0);
  ASSERT_EQ(::chmod((ground / "dir/sub").c_str(), 0), 0);
  ASSERT_EQ(::chmod((ground / "dir").c_str(), 0), 0);
  ASSERT_EQ(::chmod((ground / "").c_str(), 0555), 0);
  const auto restored =
      checkpoints.Restore("work", taken->checkpoint->id, ground.upper(), {.reason = "rewind"});
  ASSERT_TRUE(restored) << restored.error().ToString();
  EXPECT_EQ(ground.Look(), before);
}

}  // namespace
}  // namespace cofferdam::projects
