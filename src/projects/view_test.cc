#include "projects/view.h"

#include <gmock/gmock.h>

#include "sys/testing/temp_dir.h"

namespace cofferdam::projects {
namespace {

constexpr storage::Sql kTables[] = {
    "CREATE TABLE views (view TEXT PRIMARY KEY, source TEXT NOT NULL, mode TEXT NOT NULL, "
    "layers TEXT NOT NULL, format INTEGER NOT NULL, created INTEGER NOT NULL, "
    "used INTEGER NOT NULL) STRICT"};

class ViewRecordTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(database_) << database_.error().ToString(); }

  sys::TempDir temp_;
  Result<storage::Database> database_ = storage::Database::Open(temp_ / "views.db", kTables);
};

TEST_F(ViewRecordTest, WhatWasWrittenLastIsRead) {
  ViewRecord work{.view = kWorkView, .layers = {"upper", "lower"}, .format = UpperFormat::kUser};
  const ViewRecord project{.view = "0011223344556677",
                           .source = "/srv/a",
                           .mode = ProjectMode::kCopy,
                           .format = UpperFormat::kTrusted,
                           .created_millis = 5,
                           .used_millis = 6};
  EXPECT_FALSE(ReadView(*database_, kWorkView)->has_value());
  ASSERT_TRUE(WriteView(*database_, work));
  work.layers = {"newer", "upper", "lower"};
  ASSERT_TRUE(WriteView(*database_, work));
  ASSERT_TRUE(WriteView(*database_, project));
  const auto read = ReadView(*database_, kWorkView);
  ASSERT_TRUE(read);
  EXPECT_TRUE(*read == work);
  EXPECT_THAT(*ListViews(*database_), testing::ElementsAre(project, work));
}

TEST_F(ViewRecordTest, ADamagedRowIsNoView) {
  ASSERT_TRUE(
      database_->Run("INSERT INTO views VALUES ('work', '', 'overlay', '[1]', 2, 0, 0), "
                     "('a', '', 'overlay', '[]', 1, 0, 0), ('b', '', 'rw', '[]', 2, 0, 0)"));
  for (const char* view : {"work", "a", "b"})
    EXPECT_EQ(ReadView(*database_, view).error().code, ErrorCode::kCorrupt) << view;
  EXPECT_FALSE(ListViews(*database_));
}

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
