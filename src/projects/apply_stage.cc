#include "projects/apply_stage.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <map>
#include <ranges>
#include <set>

#include "base/check.h"
#include "projects/beneath.h"
#include "projects/merged_tree.h"
#include "projects/object_store.h"
#include "projects/tree_walk.h"
#include "sys/file.h"

namespace cofferdam::projects {
namespace {

constexpr std::uint32_t kModeBits = 07777;
constexpr std::uint32_t kOpen = S_IRWXU;

std::int64_t ModifiedNanos(const struct stat& info) {
  return std::int64_t{info.st_mtim.tv_sec} * 1'000'000'000 + info.st_mtim.tv_nsec;
}

/// Who is to own what, and whether directories hand on their group.
struct Ownership {
  uid_t uid;
  gid_t gid;
  bool hands_on_group;
};

class StageFiller {
 public:
  StageFiller(const ApplyPlan& plan, const LayerView& upper, const Ground& ground)
      : plan_(plan),
        ground_(ground),
        agents_({upper, {.root = ground.project, .format = UpperFormat::kPlain}}) {
    for (const auto& [path, bytes] : plan.merged) merged_[path] = &bytes;
  }

  Result<std::vector<Step>> Fill() {
    SortChanges();
    RETURN_IF_ERROR(OpenDirectories());
    for (const std::string& path : going_)
      steps_.push_back({.kind = StepKind::kRemove, .path = path});
    for (const Change* change : coming_) RETURN_IF_ERROR(Stage(*change));
    for (const Change* change : changing_) NoteMode(*change);
    for (const Step& step : last_ | std::views::values | std::views::reverse)
      if (step.old_mode != step.new_mode) steps_.push_back(step);
    if (::syncfs(ground_.stage) != 0) return ErrnoError(errno, "syncing the stage of an apply");
    return std::move(steps_);
  }

 private:
  /// Whether only the permissions of it change.
  bool IsModeOnly(const Change& change) const {
    if (change.kind != ChangeKind::kModified || change.before->kind != change.after->kind)
      return false;
    if (change.after->kind == NodeKind::kDirectory) return true;
    return change.after->kind == NodeKind::kFile && !merged_.contains(change.path) &&
           !change.before_sha256.empty() && change.before_sha256 == change.after_sha256;
  }

  // The list is in the order of the paths: a directory comes before what is in it.
  void SortChanges() {
    for (const Change& change : plan_.list.changes) {
      if (change.kind == ChangeKind::kDeleted) {
        going_.insert(change.path);
      } else if (IsModeOnly(change)) {
        changing_.push_back(&change);
      } else {
        coming_.push_back(&change);
        if (change.kind == ChangeKind::kRenamed) going_.insert(change.old_path);
      }
    }
    FindWholes();
  }

  // A directory that goes, or gives its place to something else, takes along what is in it: one
  // step, and the kernel's word on each file in it stays what it was should it come back.
  void FindWholes() {
    for (const std::string& path : going_)
      if (S_ISDIR(SeenAt(path).st_mode)) wholes_.insert(path);
    for (const Change* change : coming_)
      if (change->kind == ChangeKind::kModified && S_ISDIR(SeenAt(change->path).st_mode))
        wholes_.insert(change->path);
    std::erase_if(going_, [this](const std::string& path) { return GoesAlong(path); });
  }

  bool GoesAlong(const std::string& path) const {
    for (std::string above = ParentOf(path); !above.empty(); above = ParentOf(above))
      if (wholes_.contains(above)) return true;
    return false;
  }

  const struct stat& SeenAt(const std::string& path) const {
    const auto seen = plan_.seen.find(path);
    CHECK(seen != plan_.seen.end());
    return seen->second;
  }

  /// The directories of the project in which names change, or which are moved away. What is new
  /// is not among them.
  std::set<std::string> TouchedDirectories() const {
    std::set<std::string> touched;
    for (const std::string& path : going_) {
      touched.insert(ParentOf(path));
      if (S_ISDIR(SeenAt(path).st_mode)) touched.insert(path);
    }
    for (const Change* change : coming_) {
      touched.insert(ParentOf(change->path));
      if (change->kind == ChangeKind::kModified && S_ISDIR(SeenAt(change->path).st_mode))
        touched.insert(change->path);
    }
    touched.erase("");
    return touched;
  }

  // Their owner may have no right to write in them until then.
  Status OpenDirectories() {
    for (const std::string& path : TouchedDirectories()) {
      const auto directory = OpenDirectoryBeneath(ground_.project, path);
      if (!directory && directory.error().sys_errno == EACCES)
        return std::unexpected(directory.error());
      // It is new; or else its step will tell.
      if (!directory) continue;
      ASSIGN_OR_RETURN(const struct stat info, sys::Stat(directory->get()));
      const std::uint32_t mode = info.st_mode & kModeBits;
      if ((mode & kOpen) == kOpen) continue;
      Step step{.kind = StepKind::kMode,
                .path = path,
                .inode = info.st_ino,
                .old_mode = mode,
                .new_mode = mode | kOpen};
      steps_.push_back(step);
      std::swap(step.old_mode, step.new_mode);
      if (!plan_.seen.contains(path)) last_[path] = step;
      opened_[path] = mode | kOpen;
    }
    return {};
  }

