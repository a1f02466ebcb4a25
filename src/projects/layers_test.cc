#include "projects/layers.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/id.h"
#include "storage/atomic_file.h"
#include "sys/testing/temp_dir.h"

namespace cofferdam::projects {
namespace {

class LayersTest : public testing::Test {
 protected:
  LayersTest() {
    CHECK(::mkdir((temp_ / "files").c_str(), 0700) == 0);
    CHECK(::mkdir((temp_ / "files/work").c_str(), 0700) == 0);
    files_ = *sys::Open(temp_ / "files", O_PATH | O_DIRECTORY);
    CHECK(storage::WriteFileAtomically(temp_ / "files/work/kept", "as it was", 0640));
  }

  static Layer NewLayer() {
    return {NewId(SystemClock()), {::geteuid(), ::getegid()}, UpperFormat::kTrusted};
  }
  static auto Uses(std::vector<std::string> ids) {
    return [ids = std::move(ids)](const std::string& id) -> Result<bool> {
      return std::ranges::find(ids, id) != ids.end();
    };
  }
  std::string Contents(const std::string& path) const {
    return sys::ReadFile(temp_ / path).value_or("nothing");
  }
  std::vector<std::string> Names(const std::string& path) const {
    const auto directory = sys::Open(temp_ / path, O_PATH | O_DIRECTORY);
    CHECK(directory);
    return *sys::ListDirectory(directory->get());
  }

