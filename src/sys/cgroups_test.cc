#include "sys/cgroups.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <fstream>

#include <gtest/gtest.h>

#include "sys/fd.h"
#include "sys/file.h"
#include "sys/testing/temp_dir.h"

// With files in the place of a hierarchy: what is written where. That frozen processes die is seen
// with real groups in sandbox/.
namespace cofferdam::sys {
namespace {

class GroupsTest : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"one", "two"}) {
      ASSERT_EQ(::mkdir((temp_ / name).c_str(), 0700), 0);
      Put(std::string(name) + "/freezer.state", "FROZEN");
      Put(std::string(name) + "/cgroup.procs", "0\nnonsense\n\n99999999999\n");
    }
    Put("tasks", "");
    directory_ = *Open(temp_.path(), O_RDONLY | O_DIRECTORY);
  }
  void Put(const std::string& name, const std::string& text) {
    std::ofstream(temp_ / name) << text;
  }
  std::string Get(const std::string& name) const { return *ReadFileAt(directory_.get(), name); }

  TempDir temp_;
  UniqueFd directory_;
};

TEST_F(GroupsTest, ThawingThawsEachGroupAndMakesNoFile) {
  ThawGroups(directory_.get());
  EXPECT_EQ(Get("one/freezer.state"), "THAWED");
  EXPECT_EQ(Get("two/freezer.state"), "THAWED");
  EXPECT_FALSE(ReadFileAt(directory_.get(), "one/cgroup.freeze"));
  EXPECT_EQ(Get("tasks"), "");
}

TEST_F(GroupsTest, KillingEndsThawedAndPassesOverWhatIsNoPid) {
  KillGroups(directory_.get());
  EXPECT_EQ(Get("one/freezer.state"), "THAWED");
  EXPECT_EQ(Get("two/freezer.state"), "THAWED");
}

}  // namespace
}  // namespace cofferdam::sys
