// Layers as hostile as they come: whiteouts, opaque directories and redirects at any place, to
// anywhere. Whatever they are, what MergedTree shows and what FindChanges tells fit each other.
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/check.h"
#include "projects/changes.h"
#include "projects/merged_tree.h"
#include "sys/file.h"
#include "sys/testing/temp_dir.h"

namespace {

using namespace cofferdam;
using namespace cofferdam::projects;

constexpr std::size_t kMaxSteps = 48;

// The input, read as instructions; zeros after its end.
class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : data_(data), size_(size) {}
  bool done() const { return at_ >= size_; }
  std::size_t Number(std::size_t sides) { return done() ? 0 : data_[at_++] % sides; }
  std::string Bytes(std::size_t max) {
    std::string bytes;
    for (std::size_t left = Number(max + 1); left > 0 && !done(); --left)
      bytes += static_cast<char>(data_[at_++]);
    return bytes;
  }

 private:
  const std::uint8_t* data_;
  std::size_t size_;
  std::size_t at_ = 0;
};

// Layers below a directory of this process, 0 the uppermost.
class Layers {
 public:
  Layers(const std::string& place, std::size_t count) : place_(place) {
    for (std::size_t i = 0; i < count; ++i) {
      CHECK(::mkdir(Root(i).c_str(), 0700) == 0);
      roots_.push_back(*sys::Open(Root(i), O_PATH | O_DIRECTORY));
    }
  }
  ~Layers() {
    for (std::size_t i = 0; i < roots_.size(); ++i) CHECK(sys::RemoveTree(AT_FDCWD, Root(i)));
  }

  std::vector<LayerView> Views() const {
    std::vector<LayerView> views;
    for (const sys::UniqueFd& root : roots_) views.push_back({root.get(), UpperFormat::kUser});
    return views;
  }

  // What does not work, since something is there already, is left.
  void Step(Input& input) {
    std::string path = Root(input.Number(roots_.size()));
    const std::size_t operation = input.Number(8);
    for (std::size_t deeper = input.Number(4);; --deeper) {
      static constexpr const char* kNames[] = {"a", "b", "c", "\xFF\n"};
      path += std::string("/") + kNames[input.Number(4)];
      if (deeper == 0) break;
      ::mkdir(path.c_str(), 0700);
    }
    Make(path, operation, input);
  }

 private:
  std::string Root(std::size_t layer) const { return place_ + "/" + std::to_string(layer); }

  static void Make(const std::string& path, std::size_t operation, Input& input) {
    switch (operation) {
      case 0: {
        const sys::UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL, 0600));
        if (file.valid()) CHECK(sys::WriteAll(file.get(), input.Bytes(3)));
        break;
      }
      case 1:
        ::mkdir(path.c_str(), 0700);
        break;
      case 2:
        ::mknod(path.c_str(), S_IFCHR, 0);
        break;
      case 3:
        Mark(path, "user.overlay.opaque", input.Number(4) == 0 ? "x" : "y");
        break;
      case 4:
      case 5:
        Mark(path, "user.overlay.redirect", input.Bytes(24));
        break;
      case 6:
        static_cast<void>(!::symlink(input.Number(2) == 0 ? "a" : "/", path.c_str()));
        break;
      case 7:
        ::mkfifo(path.c_str(), 0600);
        break;
    }
  }
  static void Mark(const std::string& path, const char* name, const std::string& value) {
    ::mkdir(path.c_str(), 0700);
    ::setxattr(path.c_str(), name, value.data(), value.size(), 0);
  }

  std::string place_;
  std::vector<sys::UniqueFd> roots_;
};

void CheckPath(const std::string& path) {
  CHECK(!path.empty() && path.find("//") == std::string::npos);
  CHECK(("/" + path + "/").find("/../") == std::string::npos);
  CHECK(("/" + path + "/").find("/./") == std::string::npos);
}

using Shown = std::map<std::string, Node>;

// Nothing for layers that no overlay would have written.
std::optional<Shown> Walk(const MergedTree& tree) {
  Shown shown;
  std::string previous;
  const Status status =
      tree.Walk("", [&](const std::string& path, const Found& found) -> Result<Descend> {
        CheckPath(path);
        // A directory before what is in it, names by their bytes.
        std::string key = path;
        for (char& c : key) c = c == '/' ? '\0' : c;
        CHECK(previous < key);
        previous = key;
        CHECK(found.node.kind != NodeKind::kWhiteout);
        CHECK(found.name.find('/') == std::string::npos);
        const auto again = tree.Lookup(path);
        CHECK(again && *again && (*again)->layer == found.layer);
        CHECK((*again)->info.st_ino == found.info.st_ino);
        shown[path] = found.node;
        return Descend::kYes;
      });
  CHECK(status || status.error().code == ErrorCode::kCorrupt);
  if (!status) return std::nullopt;
  return shown;
}

bool IsThere(const Shown& shown, const std::string& path) {
  const auto found = shown.find(path);
  return found != shown.end() && found->second.kind != NodeKind::kOther;
}

// Every change is one, and nothing that changed is missing.
void CheckChanges(const ChangeList& list, const Shown& before, const Shown& after) {
  std::set<std::string> gone;
  std::set<std::string> there;
  std::string previous;
  for (const Change& change : list.changes) {
    CheckPath(change.path);
    CHECK(previous < change.path);
    previous = change.path;
    CHECK(change.before.has_value() == (change.kind != ChangeKind::kAdded));
    CHECK(change.after.has_value() == (change.kind != ChangeKind::kDeleted));
    const std::string& old_path =
        change.kind == ChangeKind::kRenamed ? change.old_path : change.path;
    if (change.before) CHECK(before.contains(old_path) && gone.insert(old_path).second);
    if (change.after) CHECK(IsThere(after, change.path) && there.insert(change.path).second);
    if (change.kind == ChangeKind::kDeleted) CHECK(!IsThere(after, change.path));
    if (change.kind == ChangeKind::kAdded) CHECK(!before.contains(change.path));
  }
  for (const auto& [path, node] : before)
    if (!IsThere(after, path)) CHECK(gone.contains(path) || node.kind == NodeKind::kOther);
  for (const auto& [path, node] : after) {
    if (node.kind == NodeKind::kOther) continue;
    const auto old = before.find(path);
    const bool is_other = old == before.end() || old->second.kind != node.kind ||
                          old->second.size != node.size || old->second.target != node.target;
    CHECK(there.contains(path) || !is_other);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const sys::TempDir place(::access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
  Input input(data, size);
  Layers layers(place.path(), 1 + input.Number(4));
  for (std::size_t i = 0; i < kMaxSteps && !input.done(); ++i) layers.Step(input);
  const std::vector<LayerView> all = layers.Views();
  const std::vector<LayerView> lowers(all.begin() + 1, all.end());
  const auto after = Walk(MergedTree(all));
  const auto before = Walk(MergedTree(lowers));
  const auto list = FindChanges(all[0], lowers, 2);
  CHECK(list || list.error().code == ErrorCode::kCorrupt);
  if (list && before && after) CheckChanges(*list, *before, *after);
  return 0;
}
