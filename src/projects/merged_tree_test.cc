#include "projects/merged_tree.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <filesystem>

#include <gtest/gtest.h>

#include "projects/testing/files.h"
#include "sys/file.h"
#include "sys/testing/temp_dir.h"

namespace cofferdam::projects {
namespace {

using sys::TempDir;
using sys::UniqueFd;

// Layers 0 (the uppermost) to 3, written by hand as an overlay with userxattr would.
class MergedTreeTest : public testing::Test {
 protected:
  static constexpr std::size_t kLayers = 4;

  void SetUp() override {
    for (std::size_t i = 0; i < kLayers; ++i) {
      ASSERT_TRUE(sys::MakeDirectories(temp_ / std::to_string(i), 0700));
      roots_.push_back(*sys::Open(temp_ / std::to_string(i), O_PATH | O_DIRECTORY));
    }
  }
  void Whiteout(const std::string& path) {
    ASSERT_TRUE(sys::MakeDirectories(std::filesystem::path(temp_ / path).parent_path(), 0700));
    ASSERT_EQ(::mknod((temp_ / path).c_str(), S_IFCHR, 0), 0);
  }
  void Opaque(const std::string& path) { Mark(path, "user.overlay.opaque", "y"); }
  void Redirect(const std::string& path, const std::string& to) {
    Mark(path, "user.overlay.redirect", to);
  }
  void Mark(const std::string& path, const char* name, const std::string& value) {
    ASSERT_TRUE(sys::MakeDirectories(temp_ / path, 0700));
    ASSERT_EQ(::setxattr((temp_ / path).c_str(), name, value.data(), value.size(), 0), 0);
  }
  MergedTree Tree(UpperFormat bottom = UpperFormat::kPlain) const {
    std::vector<LayerView> layers;
    for (const UniqueFd& root : roots_) layers.push_back({root.get(), UpperFormat::kUser});
    layers.back().format = bottom;
    return MergedTree(layers);
  }
  // Paths, with the layer that each comes from.
  std::vector<std::string> Shown(const std::string& below = "") const {
    std::vector<std::string> shown;
    const Status status =
        Tree().Walk(below, [&](const std::string& path, const Found& found) -> Result<Descend> {
          shown.push_back(path + " " + std::to_string(found.layer));
          return Descend::kYes;
        });
    EXPECT_TRUE(status) << status.error().ToString();
    return shown;
  }
  // The layer of a path; -1 for nothing.
  int LayerOf(const std::string& path) const {
    const auto found = Tree().Lookup(path);
    EXPECT_TRUE(found) << found.error().ToString();
    return found && *found ? static_cast<int>((*found)->layer) : -1;
  }
  using Lines = std::vector<std::string>;

