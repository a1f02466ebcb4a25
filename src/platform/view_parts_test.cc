#include "platform/view_parts.h"

#include <unistd.h>

#include <fstream>

#include <gtest/gtest.h>

#include "sys/file.h"
#include "sys/testing/temp_dir.h"

namespace cofferdam::platform {
namespace {

class ChooseViewTest : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* directory : {"state/workspaces", "project/below"})
      ASSERT_TRUE(sys::MakeDirectories(temp_ / directory, 0755));
  }
  Result<ViewChoice> Choose(const std::string& project, const std::string& mode = "overlay") {
    return ChooseView({.project = project, .project_mode = mode}, temp_ / "state");
  }

  sys::TempDir temp_;
};

TEST_F(ChooseViewTest, WithoutAProjectItIsTheWorkspacesOwnFiles) {
  EXPECT_EQ(*ChooseView({}, temp_ / "state"), ViewChoice());
  EXPECT_EQ(*Choose(""), ViewChoice());
  EXPECT_TRUE(ViewChoice().has_upper());
}

TEST_F(ChooseViewTest, AProjectHasAViewOfItsOwnAndTheMode) {
  const auto choice = Choose(temp_ / "project");
  ASSERT_TRUE(choice) << choice.error().ToString();
  EXPECT_EQ(choice->project, temp_ / "project");
  EXPECT_EQ(choice->view, projects::ProjectKey(temp_ / "project"));
  EXPECT_EQ(choice->mode, projects::ProjectMode::kOverlay);
  EXPECT_TRUE(choice->has_upper());
  EXPECT_TRUE(Choose(temp_ / "project", "copy")->has_upper());
  EXPECT_FALSE(Choose(temp_ / "project", "direct")->has_upper());
  EXPECT_FALSE(Choose(temp_ / "project", "read-only")->has_upper());
}

TEST_F(ChooseViewTest, RefusesWhatNoAgentMayBeGiven) {
  for (const std::string& project : {std::string("/"), std::string("/etc"), std::string("/home"),
                                     temp_ / "state", temp_ / "state/workspaces", temp_.path()})
    EXPECT_EQ(Choose(project).error().code, ErrorCode::kMountRefused) << project;
}

TEST_F(ChooseViewTest, RefusesWhatIsNoPlainDirectory) {
  std::ofstream(temp_ / "file") << "x";
  ASSERT_EQ(::symlink("project", (temp_ / "link").c_str()), 0);
  EXPECT_EQ(Choose(temp_ / "file").error().code, ErrorCode::kMountRefused);
  EXPECT_FALSE(Choose(temp_ / "link"));
  EXPECT_FALSE(Choose(temp_ / "link/below"));
  EXPECT_EQ(Choose(temp_ / "absent").error().code, ErrorCode::kNotFound);
  EXPECT_FALSE(Choose("project"));
}

}  // namespace
}  // namespace cofferdam::platform
