// What keeping a turn's changes costs: 50,000 files, 10 of them changed. Below an overlay, where
// the upper holds the 10, as a project and a forked workspace have it; and all of them in the upper
// itself, as a workspace that made them has it. Beside it what git takes for a commit of the same
// files, and a bare look at all their names.

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "measure.h"
#include "projects/checkpoints.h"
#include "projects/tree_walk.h"
#include "report.h"
#include "sys/file.h"

namespace cofferdam::bench {
namespace {

constexpr int kDirectories = 1000;
constexpr int kFilesInEach = 50;
constexpr int kChanged = 10;
constexpr std::size_t kFileBytes = 2000;
constexpr double kMicrosInMilli = 1000;

std::string FileOf(int number) {
  return "dir" + std::to_string(number / kFilesInEach) + "/file" + std::to_string(number);
}

void WriteFile(const std::string& path, const std::string& text) {
  const sys::UniqueFd file = OrExit(sys::Open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644));
  OrExit(sys::WriteAll(file.get(), text));
}

std::string ContentOf(int number, int version) {
  std::string text = std::to_string(number) + " of version " + std::to_string(version) + "\n";
  text.resize(kFileBytes, 'x');
  return text;
}

void MakeFiles(const std::string& root) {
  for (int number = 0; number < kDirectories * kFilesInEach; ++number) {
    if (number % kFilesInEach == 0)
      OrExit(sys::MakeDirectories(root + "/dir" + std::to_string(number / kFilesInEach), 0755));
    WriteFile(root + "/" + FileOf(number), ContentOf(number, 0));
  }
}

/// The same ten each time, in directories of their own.
void Change(const std::string& root, int version) {
  for (int i = 0; i < kChanged; ++i) {
    const int number = i * kDirectories / kChanged * kFilesInEach + i;
    WriteFile(root + "/" + FileOf(number), ContentOf(number, version));
  }
}

double MillisOf(const std::function<void()>& body) {
  const double start = Now();
  body();
  return (Now() - start) / kMicrosInMilli;
}

/// An upper with its checkpoints.
class Keeper {
 public:
  Keeper(const std::string& folder, const std::string& upper, projects::UpperFormat format)
      : root_(OrExit(sys::Open(upper, O_PATH | O_DIRECTORY))),
        upper_{root_.get(), format, {::geteuid(), ::getegid()}},
        checkpoints_(OrExit(projects::Checkpoints::Open(folder, clock_))) {}

  /// How many paths had changed.
  std::size_t Take() {
    return OrExit(checkpoints_.Take("bench", upper_, {.reason = "turn"})).changes.size();
  }
  double Measure(std::size_t changes) {
    return MillisOf([&] { CHECK(Take() == changes); });
  }
  double MeasureWalk() const {
    return MillisOf([&] {
      OrExit(projects::WalkTree(
          upper_.root, [](const projects::TreeEntry&) { return projects::Descend::kYes; }));
    });
  }

 private:
  SystemClock clock_;
  sys::UniqueFd root_;
  projects::Upper upper_;
  projects::Checkpoints checkpoints_;
};

/// Commits of a directory, with everything of git's elsewhere.
class Git {
 public:
  Git(std::string tree, std::string directory)
      : tree_(std::move(tree)), directory_(std::move(directory)) {
    Run({"init", "-q"});
    Commit();
  }

  double Measure() const {
    return MillisOf([this] { Commit(); });
  }

 private:
  void Commit() const {
    Run({"add", "-A"});
    Run({"-c", "user.name=bench", "-c", "user.email=bench@example.org", "-c",
         "commit.gpgsign=false", "-c", "gc.auto=0", "commit", "-q", "-m", "turn"});
  }
  void Run(const std::vector<std::string>& arguments) const {
    std::vector<std::string> argv = {"git", "--git-dir=" + directory_, "--work-tree=" + tree_};
    argv.insert(argv.end(), arguments.begin(), arguments.end());
    const Running git = OrExit(StartProgram(argv, StartBy::kSpawn));
    CHECK(WaitFor(git.pid) == 0);
  }

  std::string tree_;
  std::string directory_;
};

/// All files in the upper.
void MeasureUpper(const std::string& folder, int count, Report& report) {
  const std::string tree = folder + "/upper";
  MakeFiles(tree);
  Keeper keeper(folder, tree, projects::UpperFormat::kPlain);
  Row first{"upper_first_take", "ms", {}}, take{"upper_take", "ms", {}},
      idle{"upper_idle_take", "ms", {}}, walk{"walk", "ms", {}}, git{"git_commit", "ms", {}};
  first.samples.push_back(MillisOf([&] { CHECK(keeper.Take() > kDirectories * kFilesInEach); }));
  const Git peer(tree, folder + "/git");
  for (int version = 1; version <= count; ++version) {
    Change(tree, version);
    take.samples.push_back(keeper.Measure(kChanged));
    git.samples.push_back(peer.Measure());
    // What was changed just before the last one has no stamp that says something yet.
    keeper.Take();
    idle.samples.push_back(keeper.Measure(0));
    walk.samples.push_back(keeper.MeasureWalk());
  }
  for (Row* row : {&first, &take, &idle, &walk, &git}) report.Add(std::move(*row));
}

/// All files below; the upper has those that were changed.
void MeasureOverlay(const std::string& folder, int count, Report& report) {
  for (const char* name : {"/work", "/merged"}) OrExit(sys::MakeDirectories(folder + name, 0755));
  MakeFiles(folder + "/lower");
  OrExit(sys::MakeDirectories(folder + "/overlay", 0755));
  const std::string upper = folder + "/overlay";
  const std::string options =
      "lowerdir=" + folder + "/lower,upperdir=" + upper + ",workdir=" + folder + "/work";
  const std::string merged = folder + "/merged";
  CHECK(::mount("overlay", merged.c_str(), "overlay", 0, options.c_str()) == 0);
  OrExit(sys::MakeDirectories(folder + "/state", 0700));
  Keeper keeper(folder + "/state", upper, projects::UpperFormat::kTrusted);
  // The first time the directories are new, too.
  Change(merged, 0);
  CHECK(keeper.Take() == 2 * kChanged);
  Row take{"overlay_take", "ms", {}};
  for (int version = 1; version <= count; ++version) {
    Change(merged, version);
    take.samples.push_back(keeper.Measure(kChanged));
  }
  report.Add(std::move(take));
  CHECK(::umount(merged.c_str()) == 0);
}

int Main(int argc, char** argv) {
  const Options options = ParseOptions(argc, argv, {50});
  const ScratchDirectory scratch;
  Report report("checkpoint");
  if (::geteuid() == 0) {
    CHECK(::unshare(CLONE_NEWNS) == 0);
    CHECK(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0);
    MeasureOverlay(scratch.path(), options.count(), report);
    report.AddRatio("checkpoint_ms", report.MedianOf("overlay_take"));
  } else {
    std::fprintf(stderr, "checkpoint: overlay_take needs root and was left out\n");
  }
  MeasureUpper(scratch.path(), options.count(), report);
  report.AddRatio("upper_checkpoint_ms", report.MedianOf("upper_take"));
  report.AddRatioOfMedians("upper_vs_git", "upper_take", "git_commit");
  report.AddRatioOfMedians("upper_vs_walk", "upper_take", "walk");
  report.Print(options.json);
  return 0;
}

}  // namespace
}  // namespace cofferdam::bench

int main(int argc, char** argv) { return cofferdam::bench::Main(argc, argv); }