  TempDir temp_;
  std::vector<UniqueFd> roots_;
};

TEST_F(MergedTreeTest, ShowsWhatIsUppermost) {
  Put(temp_ / "3/d/low", "");
  Put(temp_ / "3/d/both", "");
  Put(temp_ / "1/d/both", "");
  Put(temp_ / "0/d/high", "");
  EXPECT_EQ(Shown(), (Lines{"d 0", "d/both 1", "d/high 0", "d/low 3"}));
  EXPECT_EQ(Shown("d"), (Lines{"d/both 1", "d/high 0", "d/low 3"}));
  EXPECT_EQ(Shown("d/low"), Lines{});
  EXPECT_EQ(Shown("nothing"), Lines{});
}

TEST_F(MergedTreeTest, GivesTheFileItself) {
  Put(temp_ / "2/d/file", "content");
  const auto found = *Tree().Lookup("d/file");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->node.size, 7U);
  const auto file = OpenFile(found->parent.get(), found->name, found->info);
  EXPECT_EQ(*sys::ReadAll(file->get(), 99), "content");
}

TEST_F(MergedTreeTest, AWhiteoutHidesWhatIsBelowItOnly) {
  Put(temp_ / "3/gone", "");
  Put(temp_ / "3/d/inner", "");
  Put(temp_ / "0/back", "");
  Whiteout("1/gone");
  Whiteout("1/d");
  Whiteout("1/back");
  EXPECT_EQ(Shown(), Lines{"back 0"});
  EXPECT_EQ(LayerOf("d/inner"), -1);
}

TEST_F(MergedTreeTest, ADirectoryAboveAWhiteoutShowsNothingOfWhatTheWhiteoutHides) {
  Put(temp_ / "3/d/old", "");
  Whiteout("2/d");
  Put(temp_ / "0/d/new", "");
  EXPECT_EQ(Shown(), (Lines{"d 0", "d/new 0"}));
}

TEST_F(MergedTreeTest, AFileHidesADirectoryAndADirectoryAFile) {
  Put(temp_ / "3/a/inner", "");
  Put(temp_ / "2/a", "");
  Put(temp_ / "3/b", "");
  Put(temp_ / "2/b/inner", "");
  Put(temp_ / "3/c/lost", "");
  Put(temp_ / "2/c", "");
  Put(temp_ / "1/c/kept", "");
  EXPECT_EQ(Shown(), (Lines{"a 2", "b 2", "b/inner 2", "c 1", "c/kept 1"}));
  EXPECT_EQ(LayerOf("a/inner"), -1);
}

TEST_F(MergedTreeTest, AnOpaqueDirectoryShowsNothingFromBelow) {
  Put(temp_ / "3/d/old", "");
  Put(temp_ / "1/d/new", "");
  Opaque("1/d");
  Put(temp_ / "0/d/newest", "");
  EXPECT_EQ(Shown(), (Lines{"d 0", "d/new 1", "d/newest 0"}));
}

TEST_F(MergedTreeTest, ARedirectToANameBesideLeadsThere) {
  Put(temp_ / "3/old/low", "");
  Put(temp_ / "0/new/high", "");
  Redirect("0/new", "old");
  Whiteout("0/old");
  EXPECT_EQ(Shown(), (Lines{"new 0", "new/high 0", "new/low 3"}));
}

TEST_F(MergedTreeTest, ARedirectFromTheRootLeadsThereForAllLayersBelow) {
  Put(temp_ / "3/far/away/low", "");
  Put(temp_ / "2/far/away/middle", "");
  Put(temp_ / "2/here/wrong", "");
  Put(temp_ / "0/here/high", "");
  Redirect("1/here", "/far/away");
  EXPECT_EQ(Shown("here"), (Lines{"here/high 0", "here/low 3", "here/middle 2"}));
}

// The kernel goes on with the new path from the layer below the one with the redirect.
TEST_F(MergedTreeTest, RedirectsOfSeveralLayersFollowEachOther) {
  Put(temp_ / "3/a/low", "");
  Redirect("2/b", "/a");
  Redirect("1/x/c", "/b");
  Redirect("0/x/d", "c");
  EXPECT_EQ(Shown("x/d"), Lines{"x/d/low 3"});
}

TEST_F(MergedTreeTest, ARedirectOfADirectoryOnTheWayChangesTheRestOfTheWay) {
  Put(temp_ / "3/top/sub/low", "");
  Redirect("2/moved", "/top");
  ASSERT_TRUE(sys::MakeDirectories(temp_ / "2/moved/sub", 0700));
  Redirect("1/here", "/moved/sub");
  EXPECT_EQ(Shown("here"), Lines{"here/low 3"});
}

TEST_F(MergedTreeTest, ARedirectLeadsOutOfAnOpaqueDirectory) {
  Put(temp_ / "3/old/low", "");
  Opaque("1/top");
  Redirect("1/top/sub", "/old");
  Redirect("0/here", "/top/sub");
  EXPECT_EQ(Shown("top"), (Lines{"top/sub 1", "top/sub/low 3"}));
  EXPECT_EQ(Shown("here"), Lines{"here/low 3"});
}

TEST_F(MergedTreeTest, ARedirectToNothingShowsWhatTheUpperHas) {
  Put(temp_ / "0/d/high", "");
  Redirect("0/d", "/no/where");
  EXPECT_EQ(Shown(), (Lines{"d 0", "d/high 0"}));
}

TEST_F(MergedTreeTest, ARedirectOverAWhiteoutLeadsNowhere) {
  Put(temp_ / "3/old/low", "");
  Whiteout("1/old");
  Redirect("0/d", "/old");
  EXPECT_EQ(Shown(), Lines{"d 0"});
}

TEST_F(MergedTreeTest, RedirectsThatLeadInACircleEnd) {
  for (const char* layer : {"0", "1", "2"}) {
    Redirect(std::string(layer) + "/a", "/b");
    Redirect(std::string(layer) + "/b", "/a");
  }
  Put(temp_ / "3/a/low", "");
  Put(temp_ / "3/b/lower", "");
  // a: layer 0 says b, layer 1 says a, layer 2 says b.
  EXPECT_EQ(Shown("a"), Lines{"a/lower 3"});
  EXPECT_EQ(Shown("b"), Lines{"b/low 3"});
}

TEST_F(MergedTreeTest, ARedirectThatLeadsOutIsDamage) {
  Redirect("0/d", "/../../etc");
  const auto found = Tree().Lookup("d");
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code, ErrorCode::kCorrupt);
}