  const sys::TempDir temp_;
  sys::UniqueFd files_;
  const Layers layers_ = *Layers::Open(temp_.path());
};

TEST_F(LayersTest, ALayerTakesADirectoryOverAndLeavesAnEmptyOneInItsPlace) {
  const Layer layer = NewLayer();
  ASSERT_TRUE(layers_.MakeEmpty(layer, 0750));
  ASSERT_TRUE(layers_.TakeOver(layer.id, files_.get(), "work"));
  EXPECT_EQ(Contents("layers/" + layer.id + "/tree/kept"), "as it was");
  EXPECT_TRUE(Names("files/work").empty());
  struct stat info;
  ASSERT_EQ(::stat((temp_ / "files/work").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0750U);
}

TEST_F(LayersTest, WhatWasSaidOfALayerIsReadAgain) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, to give files away";
  const Layer layer = {NewId(SystemClock()), {2000203776, 2000203777}, UpperFormat::kUser};
  ASSERT_TRUE(layers_.MakeEmpty(layer, 0700));
  const auto read = Layers::Open(temp_.path())->Read(layer.id);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->owner.uid, 2000203776U);
  EXPECT_EQ(read->owner.gid, 2000203777U);
  EXPECT_EQ(read->format, UpperFormat::kUser);
  const auto tree = layers_.OpenTree(layer.id);
  ASSERT_TRUE(tree);
  EXPECT_EQ(sys::Stat(tree->get())->st_uid, 2000203776U);
}

TEST_F(LayersTest, AnIdThatIsNoneLeadsNowhere) {
  for (const char* id : {"", ".", "..", "../files", "0190", "layer.json"}) {
    EXPECT_EQ(layers_.Read(id).error().code, ErrorCode::kInvalidArgument) << id;
    EXPECT_EQ(layers_.OpenTree(id).error().code, ErrorCode::kInvalidArgument) << id;
    EXPECT_EQ(layers_.TakeOver(id, files_.get(), "work").error().code, ErrorCode::kInvalidArgument)
        << id;
  }
  EXPECT_EQ(layers_.Read(NewId(SystemClock())).error().code, ErrorCode::kNotFound);
}

TEST_F(LayersTest, ADamagedLayerFileIsReportedAndKept) {
  const Layer layer = NewLayer();
  ASSERT_TRUE(layers_.MakeEmpty(layer, 0700));
  const std::string path = "layers/" + layer.id + "/layer.json";
  for (const std::string& text :
       {std::string(), std::string("[]"), std::string(R"({"format":1})"),
        R"({"format":1,"id":")" + layer.id + R"(","uid":-1,"gid":0,"attributes":"none"})",
        R"({"format":1,"id":")" + layer.id + R"(","uid":0,"gid":0,"attributes":"all"})",
        std::string(R"({"format":1,"id":"other","uid":0,"gid":0,"attributes":"none"})")}) {
    std::ofstream(temp_ / path) << text;
    const auto read = layers_.Read(layer.id);
    ASSERT_FALSE(read) << text;
    EXPECT_EQ(read.error().code, ErrorCode::kCorrupt) << text;
    EXPECT_EQ(Contents(path), text);
  }
  std::ofstream(temp_ / path) << R"({"format":2})";
  EXPECT_EQ(layers_.Read(layer.id).error().code, ErrorCode::kUnsupported);
}

TEST_F(LayersTest, AnotherFileSystemIsRefusedAndNothingIsDone) {
  struct stat here;
  struct stat there;
  ASSERT_EQ(::stat(temp_.path().c_str(), &here), 0);
  if (::stat("/dev/shm", &there) != 0 || here.st_dev == there.st_dev)
    GTEST_SKIP() << "needs two file systems";
  std::string other = "/dev/shm/cofferdam-test-XXXXXX";
  ASSERT_NE(::mkdtemp(other.data()), nullptr);
  ASSERT_TRUE(storage::WriteFileAtomically(other + "/kept", "x", 0600));
  const Layer layer = NewLayer();
  ASSERT_TRUE(layers_.MakeEmpty(layer, 0700));
  const sys::UniqueFd shm = *sys::Open("/dev/shm", O_PATH | O_DIRECTORY);
  const Status taken = layers_.TakeOver(layer.id, shm.get(), other.substr(9));
  EXPECT_EQ(taken.error().code, ErrorCode::kUnsupported);
  EXPECT_EQ(sys::ReadFile(other + "/kept").value_or(""), "x");
  EXPECT_TRUE(Names("layers/" + layer.id + "/tree").empty());
  EXPECT_TRUE(sys::RemoveTree(AT_FDCWD, other));
}

TEST_F(LayersTest, ACopiedLayerHasTheFilesAndLeavesTheDirectoryAsItIs) {
  const Layer layer = NewLayer();
  CHECK(::mkfifo((temp_ / "files/work/fifo").c_str(), 0600) == 0);
  const auto left_out = layers_.Copy(layer, files_.get(), "work");
  ASSERT_TRUE(left_out) << left_out.error().message;
  EXPECT_EQ(*left_out, (std::vector<LeftOut>{{"fifo", LeftOut::Why::kSpecial, 0}}));
  EXPECT_EQ(Contents("layers/" + layer.id + "/tree/kept"), "as it was");
  EXPECT_EQ(Contents("files/work/kept"), "as it was");
}

TEST_F(LayersTest, ACopyThatFailsLeavesNothing) {
  std::stop_source stop;
  stop.request_stop();
  EXPECT_EQ(layers_.Copy(NewLayer(), files_.get(), "work", stop.get_token()).error().code,
            ErrorCode::kCancelled);
  EXPECT_TRUE(Names("layers").empty());
}

TEST_F(LayersTest, WhatNobodyUsesIsCollected) {
  const Layer used = NewLayer();
  const Layer unused = NewLayer();
  ASSERT_TRUE(layers_.MakeEmpty(used, 0700));
  ASSERT_TRUE(layers_.MakeEmpty(unused, 0700));
  ASSERT_TRUE(layers_.Collect(Uses({used.id})));
  EXPECT_TRUE(layers_.Read(used.id));
  EXPECT_EQ(Names("layers"), std::vector<std::string>{used.id});
}

TEST_F(LayersTest, NothingIsCollectedWhileSomebodyMakesALayer) {
  const Layer layer = NewLayer();
  auto hold = layers_.Take();
  ASSERT_TRUE(hold);
  ASSERT_TRUE(layers_.MakeEmpty(layer, 0700));
  ASSERT_TRUE(Layers::Open(temp_.path())->Collect(Uses({})));
  EXPECT_TRUE(layers_.Read(layer.id));
  hold->Done();
}

TEST_F(LayersTest, WhatCannotBeAskedForIsKept) {
  const Layer layer = NewLayer();
  ASSERT_TRUE(layers_.MakeEmpty(layer, 0700));
  const Status collected = layers_.Collect([](const std::string&) -> Result<bool> {
    return Err(ErrorCode::kCorrupt, "a damaged database");
  });
  EXPECT_EQ(collected.error().code, ErrorCode::kCorrupt);
  EXPECT_TRUE(layers_.Read(layer.id));
}

TEST_F(LayersTest, WhoIsDoneLeavesNothingToCollect) {
  auto hold = layers_.Take();
  ASSERT_TRUE(hold);
  EXPECT_TRUE(*layers_.NeedsCollect());
  hold->Done();
  EXPECT_FALSE(*layers_.NeedsCollect());
}

TEST_F(LayersTest, WhatAKilledMakerLeftIsFoundAndCollected) {
  const Layer layer = NewLayer();
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const auto hold = layers_.Take();
    CHECK(hold && layers_.MakeEmpty(layer, 0700));
    CHECK(::mkdir((temp_ / "layers/.new-x").c_str(), 0700) == 0);
    ::_exit(0);
  }
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  EXPECT_TRUE(*layers_.NeedsCollect());
  ASSERT_TRUE(layers_.Collect(Uses({})));
  EXPECT_TRUE(Names("layers").empty());
}

}  // namespace
}  // namespace cofferdam::projects
