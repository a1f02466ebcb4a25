// What MergedTree and FindChanges say of layers, against what the kernel's overlayfs shows of them,
// after random work in real mounts.
#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <random>
#include <set>

#include <gtest/gtest.h>

#include "crypto/hex.h"
#include "crypto/sha256.h"
#include "projects/changes.h"
#include "projects/merged_tree.h"
#include "projects/testing/files.h"
#include "projects/testing/property_seed.h"
#include "projects/tree_walk.h"
#include "sys/file.h"
#include "sys/testing/temp_dir.h"

namespace cofferdam::projects {
namespace {

using sys::TempDir;
using sys::UniqueFd;

// What somebody sees at a path: its kind, mode, target, and what is in it.
using Snapshot = std::map<std::string, std::string>;

std::string Seen(const Node& node, const std::string& content) {
  return std::to_string(static_cast<int>(node.kind)) + " " + std::to_string(node.mode) + " " +
         node.target + " " + content;
}

std::string ContentOf(int parent, const std::string& name, const struct stat& info) {
  if (!S_ISREG(info.st_mode)) return "";
  const auto file = OpenFile(parent, name, info);
  EXPECT_TRUE(file) << name << ": " << file.error().ToString();
  return file ? *sys::ReadAll(file->get(), 1 << 20) : "";
}

Snapshot SnapshotOf(const std::string& path) {
  Snapshot snapshot;
  const UniqueFd root = *sys::Open(path, O_PATH | O_DIRECTORY);
  const Status status = WalkTree(root.get(), [&](const TreeEntry& entry) -> Result<Descend> {
    const Node node = *ReadNode(entry.parent, entry.name, entry.info, UpperFormat::kPlain);
    snapshot[entry.path] = Seen(node, ContentOf(entry.parent, entry.name, entry.info));
    return Descend::kYes;
  });
  EXPECT_TRUE(status) << status.error().ToString();
  return snapshot;
}

Snapshot SnapshotOf(const MergedTree& tree) {
  Snapshot snapshot;
  const Status status =
      tree.Walk("", [&](const std::string& path, const Found& found) -> Result<Descend> {
        snapshot[path] = Seen(found.node, ContentOf(found.parent.get(), found.name, found.info));
        return Descend::kYes;
      });
  EXPECT_TRUE(status) << status.error().ToString();
  return snapshot;
}

// Does random things to a tree, as a program in a sandbox would.
class Worker {
 public:
  Worker(std::string root, std::mt19937& random) : root_(std::move(root)), random_(random) {}

  void Work(int steps) {
    for (int i = 0; i < steps; ++i) Step();
  }

 private:
  int Roll(int sides) { return static_cast<int>(random_() % static_cast<unsigned>(sides)); }

  std::vector<std::string> Paths(mode_t kind) const {
    std::vector<std::string> paths;
    const UniqueFd root = *sys::Open(root_, O_PATH | O_DIRECTORY);
    EXPECT_TRUE(WalkTree(root.get(), [&](const TreeEntry& entry) -> Result<Descend> {
      if (kind == 0 || (entry.info.st_mode & S_IFMT) == kind)
        paths.push_back(root_ + "/" + entry.path);
      return Descend::kYes;
    }));
    return paths;
  }
  std::string Any(mode_t kind) {
    const std::vector<std::string> paths = Paths(kind);
    return paths.empty() ? root_ + "/nothing" : paths[random_() % paths.size()];
  }
  // Few names, so that what is deleted comes back as something else.
  std::string Fresh() {
    static const std::vector<std::string> names = {"a", "b", "c", "dir", "\xFF\n", ".wh.a"};
    const std::string parent = Roll(3) == 0 ? root_ : Any(S_IFDIR);
    return parent + "/" + names[random_() % names.size()];
  }
  void Write(const std::string& path, int flags) {
    const UniqueFd file(::open(path.c_str(), flags | O_CLOEXEC | O_NONBLOCK, 0644));
    if (file.valid()) CHECK(sys::WriteAll(file.get(), "text " + std::to_string(Roll(6)) + "\n"));
  }