  void NoteMode(const Change& change) {
    const struct stat& info = SeenAt(change.path);
    const auto opened = opened_.find(change.path);
    const std::uint32_t kept = S_ISDIR(info.st_mode) ? info.st_mode & (S_ISGID | S_ISVTX) : 0;
    last_[change.path] = {
        .kind = StepKind::kMode,
        .path = change.path,
        .inode = info.st_ino,
        .old_mode = opened == opened_.end() ? info.st_mode & kModeBits : opened->second,
        .new_mode = change.after->mode | kept};
  }

  Result<Ownership> OwnershipIn(const std::string& directory) {
    if (const auto known = owners_.find(directory); known != owners_.end()) return known->second;
    const auto opened = OpenDirectoryBeneath(ground_.project, directory);
    if (!opened) return FailureAt(directory, opened.error());
    ASSIGN_OR_RETURN(const struct stat info, sys::Stat(opened->get()));
    const Ownership owner{info.st_uid, info.st_gid, (info.st_mode & S_ISGID) != 0};
    return owners_[directory] = owner;
  }

  Status Stage(const Change& change) {
    const std::string name = std::to_string(steps_.size());
    const bool replaces = change.kind == ChangeKind::kModified;
    ASSIGN_OR_RETURN(Ownership owner, OwnershipIn(ParentOf(change.path)));
    if (replaces) {
      owner.uid = SeenAt(change.path).st_uid;
      owner.gid = SeenAt(change.path).st_gid;
    }
    RETURN_IF_ERROR(Write(change, name));
    RETURN_IF_ERROR(Give(name, owner, replaces));
    if (change.after->kind == NodeKind::kFile &&
        ::fchmodat(ground_.stage, name.c_str(), change.after->mode, 0) != 0)
      return ErrnoError(errno, "setting permissions");
    struct stat info;
    if (::fstatat(ground_.stage, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0)
      return ErrnoError(errno, "looking at a new file");
    if (change.after->kind == NodeKind::kDirectory) {
      owners_[change.path] = owner;
      const std::uint32_t group = owner.hands_on_group ? S_ISGID : 0;
      last_[change.path] = {.kind = StepKind::kMode,
                            .path = change.path,
                            .inode = info.st_ino,
                            .old_mode = info.st_mode & kModeBits,
                            .new_mode = change.after->mode | group};
    }
    steps_.push_back({.kind = replaces ? StepKind::kReplace : StepKind::kAdd,
                      .path = change.path,
                      .inode = info.st_ino,
                      .modified_nanos = ModifiedNanos(info)});
    return {};
  }

  Status Write(const Change& change, const std::string& name) const {
    const Node& node = *change.after;
    if (node.kind == NodeKind::kDirectory) {
      // Open until all that comes into it is there; whatever the umask.
      if (::mkdirat(ground_.stage, name.c_str(), kOpen) != 0 ||
          ::fchmodat(ground_.stage, name.c_str(), kOpen, 0) != 0)
        return ErrnoError(errno, "making a directory");
      return {};
    }
    if (node.kind == NodeKind::kSymlink) {
      if (::symlinkat(node.target.c_str(), ground_.stage, name.c_str()) != 0)
        return ErrnoError(errno, "making a symbolic link");
      return {};
    }
    constexpr int kFlags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;
    ASSIGN_OR_RETURN(const sys::UniqueFd target,
                     sys::OpenAt(ground_.stage, name, kFlags, S_IRUSR | S_IWUSR));
    if (const auto merged = merged_.find(change.path); merged != merged_.end())
      return sys::WriteAll(target.get(), *merged->second);
    return Copy(change, target.get());
  }

  Status Copy(const Change& change, int target) const {
    const auto changed = [&change] {
      return Err(ErrorCode::kBusy,
                 "the agent has changed '" + PathForPerson(change.path) +
                     "' while its changes were applied",
                 "wait for its end, and apply again");
    };
    ASSIGN_OR_RETURN(const auto found, agents_.Lookup(change.path));
    if (!found || found->node.kind != NodeKind::kFile || found->node.size != change.after->size ||
        found->node.modified_nanos != change.after->modified_nanos)
      return changed();
    const auto source = OpenFile(found->parent.get(), found->name, found->info);
    if (!source && source.error().code == ErrorCode::kNotFound) return changed();
    if (!source) return std::unexpected(source.error());
    return CopyContent(source->get(), target);
  }

  /// As root what is new gets its owner; for others the kernel has seen to it, but for the group.
  Status Give(const std::string& name, const Ownership& owner, bool replaces) const {
    const bool is_root = ::geteuid() == 0;
    if (!is_root && !replaces && !owner.hands_on_group) return {};
    const uid_t uid = is_root ? owner.uid : static_cast<uid_t>(-1);
    if (::fchownat(ground_.stage, name.c_str(), uid, owner.gid, AT_SYMLINK_NOFOLLOW) == 0 ||
        !is_root)
      return {};
    return ErrnoError(errno, "giving a new file to its owner");
  }

  const ApplyPlan& plan_;
  const Ground& ground_;
  const MergedTree agents_;
  std::map<std::string, const std::string*> merged_;
  std::set<std::string> going_;
  std::set<std::string> wholes_;
  std::vector<const Change*> coming_;
  std::vector<const Change*> changing_;
  std::map<std::string, Ownership> owners_;
  std::map<std::string, std::uint32_t> opened_;
  std::map<std::string, Step> last_;
  std::vector<Step> steps_;
};

}  // namespace

Result<std::vector<Step>> FillStage(const ApplyPlan& plan, const LayerView& upper,
                                    const Ground& ground) {
  return StageFiller(plan, upper, ground).Fill();
}

}  // namespace cofferdam::projects