TEST_F(MergedTreeTest, WhatLooksLikeMarksInAPlainLayerIsNone) {
  Whiteout("3/device");
  Put(temp_ / "3/d/inner", "");
  Opaque("3/d");
  Redirect("3/d", "/elsewhere");
  EXPECT_EQ(Shown(), (Lines{"d 3", "d/inner 3", "device 3"}));
  EXPECT_EQ((*Tree().Lookup("device"))->node.kind, NodeKind::kOther);
  EXPECT_FALSE(*Tree(UpperFormat::kUser).Lookup("device"));
}

TEST_F(MergedTreeTest, NoPathLeadsOutOfTheLayers) {
  Put(temp_ / "outside", "");
  Put(temp_ / "3/d/inner", "");
  ASSERT_EQ(::symlink("..", (temp_ / "3/up").c_str()), 0);
  for (const std::string& path :
       {std::string(".."), std::string("../outside"), std::string("d/../../outside"),
        std::string("/outside"), std::string("up/outside"), std::string("d/../d/inner"),
        std::string("d//inner"), std::string("d/inner/"), std::string(), std::string("."),
        std::string("d/inner/x"), std::string("d\0", 2), std::string(300, 'a')})
    EXPECT_EQ(LayerOf(path), -1) << path;
}

TEST_F(MergedTreeTest, WalksAnyDepthWithFewDescriptors) {
  const TempDir in_memory("/dev/shm");
  const UniqueFd root = *sys::Open(in_memory.path(), O_PATH | O_DIRECTORY);
  UniqueFd at = *sys::Open(in_memory.path(), O_PATH | O_DIRECTORY);
  constexpr int kDepth = 2000;
  for (int i = 0; i < kDepth; ++i) {
    ASSERT_EQ(::mkdirat(at.get(), "d", 0700), 0);
    ASSERT_TRUE(sys::OpenAt(at.get(), "z", O_WRONLY | O_CREAT, 0600));
    at = *sys::OpenAt(at.get(), "d", O_PATH | O_DIRECTORY);
  }
  const auto descriptors = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
  };
  const auto before = descriptors();
  auto most = before;
  int visited = 0;
  const std::vector<LayerView> layers(8, LayerView{root.get(), UpperFormat::kPlain});
  ASSERT_TRUE(
      MergedTree(layers).Walk("", [&](const std::string&, const Found& found) -> Result<Descend> {
        if (++visited % 500 == 0) most = std::max(most, descriptors());
        EXPECT_TRUE(found.node.kind == NodeKind::kDirectory || found.name == "z");
        return Descend::kYes;
      }));
  EXPECT_EQ(visited, 2 * kDepth);
  EXPECT_LE(most, before + 300);
  EXPECT_EQ(descriptors(), before);
}

TEST_F(MergedTreeTest, NamesADirectoryThatMayNotBeRead) {
  if (::getuid() != 0) GTEST_SKIP() << "needs root, to become an ordinary user";
  Put(temp_ / "3/closed/inner", "");
  Put(temp_ / "3/open", "");
  for (const char* path : {"", "0", "1", "2", "3"})
    ASSERT_EQ(::chmod((temp_ / path).c_str(), 0755), 0);
  const OrdinaryUser user;
  Lines shown;
  Lines unreadable;
  const auto visit = [&](const std::string& path, const Found&) -> Result<Descend> {
    shown.push_back(path);
    return Descend::kYes;
  };
  const Status status = Tree().Walk("", visit);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ErrorCode::kPermissionDenied);
  EXPECT_TRUE(
      Tree().Walk("", visit, {}, [&](const std::string& path) { unreadable.push_back(path); }));
  EXPECT_EQ(shown, Lines{"open"});
  EXPECT_EQ(unreadable, Lines{"closed"});
}

}  // namespace
}  // namespace cofferdam::projects