  void Step() {
    static_cast<void>(::umask(0));
    switch (Roll(16)) {
      case 0:
      case 1:
        Write(Fresh(), O_WRONLY | O_CREAT | O_TRUNC);
        break;
      case 2:
        Write(Any(S_IFREG), O_WRONLY | O_APPEND);
        break;
      case 3:
        Write(Any(S_IFREG), O_WRONLY | O_TRUNC);
        break;
      case 4:
      case 5:
        ::mkdir(Fresh().c_str(), Roll(2) == 0 ? 0755 : 0700);
        break;
      case 6:
        ::rename(Any(S_IFREG).c_str(), Fresh().c_str());
        break;
      case 7:
      case 8:
        ::rename(Any(S_IFDIR).c_str(), Fresh().c_str());
        break;
      case 9:
        ::unlink(Any(Roll(2) == 0 ? S_IFREG : S_IFLNK).c_str());
        break;
      case 10:
        Remove(Any(S_IFDIR));
        break;
      case 11:
        ::chmod(Any(Roll(2) == 0 ? S_IFREG : S_IFDIR).c_str(), 0600 + 0111 * Roll(2));
        break;
      case 12:
        static_cast<void>(!::symlink(Roll(2) == 0 ? "a" : "/etc/passwd", Fresh().c_str()));
        break;
      case 13:
        static_cast<void>(!::link(Any(S_IFREG).c_str(), Fresh().c_str()));
        break;
      case 14:
        Replace(Any(0));
        break;
      case 15:
        ::renameat2(AT_FDCWD, Any(0).c_str(), AT_FDCWD, Any(0).c_str(), RENAME_EXCHANGE);
    }
  }
  void Remove(const std::string& path) { static_cast<void>(sys::RemoveTree(AT_FDCWD, path)); }
  // By another kind.
  void Replace(const std::string& path) {
    Remove(path);
    if (Roll(4) == 0)
      ::mkfifo(path.c_str(), 0600);
    else if (Roll(2) == 0)
      Write(path, O_WRONLY | O_CREAT);
    else if (::mkdir(path.c_str(), 0755) == 0)
      Write(path + "/a", O_WRONLY | O_CREAT);
  }

  std::string root_;
  std::mt19937& random_;
};

bool IsSpecial(const std::string& seen) { return seen.starts_with("5 "); }

// The lines that a list of changes must come to when nothing is renamed: what is gone, and what is
// there otherwise.
std::multiset<std::string> Expected(const Snapshot& before, const Snapshot& after) {
  std::multiset<std::string> lines;
  for (const auto& [path, seen] : before) {
    const auto now = after.find(path);
    if (now == after.end() || (IsSpecial(now->second) && !IsSpecial(seen)))
      lines.insert("deleted " + path);
    else if (now->second != seen)
      lines.insert("modified " + path);
  }
  for (const auto& [path, seen] : after)
    if (!before.contains(path) && !IsSpecial(seen)) lines.insert("added " + path);
  return lines;
}

std::multiset<std::string> Lines(const ChangeList& list) {
  std::multiset<std::string> lines;
  for (const Change& change : list.changes) {
    if (change.kind == ChangeKind::kRenamed) {
      lines.insert("deleted " + change.old_path);
      lines.insert("added " + change.path);
    } else {
      lines.insert(std::string(ChangeKindName(change.kind)) + " " + change.path);
    }
  }
  return lines;
}

void ExpectSoundRenames(const ChangeList& list) {
  std::set<std::string> added;
  for (const Change& change : list.changes) {
    if (change.kind == ChangeKind::kRenamed) {
      EXPECT_EQ(change.before_sha256, change.after_sha256) << change.path;
      EXPECT_EQ(change.before->target, change.after->target) << change.path;
    }
    if (change.kind == ChangeKind::kAdded) added.insert(change.after_sha256 + change.after->target);
  }
  added.erase("");
  for (const Change& change : list.changes) {
    if (change.kind != ChangeKind::kDeleted) continue;
    EXPECT_FALSE(added.contains(change.before_sha256 + change.before->target)) << change.path;
  }
}

void ExpectHashesAndNodes(const ChangeList& list, const Snapshot& before, const Snapshot& after) {
  for (const Change& change : list.changes) {
    const std::string& old_path =
        change.kind == ChangeKind::kRenamed ? change.old_path : change.path;
    const auto check = [](const Node& node, const std::string& sha256, const std::string& seen) {
      const std::string without_content = Seen(node, "");
      ASSERT_TRUE(seen.starts_with(without_content)) << seen << " is not " << without_content;
      const std::string content = seen.substr(without_content.size());
      EXPECT_EQ(sha256,
                node.kind == NodeKind::kFile ? crypto::HexEncode(crypto::Sha256(content)) : "");
    };
    if (change.before) check(*change.before, change.before_sha256, before.at(old_path));
    if (change.after) check(*change.after, change.after_sha256, after.at(change.path));
  }
}

class OverlayPropertyTest : public testing::TestWithParam<UpperFormat> {
 protected:
  static constexpr int kRounds = 12;
  static constexpr int kLayers = 3;

