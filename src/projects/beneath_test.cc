#include "projects/beneath.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "base/check.h"
#include "sys/file.h"
#include "sys/testing/temp_dir.h"

namespace cofferdam::projects {
namespace {

class BeneathTest : public testing::Test {
 protected:
  sys::TempDir folder_;
  const sys::UniqueFd root_ = *sys::Open(folder_.path(), O_PATH | O_DIRECTORY);
};

TEST_F(BeneathTest, OpensPathsThatAreLongerThanACallTakes) {
  const std::string name(250, 'd');
  std::string path;
  sys::UniqueFd directory = *sys::Open(folder_.path(), O_PATH | O_DIRECTORY);
  for (int depth = 0; depth < 100; ++depth) {
    ASSERT_EQ(::mkdirat(directory.get(), name.c_str(), 0700), 0);
    directory = *sys::OpenAt(directory.get(), name, O_PATH | O_DIRECTORY);
    path += (path.empty() ? "" : "/") + name;
  }
  const auto opened = OpenDirectoryBeneath(root_.get(), path);
  ASSERT_TRUE(opened) << opened.error().ToString();
  EXPECT_EQ(sys::Stat(opened->get())->st_ino, sys::Stat(directory.get())->st_ino);
  const auto place = OpenPlace(root_.get(), path);
  ASSERT_TRUE(place) << place.error().ToString();
  EXPECT_EQ(place->name, name);
}

TEST_F(BeneathTest, GoesThroughNoSymlinkAndNotUp) {
  ASSERT_EQ(::mkdir((folder_ / "real").c_str(), 0700), 0);
  ASSERT_EQ(::symlink("real", (folder_ / "link").c_str()), 0);
  EXPECT_TRUE(OpenPlace(root_.get(), "real/x"));
  EXPECT_FALSE(OpenPlace(root_.get(), "link/x"));
  EXPECT_FALSE(OpenDirectoryBeneath(root_.get(), "link"));
  EXPECT_FALSE(OpenDirectoryBeneath(root_.get(), ".."));
  EXPECT_FALSE(OpenDirectoryBeneath(root_.get(), "/"));
  EXPECT_FALSE(OpenDirectoryBeneath(root_.get(), std::string(5000, 'x')));
}

TEST_F(BeneathTest, WhatLiesInTheRootHasItForAParent) {
  EXPECT_EQ(ParentOf("a/b/c"), "a/b");
  EXPECT_EQ(ParentOf("a"), "");
  const auto place = OpenPlace(root_.get(), "x");
  ASSERT_TRUE(place);
  EXPECT_EQ(place->name, "x");
}

}  // namespace
}  // namespace cofferdam::projects
