#include "projects/merge.h"

#include <sys/stat.h>

#include <memory>

#include <gtest/gtest.h>

#include "sandbox/launcher.h"
#include "sandbox/local_sandbox.h"
#include "sys/testing/temp_dir.h"

namespace cofferdam::projects {
namespace {

class MergeTest : public testing::Test {
 protected:
  void SetUp() override {
    auto launcher = sandbox::Launcher::Start();
    ASSERT_TRUE(launcher) << launcher.error().ToString();
    launcher_ = std::move(*launcher);
    sandbox::SandboxSpec spec;
    spec.id = "merge";
    ASSERT_EQ(::chmod(folder_.path().c_str(), 0755), 0);
    spec.mounts = {{folder_.path(), "/workspace", false}};
    if (!launcher_->cgroups())
      spec.allow_missing = sandbox::LayerSet().With(sandbox::Layer::kCgroup);
    auto sandbox = sandbox::LocalSandbox::Create(*launcher_, spec, Deadline::Never());
    ASSERT_TRUE(sandbox) << sandbox.error().ToString();
    sandbox_ = std::move(*sandbox);
  }

  sys::TempDir folder_;
  std::unique_ptr<sandbox::Launcher> launcher_;
  std::unique_ptr<sandbox::LocalSandbox> sandbox_;
};

TEST_F(MergeTest, TakesWhatBothChangedInDifferentPlaces) {
  const Merge merge = MergeIn(*sandbox_, {});
  const std::string base = "1\n2\n3\n4\n5\n6\n7\n8\n9\n";
  for (int i = 0; i < 2; ++i) {
    const auto merged =
        merge(base, "one\n2\n3\n4\n5\n6\n7\n8\n9\n", "1\n2\n3\n4\n5\n6\n7\n8\nnine");
    ASSERT_TRUE(merged) << merged.error().ToString();
    EXPECT_EQ(*merged, "one\n2\n3\n4\n5\n6\n7\n8\nnine");
  }
}

TEST_F(MergeTest, GivesNothingWhereBothChangedTheSameOrItIsNoText) {
  const Merge merge = MergeIn(*sandbox_, {});
  const auto same = merge("1\n", "2\n", "3\n");
  ASSERT_TRUE(same) << same.error().ToString();
  EXPECT_EQ(*same, std::nullopt);
  const auto binary = merge(std::string("\0\1", 2), std::string("\0\2", 2), std::string("\0\3", 2));
  ASSERT_TRUE(binary) << binary.error().ToString();
  EXPECT_EQ(*binary, std::nullopt);
}

TEST_F(MergeTest, OfNothingWithSomethingIsThat) {
  const auto merged = MergeIn(*sandbox_, {})("", "", "new\n");
  ASSERT_TRUE(merged) << merged.error().ToString();
  EXPECT_EQ(*merged, "new\n");
}

TEST_F(MergeTest, CanBeCancelled) {
  std::stop_source stop;
  stop.request_stop();
  const auto merged = MergeIn(*sandbox_, stop.get_token())("1\n", "2\n", "1\n");
  ASSERT_FALSE(merged);
  EXPECT_EQ(merged.error().code, ErrorCode::kCancelled);
}

}  // namespace
}  // namespace cofferdam::projects