  void SetUp() override {
    if (::getuid() != 0) GTEST_SKIP() << "needs root, to mount overlays";
  }
  std::string Options() const {
    return GetParam() == UpperFormat::kUser ? ",userxattr"
                                            : ",redirect_dir=on,metacopy=off,index=off";
  }
  bool Mount(const std::string& place, const std::vector<std::string>& lowers,
             const std::string& upper) {
    std::string options = "lowerdir=";
    for (const std::string& lower : lowers) options += (lower == lowers.front() ? "" : ":") + lower;
    if (!upper.empty()) options += ",upperdir=" + upper + ",workdir=" + upper + ".work";
    options += Options();
    for (const std::string& path : {place, upper, upper + ".work"})
      if (!upper.empty() || path == place) CHECK(sys::MakeDirectories(path, 0755));
    return ::mount("overlay", place.c_str(), "overlay", 0, options.c_str()) == 0;
  }
};

TEST_P(OverlayPropertyTest, SaysOfRandomLayersWhatTheKernelShows) {
  const auto seed = static_cast<unsigned>(PropertySeed());
  for (unsigned round = 0; round < kRounds; ++round) {
    SCOPED_TRACE("seed " + std::to_string(seed + round));
    std::mt19937 random(seed + round);
    const TempDir temp;
    const OwnMounts mounts;
    const std::string bottom = temp / "bottom";
    ASSERT_TRUE(sys::MakeDirectories(bottom, 0755));
    Worker(bottom, random).Work(60);
    std::vector<std::string> paths = {bottom};
    std::vector<UniqueFd> roots;
    roots.push_back(*sys::Open(bottom, O_PATH | O_DIRECTORY));
    std::vector<LayerView> lowers = {{roots.back().get(), UpperFormat::kPlain}};
    Snapshot before = SnapshotOf(bottom);
    for (int layer = 0; layer < kLayers; ++layer) {
      SCOPED_TRACE("layer " + std::to_string(layer));
      const std::string upper = temp / ("upper" + std::to_string(layer));
      const std::string merged = temp / ("merged" + std::to_string(layer));
      if (!Mount(merged, paths, upper)) GTEST_SKIP() << "no such overlays: " << strerror(errno);
      Worker(merged, random).Work(40);
      const Snapshot after = SnapshotOf(merged);
      roots.push_back(*sys::Open(upper, O_PATH | O_DIRECTORY));
      const LayerView view{roots.back().get(), GetParam()};
      const auto list = FindChanges(view, lowers, 1 << 20);
      ASSERT_TRUE(list) << list.error().ToString();
      EXPECT_EQ(Lines(*list), Expected(before, after));
      EXPECT_TRUE(std::ranges::is_sorted(list->changes, {}, &Change::path));
      ExpectSoundRenames(*list);
      ExpectHashesAndNodes(*list, before, after);
      lowers.insert(lowers.begin(), view);
      paths.insert(paths.begin(), upper);
      EXPECT_EQ(SnapshotOf(MergedTree(lowers)), after);
      ASSERT_EQ(::umount2(merged.c_str(), MNT_DETACH), 0);
      before = after;
      if (HasFailure()) return;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, OverlayPropertyTest,
                         testing::Values(UpperFormat::kTrusted, UpperFormat::kUser),
                         [](const auto& format) {
                           return format.param == UpperFormat::kUser ? "User" : "Trusted";
                         });

}  // namespace
}  // namespace cofferdam::projects
