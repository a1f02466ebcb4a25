// A project, what an agent made of it, and where an apply keeps its journal. Test programs only.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>

#include <optional>
#include <string>

#include "base/check.h"
#include "base/clock.h"
#include "projects/apply.h"
#include "projects/testing/trees.h"
#include "sys/fd.h"
#include "sys/file.h"

namespace cofferdam::projects {

/// Below a directory of the caller's: project/, agent/ (all of the tree as the agent sees it),
/// upper/, journal/ and workspace/.
class ApplyGround {
 public:
  /// The project may lie elsewhere; it exists then.
  explicit ApplyGround(const std::string& folder, const std::string& project = {})
      : folder_(folder), project_(project.empty() ? folder + "/project" : project) {
    for (const std::string& path : {project_, agent(), upper(), journal(), folder_ + "/workspace"})
      CHECK(::mkdir(path.c_str(), 0755) == 0 || (path == project_ && !project.empty()));
  }

  const std::string& project() const { return project_; }
  std::string agent() const { return folder_ + "/agent"; }
  std::string upper() const { return folder_ + "/upper"; }
  std::string journal() const { return folder_ + "/journal"; }

  /// The agent begins with the project as it is.
  void Begin() {
    EmptyTree(agent());
    EmptyTree(upper());
    CopyTree(project_, agent());
    EmptyTree(before());
    CopyTree(project_, before());
    base_ = *BaseIndex::Scan(Open(project_).get());
    checkpoints_.emplace(*Checkpoints::Open(folder_ + "/workspace", clock_));
    CHECK(checkpoints_->ForgetBases(kView));
  }

  /// The agent is done: its upper is what leads to agent(), and of what it changed the first
  /// content is kept, as after its turns.
  void End() {
    EmptyTree(upper());
    MakeUpper(before(), agent(), upper());
    for (const auto& [path, item] : SnapshotOf(before())) {
      struct stat info;
      if (S_ISDIR(item.mode) || ::lstat((upper() + "/" + path).c_str(), &info) != 0) continue;
      Node node;
      ObjectId object;
      if (S_ISLNK(item.mode)) {
        node = {.kind = NodeKind::kSymlink, .target = item.content};
      } else {
        node = {.kind = NodeKind::kFile, .mode = item.mode & 0777, .size = item.content.size()};
        object = *checkpoints_->objects().AddBytes(item.content);
        CHECK(checkpoints_->objects().Sync());
      }
      CHECK(checkpoints_->KeepBase(kView, path, object, node));
    }
  }

  Result<ApplyPlan> Plan(const Merge& merge = NoMerge()) {
    const sys::UniqueFd upper_root = Open(upper());
    const sys::UniqueFd project_root = Open(project_);
    return PlanApply({upper_root.get(), UpperFormat::kTrusted}, project_root.get(), base_, kView,
                     *checkpoints_, merge, {});
  }
  Status Do(const ApplyPlan& plan) const {
    const sys::UniqueFd upper_root = Open(upper());
    return Apply(plan, {upper_root.get(), UpperFormat::kTrusted}, Open(project_).get(),
                 Open(journal()).get());
  }
  Result<std::optional<bool>> Recover() const {
    return RecoverApply(Open(project_).get(), Open(journal()).get());
  }
  Status Finish() const { return FinishApply(Open(journal()).get()); }

  static Merge NoMerge() {
    return [](const std::string&, const std::string&,
              const std::string&) -> Result<std::optional<std::string>> { return std::nullopt; };
  }
  static sys::UniqueFd Open(const std::string& path) {
    return *sys::Open(path, O_PATH | O_DIRECTORY);
  }

 private:
  static constexpr char kView[] = "project";

  std::string before() const {
    const std::string path = folder_ + "/before";
    CHECK(::mkdir(path.c_str(), 0755) == 0 || errno == EEXIST);
    return path;
  }

  SystemClock clock_;
  std::string folder_;
  std::string project_;
  BaseIndex base_;
  std::optional<Checkpoints> checkpoints_;
};

}  // namespace cofferdam::projects
