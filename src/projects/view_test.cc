#include "projects/view.h"

#include <gtest/gtest.h>

namespace cofferdam::projects {
namespace {

TEST(View, EveryModeHasANameThatLeadsBackToIt) {
  for (const char* name : {"overlay", "direct", "read-only", "copy"}) {
    const auto mode = ProjectModeFromName(name);
    ASSERT_TRUE(mode) << name;
    EXPECT_EQ(ProjectModeName(*mode), name);
  }
  EXPECT_FALSE(ProjectModeFromName("rw"));
}

TEST(View, ProjectsAtDifferentPathsHaveDifferentKeys) {
  // printf /srv/a | sha256sum
  EXPECT_EQ(ProjectKey("/srv/a"), "b068a6cef8334eeb");
  EXPECT_NE(ProjectKey("/srv/a"), ProjectKey("/srv/b"));
}

TEST(View, UpperAndWorkDirectoryShareAParentThatNoOtherViewHas) {
  EXPECT_EQ(PathsOf(kWorkView).parent, "files");
  EXPECT_NE(PathsOf("0011223344556677").parent, PathsOf("0011223344556678").parent);
  EXPECT_NE(PathsOf("0011223344556677").upper, PathsOf("0011223344556677").work);
}

}  // namespace
}  // namespace cofferdam::projects
