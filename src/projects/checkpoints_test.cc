#include "projects/checkpoints.h"

#include <sys/mount.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include <thread>

#include <gmock/gmock.h>

#include "crypto/hex.h"
#include "crypto/sha256.h"
#include "projects/testing/files.h"
#include "projects/testing/upper_ground.h"

namespace cofferdam::projects {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

std::string IdOf(std::string_view bytes) { return crypto::HexEncode(crypto::Sha256(bytes)); }

std::vector<std::string> PathsOf(const std::vector<UpperChange>& changes) {
  std::vector<std::string> paths;
  for (const UpperChange& change : changes) paths.push_back(change.path);
  return paths;
}

class CheckpointsTest : public testing::Test {
 protected:
  Taken Take(const CheckpointLabel& label = {.reason = "turn"}) {
    auto taken = checkpoints_.Take("work", ground_.upper(), label);
    EXPECT_TRUE(taken) << taken.error().ToString();
    return taken.value_or(Taken());
  }
  std::int64_t TakeId() {
    const Taken taken = Take();
    EXPECT_TRUE(taken.checkpoint);
    return taken.checkpoint ? taken.checkpoint->id : -1;
  }
  Result<Restored> Restore(std::int64_t id) {
    return checkpoints_.Restore("work", id, ground_.upper(), {.reason = "rewind"});
  }
  std::string Content(const ObjectId& id) {
    const auto opened = checkpoints_.objects().Open(id);
    return opened ? *sys::ReadAll(opened->get(), 1 << 20) : opened.error().ToString();
  }

