#include "platform/view.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include <gmock/gmock.h>

#include "crypto/hex.h"
#include "crypto/sha256.h"
#include "platform/platform_state.h"
#include "sys/file.h"
#include "sys/testing/temp_dir.h"

namespace cofferdam::platform {
namespace {

using testing::SizeIs;

/// Views without sandboxes: what an agent would have written is put into the upper by hand.
class ViewTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(sys::MakeDirectories(temp_ / "project", 0755));
    Put(temp_ / "project/a", "one\n");
    auto directory = StateDirectory::Open(temp_ / "state", SystemClock());
    ASSERT_TRUE(directory) << directory.error().ToString();
    ASSERT_TRUE(directory->CreateWorkspace("alice", {}, SystemClock()));
    platform_ = std::make_shared<Platform::State>(std::move(*directory), Settings(),
                                                  std::map<std::string, crypto::SecretString>(), 1);
    auto workspace = platform_->OpenWorkspace("alice");
    ASSERT_TRUE(workspace) << workspace.error().ToString();
    workspace_ = *workspace;
    project_ = *ChooseView({.project = temp_ / "project"}, temp_ / "state");
  }

  static void Put(const std::string& path, const std::string& bytes) {
    std::ofstream(path, std::ios::binary) << bytes;
    // Old enough for its stamp to say that nobody has changed it since.
    const struct timespec old[] = {{1'000'000'000, 0}, {1'000'000'000, 0}};
    ASSERT_EQ(::utimensat(AT_FDCWD, path.c_str(), old, 0), 0);
  }
  Result<std::shared_ptr<OpenView>> Open(const ViewChoice& choice) {
    return workspace_->views().Open(*workspace_, choice, {});
  }
  std::string Upper(const ViewChoice& choice) const {
    const projects::ViewPaths paths = projects::PathsOf(choice.view);
    return workspace_->path() + "/" + paths.parent + "/" + paths.upper;
  }
  Result<ViewLock> LockAsAnotherProcess(const ViewChoice& choice, ViewLock::Kind kind) {
    return ViewLock::Take(workspace_->folder(), choice.view, kind);
  }

  sys::TempDir temp_;
  std::shared_ptr<Platform::State> platform_;
  std::shared_ptr<Workspace::State> workspace_;
  ViewChoice project_;
  const ViewChoice work_;
};

TEST_F(ViewTest, EverybodyInAProcessHasTheSameOne) {
  const auto first = Open(project_);
  ASSERT_TRUE(first) << first.error().ToString();
  EXPECT_EQ(*Open(project_), *first);
  EXPECT_EQ(workspace_->views().Live(project_.view), *first);
  ViewChoice direct = project_;
  direct.mode = projects::ProjectMode::kDirect;
  EXPECT_EQ(Open(direct).error().code, ErrorCode::kBusy);
  EXPECT_EQ(workspace_->views().Live("work"), nullptr);
}

TEST_F(ViewTest, APlainDirectoryIsSharedBetweenProcessesAndNobodyStandsStillForACheckpoint) {
  const auto view = Open(work_);
  ASSERT_TRUE(view) << view.error().ToString();
  Put(Upper(work_) + "/file", "x");
  auto outcome = (*view)->Take({.reason = "turn"});
  ASSERT_TRUE(outcome) << outcome.error().ToString();
  EXPECT_TRUE(outcome->taken.checkpoint->label.frozen);
  const auto other = LockAsAnotherProcess(work_, ViewLock::Kind::kShared);
  ASSERT_TRUE(other);
  Put(Upper(work_) + "/another", "x");
  outcome = (*view)->Take({.reason = "turn"});
  ASSERT_TRUE(outcome) << outcome.error().ToString();
  EXPECT_FALSE(outcome->taken.checkpoint->label.frozen);
  EXPECT_EQ(ExclusiveView::Open(*workspace_, work_).error().code, ErrorCode::kBusy);
}

TEST_F(ViewTest, AnOverlayIsOneProcesssAtATime) {
  {
    const auto view = Open(project_);
    ASSERT_TRUE(view) << view.error().ToString();
    EXPECT_FALSE(LockAsAnotherProcess(project_, ViewLock::Kind::kShared));
    EXPECT_EQ(ExclusiveView::Open(*workspace_, project_).error().code, ErrorCode::kBusy);
  }
  EXPECT_TRUE(ExclusiveView::Open(*workspace_, project_));
  const auto other = LockAsAnotherProcess(project_, ViewLock::Kind::kShared);
  ASSERT_TRUE(other);
  EXPECT_EQ(Open(project_).error().code, ErrorCode::kBusy);
}

TEST_F(ViewTest, TheBaseIsThatOfTheFirstChangeAndItsContentsAreKept) {
  ASSERT_TRUE(Open(project_));
  Put(temp_ / "project/b", "of the owner\n");
  const auto view = Open(project_);
  ASSERT_TRUE(view) << view.error().ToString();
  const auto base = ReadBase(workspace_->path(), project_.view);
  ASSERT_TRUE(base) << base.error().ToString();
  EXPECT_THAT(base->entries(), SizeIs(2)) << "nothing was changed in between";
  Put(Upper(project_) + "/a", "two\n");
  Put(Upper(project_) + "/new", "new\n");
  const auto outcome = (*view)->Take({.reason = "turn"});
  ASSERT_TRUE(outcome) << outcome.error().ToString();
  ASSERT_THAT(outcome->below, SizeIs(1));
  EXPECT_EQ(outcome->below.at("a").object, crypto::HexEncode(crypto::Sha256("one\n")));
  Put(temp_ / "project/c", "later\n");
  EXPECT_THAT(ReadBase(workspace_->path(), project_.view)->entries(), SizeIs(2));
}

TEST_F(ViewTest, WhatTheOwnerHasChangedSinceIsNoBase) {
  {
    const auto view = Open(project_);
    ASSERT_TRUE(view) << view.error().ToString();
    Put(temp_ / "project/a", "of the owner\n");
    Put(Upper(project_) + "/a", "two\n");
    ASSERT_TRUE((*view)->Take({.reason = "turn"}));
  }
  auto exclusive = ExclusiveView::Open(*workspace_, project_);
  ASSERT_TRUE(exclusive) << exclusive.error().ToString();
  EXPECT_FALSE(exclusive->checkpoints().FindBase(project_.view, "a")->has_value());
}

TEST_F(ViewTest, ChangesThatAnotherKindOfHostWroteAreNotRead) {
  const auto write_other_format = [this] {
    auto exclusive = ExclusiveView::Open(*workspace_, project_);
    ASSERT_TRUE(exclusive) << exclusive.error().ToString();
    projects::ViewRecord record = *exclusive->parts().record();
    record.format = record.format == projects::UpperFormat::kTrusted
                        ? projects::UpperFormat::kUser
                        : projects::UpperFormat::kTrusted;
    ASSERT_TRUE(projects::WriteView(exclusive->checkpoints().database(), record));
  };
  ASSERT_TRUE(Open(project_));
  write_other_format();
  EXPECT_TRUE(Open(project_)) << "nothing was changed yet";
  write_other_format();
  Put(Upper(project_) + "/a", "two\n");
  EXPECT_EQ(Open(project_).error().code, ErrorCode::kUnsupported);
}

}  // namespace
}  // namespace cofferdam::platform