  UpperGround ground_;
  Checkpoints checkpoints_ = ground_.Open();
};

TEST_F(CheckpointsTest, KeepsWhatIsNewChangedAndGone) {
  Put(ground_ / "dir/same", "same");
  Put(ground_ / "dir/changed", "before");
  Put(ground_ / "gone", "gone");
  const Taken first = Take({.reason = "turn", .session = "s", .run = "r", .turn = 3});
  ASSERT_TRUE(first.checkpoint);
  EXPECT_EQ(first.checkpoint->view, "work");
  EXPECT_EQ(first.checkpoint->label.session, "s");
  EXPECT_EQ(first.checkpoint->label.turn, 3);
  EXPECT_EQ(first.checkpoint->changed, 4);
  EXPECT_EQ(first.checkpoint->unix_millis, ground_.clock().UnixMillis());
  EXPECT_THAT(PathsOf(first.changes), ElementsAre("dir", "dir/changed", "dir/same", "gone"));
  EXPECT_EQ(first.changes[3].object, IdOf("gone"));
  EXPECT_FALSE(first.changes[3].node_before);

  Put(ground_ / "dir/changed", "after!");
  Put(ground_ / "dir/new", "new");
  fs::remove(ground_ / "gone");
  const Taken second = Take();
  ASSERT_TRUE(second.checkpoint);
  EXPECT_GT(second.checkpoint->id, first.checkpoint->id);
  ASSERT_THAT(PathsOf(second.changes), ElementsAre("dir/changed", "dir/new", "gone"));
  EXPECT_EQ(Content(second.changes[0].object), "after!");
  EXPECT_EQ(second.changes[0].object_before, IdOf("before"));
  EXPECT_EQ(second.changes[0].node_before->size, 6U);
  EXPECT_EQ(Content(second.changes[1].object), "new");
  EXPECT_FALSE(second.changes[2].node);
  EXPECT_EQ(second.changes[2].object_before, IdOf("gone"));
}

TEST_F(CheckpointsTest, MakesNoneWhenNothingHasChanged) {
  EXPECT_FALSE(Take().checkpoint);
  Put(ground_ / "a", "a");
  EXPECT_TRUE(Take().checkpoint);
  EXPECT_FALSE(Take().checkpoint);
  EXPECT_EQ(checkpoints_.List()->size(), 1U);
}

TEST_F(CheckpointsTest, SeesAChangeThatLeavesTheSizeAndTheTime) {
  Put(ground_ / "a", "one");
  TakeId();
  const auto time = fs::last_write_time(ground_ / "a");
  Put(ground_ / "a", "two");
  fs::last_write_time(ground_ / "a", time);
  const Taken taken = Take();
  ASSERT_THAT(PathsOf(taken.changes), ElementsAre("a"));
  EXPECT_EQ(taken.changes[0].object, IdOf("two"));
}

TEST_F(CheckpointsTest, GoesOnWhereAnotherProcessStopped) {
  Put(ground_ / "a", "a");
  TakeId();
  {
    Checkpoints other = ground_.Open();
    Put(ground_ / "b", "b");
    EXPECT_THAT(PathsOf(other.Take("work", ground_.upper(), {.reason = "turn"})->changes),
                ElementsAre("b"));
  }
  Put(ground_ / "c", "c");
  EXPECT_THAT(PathsOf(Take().changes), ElementsAre("c"));
}

TEST_F(CheckpointsTest, KeepsNamesOfAnyBytes) {
  const std::vector<std::string> names = {
      "\x01", "\xff\xfe", "new\nline", "-rf",         " ", std::string(255, 'x'),
      "a",    "a-b",      "a/b",       "\xed\xa0\x80"};
  for (const std::string& name : names)
    if (name != "a") Put(ground_ / name, "of " + name);
  const Picture before = ground_.Look();
  const std::int64_t id = TakeId();
  for (const auto& entry : fs::directory_iterator(ground_ / "")) fs::remove_all(entry);
  const Taken emptied = Take();
  EXPECT_EQ(emptied.changes.size(), names.size());
  ASSERT_TRUE(Restore(id));
  EXPECT_EQ(ground_.Look(), before);
}

TEST_F(CheckpointsTest, NamesWhatItLeavesOutWheneverThatIsNew) {
  Put(ground_ / "big", std::string((1 << 20) + 1, 'x'));
  Put(ground_ / "fits", std::string(1 << 20, 'x'));
  ASSERT_EQ(::mkfifo((ground_ / "fifo").c_str(), 0600), 0);
  const Taken first = Take();
  using enum LeftOut::Why;
  EXPECT_THAT(first.left_out, UnorderedElementsAre(LeftOut{"big", kTooLarge, (1 << 20) + 1},
                                                   LeftOut{"fifo", kSpecial, 0}));
  EXPECT_THAT(PathsOf(first.changes), ElementsAre("big", "fifo", "fits"));
  EXPECT_EQ(first.changes[0].object, "");

  Put(ground_ / "other", "");
  EXPECT_THAT(Take().left_out, IsEmpty());
  fs::resize_file(ground_ / "big", 2 << 20);
  EXPECT_THAT(Take().left_out, ElementsAre(LeftOut{"big", kTooLarge, 2 << 20}));
  fs::resize_file(ground_ / "big", 5);
  const Taken last = Take();
  EXPECT_THAT(last.left_out, IsEmpty());
  EXPECT_EQ(last.changes.at(0).object, IdOf("xxxxx"));
}

TEST(CheckpointsOfAnOrdinaryUser, NameWhatMayNotBeRead) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, to be an ordinary user";
  const OrdinaryUser user;
  UpperGround ground;
  Checkpoints checkpoints = ground.Open();
  for (const char* path : {"closed", "names_only/file", "shut/file", "open/file"})
    Put(ground / path, "x");
  ASSERT_EQ(::chmod((ground / "closed").c_str(), 0), 0);
  ASSERT_EQ(::chmod((ground / "names_only").c_str(), 0444), 0);
  ASSERT_EQ(::chmod((ground / "shut").c_str(), 0), 0);
  const auto taken = checkpoints.Take("work", ground.upper(), {.reason = "turn"});
  ASSERT_TRUE(taken) << taken.error().ToString();
  using enum LeftOut::Why;
  EXPECT_THAT(taken->left_out, UnorderedElementsAre(LeftOut{"closed", kUnreadable, 1},
                                                    LeftOut{"names_only", kUnreadable, 0},
                                                    LeftOut{"shut", kUnreadable, 0}));
  EXPECT_THAT(PathsOf(taken->changes),
              ElementsAre("closed", "names_only", "open", "open/file", "shut"));
  ASSERT_EQ(::chmod((ground / "shut").c_str(), 0700), 0);
  const auto again = checkpoints.Take("work", ground.upper(), {.reason = "turn"});
  ASSERT_TRUE(again) << again.error().ToString();
  EXPECT_THAT(PathsOf(again->changes), ElementsAre("shut", "shut/file"));
  EXPECT_THAT(again->left_out, IsEmpty());
}

TEST_F(CheckpointsTest, TakesNoSetuidBits) {
  Put(ground_ / "program", "#!");
  ASSERT_EQ(::chmod((ground_ / "program").c_str(), 06755), 0);
  const Taken taken = Take();
  ASSERT_EQ(taken.changes.size(), 1U);
  EXPECT_EQ(taken.changes[0].node->mode, 0755U);
  fs::remove(ground_ / "program");
  TakeId();
  ASSERT_TRUE(Restore(taken.checkpoint->id));
  struct stat info;
  ASSERT_EQ(::stat((ground_ / "program").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0755U);
}

TEST_F(CheckpointsTest, StoresOfAChangingFileWhatItHashed) {
  // So long that it takes time to read.
  Put(ground_ / "log", std::string(900'000, 'x'));
  std::jthread writer([&](const std::stop_token& stop) {
    const sys::UniqueFd log = *sys::Open(ground_ / "log", O_RDWR);
    for (int i = 0; !stop.stop_requested(); ++i) {
      const std::string part(1000, static_cast<char>('a' + i % 26));
      EXPECT_EQ(::pwrite(log.get(), part.data(), part.size(), i % 900 * 1000), 1000);
      EXPECT_EQ(::ftruncate(log.get(), 900'000 + i % 100 * 1000), 0);
    }
  });
  for (int i = 0; i < 50; ++i) {
    for (const UpperChange& change : Take({.reason = "turn", .frozen = false}).changes) {
      if (!change.node) continue;
      const std::string content = Content(change.object);
      EXPECT_EQ(IdOf(content), change.object);
      EXPECT_EQ(content.size(), change.node->size);
    }
  }
  writer.request_stop();
  writer.join();
  Take();
  std::ifstream file(ground_ / "log");
  const std::string last{std::istreambuf_iterator(file), {}};
  EXPECT_EQ(Content(IdOf(last)), last);
}

TEST_F(CheckpointsTest, StoresTheSameContentOnce) {
  for (int i = 0; i < 5; ++i) Put(ground_ / std::to_string(i), "the same");
  TakeId();
  int objects = 0;
  for (const auto& entry :
       fs::recursive_directory_iterator(ground_.folder() + "/checkpoints/objects"))
    objects += entry.is_regular_file() ? 1 : 0;
  EXPECT_EQ(objects, 1);
}

TEST_F(CheckpointsTest, IsCancelled) {
  Put(ground_ / "a", "a");
  std::stop_source stop;
  stop.request_stop();
  const auto taken =
      checkpoints_.Take("work", ground_.upper(), {.reason = "turn"}, stop.get_token());
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().code, ErrorCode::kCancelled);
  EXPECT_THAT(PathsOf(Take().changes), ElementsAre("a"));
}

TEST_F(CheckpointsTest, ListsWhatEachViewHas) {
  Put(ground_ / "a", "a");
  const std::int64_t work = TakeId();
  const auto project =
      checkpoints_.Take("0123456789abcdef", ground_.upper(), {.reason = "start", .frozen = false});
  ASSERT_TRUE(project && project->checkpoint);
  EXPECT_EQ(checkpoints_.List()->size(), 2U);
  const auto listed = *checkpoints_.List("0123456789abcdef");
  ASSERT_EQ(listed.size(), 1U);
  EXPECT_EQ(listed[0].id, project->checkpoint->id);
  EXPECT_NE(listed[0].id, work);
  EXPECT_EQ(listed[0].label.reason, "start");
  EXPECT_FALSE(listed[0].label.frozen);
}

TEST_F(CheckpointsTest, MarksWhatARewindLeftBehind) {
  for (int turn = 1; turn <= 3; ++turn) {
    Put(ground_ / "a", std::string(static_cast<std::size_t>(turn), 'x'));
    Take({.reason = "turn", .session = "s", .turn = turn});
  }
  ASSERT_TRUE(checkpoints_.Abandon("s", 1));
  ASSERT_TRUE(checkpoints_.Abandon("other", 0));
  std::vector<bool> abandoned;
  const auto listed = *checkpoints_.List();
  for (const Checkpoint& checkpoint : listed) abandoned.push_back(checkpoint.abandoned);
  EXPECT_THAT(abandoned, ElementsAre(false, true, true));
}

TEST_F(CheckpointsTest, BeginsAnewAfterAnApply) {
  Put(ground_ / "applied", "applied");
  const std::int64_t before = TakeId();
  fs::remove(ground_ / "applied");
  ASSERT_TRUE(checkpoints_.BeginEpoch("work", {.reason = "apply"}));
  EXPECT_FALSE(Take().checkpoint) << "the upper counts as empty";
  const Checkpoint apply = checkpoints_.List()->back();
  EXPECT_EQ(apply.label.reason, "apply");
  EXPECT_EQ(apply.epoch, 1);
  Put(ground_ / "later", "later");
  EXPECT_EQ(Take().checkpoint->epoch, 1);
  EXPECT_EQ(Restore(before).error().code, ErrorCode::kInvalidArgument);
  ASSERT_TRUE(Restore(apply.id));
  EXPECT_THAT(ground_.Look(), IsEmpty());
}

TEST_F(CheckpointsTest, KeepsTheFirstBase) {
  const Node node{.kind = NodeKind::kFile, .mode = 0640, .size = 4, .modified_nanos = 7};
  const auto object = checkpoints_.objects().AddBytes("base");
  ASSERT_TRUE(checkpoints_.objects().Sync());
  EXPECT_FALSE(checkpoints_.FindBase("work", "a")->has_value());
  ASSERT_TRUE(checkpoints_.KeepBase("work", "a", *object, node));
  ASSERT_TRUE(checkpoints_.KeepBase("work", "a", IdOf("later"), node));
  const auto base = *checkpoints_.FindBase("work", "a");
  ASSERT_TRUE(base);
  EXPECT_EQ(base->object, *object);
  EXPECT_EQ(base->node, node);
  EXPECT_FALSE(checkpoints_.FindBase("other", "a")->has_value());
  ASSERT_TRUE(checkpoints_.ForgetBases("work"));
  EXPECT_FALSE(checkpoints_.FindBase("work", "a")->has_value());
}

TEST_F(CheckpointsTest, KeepsNoBaseWhoseContentIsNotThere) {
  const Node node{.kind = NodeKind::kFile, .mode = 0640, .size = 4};
  const Status kept = checkpoints_.KeepBase("work", "a", IdOf("nobody's"), node);
  ASSERT_FALSE(kept);
  EXPECT_EQ(kept.error().code, ErrorCode::kNotFound);
  EXPECT_FALSE(checkpoints_.FindBase("work", "a")->has_value());
}

TEST_F(CheckpointsTest, CollectsWhatNoViewNeeds) {
  Put(ground_ / "old", "old");
  Put(ground_ / "shared", "shared");
  TakeId();
  ASSERT_TRUE(checkpoints_.Take("project", ground_.upper(), {.reason = "turn"}));
  fs::remove(ground_ / "old");
  Take();
  EXPECT_EQ(checkpoints_.Collect(), 0U) << "everything can still be gone back to";

  ASSERT_TRUE(checkpoints_.BeginEpoch("project", {.reason = "apply"}));
  EXPECT_EQ(checkpoints_.Collect(), 0U) << "the other view has it all";
  const auto base = checkpoints_.objects().AddBytes("base");
  ASSERT_TRUE(checkpoints_.objects().Sync());
  ASSERT_TRUE(checkpoints_.KeepBase("work", "b", *base, {.kind = NodeKind::kFile, .size = 4}));
  ASSERT_TRUE(checkpoints_.BeginEpoch("work", {.reason = "apply"}));
  Put(ground_ / "new", "shared");
  TakeId();
  EXPECT_EQ(checkpoints_.Collect(), 3U) << "old";
  EXPECT_EQ(Content(IdOf("shared")), "shared");
  EXPECT_EQ(Content(*base), "base");
  EXPECT_EQ(checkpoints_.List("project")->size(), 1U);
}

TEST_F(CheckpointsTest, NumbersGoOnAfterACollection) {
  Put(ground_ / "a", "a");
  TakeId();
  ASSERT_TRUE(checkpoints_.BeginEpoch("work", {.reason = "apply"}));
  const std::int64_t last = checkpoints_.List()->back().id;
  ASSERT_TRUE(checkpoints_.Collect());
  EXPECT_GT(TakeId(), last);
}

TEST_F(CheckpointsTest, SeveralAtOnceLoseNothing) {
  const auto work = [&](int process) {
    Checkpoints own = ground_.Open();
    for (int i = 0; i < 10; ++i) {
      const std::string name = std::to_string(process) + "-" + std::to_string(i);
      Put(ground_ / name, name);
      if (!own.Take("work", ground_.upper(), {.reason = "turn", .frozen = false})) return 1;
    }
    return 0;
  };
  std::vector<pid_t> children;
  for (int process = 0; process < 4; ++process) {
    children.push_back(::fork());
    if (children.back() == 0) ::_exit(work(process));
  }
  for (const pid_t child : children) {
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  }
  Take();
  const Picture all = ground_.Look();
  EXPECT_EQ(all.size(), 40U);
  const std::int64_t last = checkpoints_.List()->back().id;
  ASSERT_TRUE(Restore(0));
  ASSERT_TRUE(Restore(last));
  EXPECT_EQ(ground_.Look(), all);
}

TEST(DamagedCheckpoints, AreLeftAsTheyAre) {
  UpperGround ground;
  const std::string path = ground.folder() + "/checkpoints/checkpoints.db";
  static_cast<void>(ground.Open());
  for (const std::string& damage : {std::string("no database at all"), std::string()}) {
    std::ofstream(path) << damage;
    const auto opened = Checkpoints::Open(ground.folder(), ground.clock());
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().code, ErrorCode::kCorrupt);
    std::ifstream file(path);
    EXPECT_EQ(std::string(std::istreambuf_iterator(file), {}), damage);
  }
}

TEST_F(CheckpointsTest, DiskFullLosesNothing) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, to mount a small file system";
  const OwnMounts mounts;
  const std::string folder = ground_.folder() + "/small";
  fs::create_directory(folder);
  ASSERT_EQ(::mount("none", folder.c_str(), "tmpfs", 0, "size=2m"), 0);
  auto small = Checkpoints::Open(folder, ground_.clock());
  ASSERT_TRUE(small) << small.error().ToString();
  Put(ground_ / "a", "a");
  ASSERT_TRUE(small->Take("work", ground_.upper(), {.reason = "turn"}));
  for (int i = 0; i < 40; ++i)
    Put(ground_ / ("big/" + std::to_string(i)), std::string(100'000, static_cast<char>('A' + i)));
  const auto full = small->Take("work", ground_.upper(), {.reason = "turn"});
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().code, ErrorCode::kOs) << full.error().ToString();
  EXPECT_EQ(small->List()->size(), 1U);
  for (const auto& entry : fs::directory_iterator(folder + "/checkpoints/objects"))
    EXPECT_FALSE(entry.is_regular_file()) << entry.path();

  ASSERT_EQ(::mount("none", folder.c_str(), nullptr, MS_REMOUNT, "size=8m"), 0);
  const auto taken = small->Take("work", ground_.upper(), {.reason = "turn"});
  ASSERT_TRUE(taken) << taken.error().ToString();
  EXPECT_EQ(taken->changes.size(), 41U);
}

TEST_F(CheckpointsTest, ForgetsTheOldestToKeepWithinALimitAndNothingElse) {
  std::vector<std::int64_t> ids;
  std::vector<Picture> pictures;
  Put(ground_ / "same", std::string(1000, 's'));
  for (int turn = 0; turn < 8; ++turn) {
    Put(ground_ / "changes", std::string(1000, static_cast<char>('a' + turn)));
    if (turn == 1) fs::remove(ground_ / "gone");
    if (turn == 0) Put(ground_ / "gone", std::string(500, 'g'));
    ids.push_back(TakeId());
    pictures.push_back(ground_.Look());
  }
  const auto forgotten = checkpoints_.KeepWithin(5000);
  ASSERT_TRUE(forgotten) << forgotten.error().ToString();
  ASSERT_GT(*forgotten, 0U);
  ASSERT_LT(*forgotten, 7U);
  EXPECT_EQ(checkpoints_.List()->front().label.reason, "forgotten");
  EXPECT_EQ(checkpoints_.List()->size(), 8 - *forgotten + 1);
  // sha256 of 500 times 'g'
  EXPECT_EQ(checkpoints_.objects().Open(IdOf(std::string(500, 'g'))).error().code,
            ErrorCode::kNotFound);
  for (std::size_t turn = 0; turn < ids.size(); ++turn) {
    const auto restored = Restore(ids[turn]);
    if (turn >= *forgotten) {
      ASSERT_TRUE(restored) << restored.error().ToString();
      EXPECT_EQ(ground_.Look(), pictures[turn]) << turn;
    } else {
      ASSERT_FALSE(restored) << turn;
    }
  }
}

TEST_F(CheckpointsTest, KeepsTheLastOneWhateverItTakes) {
  Put(ground_ / "file", std::string(1000, 'a'));
  Take();
  Put(ground_ / "file", std::string(1000, 'b'));
  const std::int64_t last = TakeId();
  const Picture picture = ground_.Look();
  ASSERT_TRUE(checkpoints_.KeepWithin(1));
  fs::remove(ground_ / "file");
  ASSERT_TRUE(Restore(last));
  EXPECT_EQ(ground_.Look(), picture);
}

TEST_F(CheckpointsTest, ForgetsOfEachViewOnlyWhatItsNextOneHas) {
  const UpperGround other;
  Put(ground_ / "file", std::string(1000, 'a'));
  Put(other / "only", std::string(1000, 'o'));
  Take();
  const auto only = checkpoints_.Take("other", other.upper(), {.reason = "turn"});
  ASSERT_TRUE(only);
  Put(ground_ / "file", std::string(1000, 'b'));
  Take();
  ASSERT_TRUE(checkpoints_.KeepWithin(2000));
  fs::remove(other / "only");
  const auto restored =
      checkpoints_.Restore("other", only->checkpoint->id, other.upper(), {.reason = "rewind"});
  ASSERT_TRUE(restored) << restored.error().ToString();
  EXPECT_TRUE(fs::exists(other / "only"));
}

}  // namespace
}  // namespace cofferdam::projects
