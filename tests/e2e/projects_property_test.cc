// Random work of an agent on a project, against a naive model: at the end of each turn the agent
// itself copies all that it sees. Then the diff and the apply must be as good as those copies, and
// each rewind must lead to the copy of its turn.
//
// COFFERDAM_PROPERTY_SEED makes the work the same again, COFFERDAM_PROPERTY_RUNS is how many.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <random>

#include "fixture.h"
#include "projects/testing/property_seed.h"

namespace cofferdam::e2e {
namespace {

namespace fs = std::filesystem;

std::uint64_t FromEnvironment(const char* name, std::uint64_t otherwise) {
  const char* text = ::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

/// A tree of files as text: kind, permissions and content by path.
using Tree = std::map<std::string, std::string>;

enum class Detail {
  kAll,
  kOfAPatch,  // no directories, and of permissions whether its owner may execute it
};

Tree ReadTree(const std::string& root, Detail detail) {
  Tree tree;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    const std::string path = entry.path().lexically_relative(root);
    struct stat info{};
    EXPECT_EQ(::lstat(entry.path().c_str(), &info), 0);
    const bool patch = detail == Detail::kOfAPatch;
    const auto mode = std::to_string(info.st_mode & (patch ? 0100 : 0777));
    if (S_ISLNK(info.st_mode))
      tree[path] = "link " + fs::read_symlink(entry.path()).string();
    else if (S_ISREG(info.st_mode))
      tree[path] = "file " + mode + " " + *sys::ReadFile(entry.path(), 64 << 20);
    else if (!patch)
      tree[path] = "directory " + mode;
  }
  return tree;
}

/// The first difference, for a person.
std::string Difference(const Tree& is, const Tree& wanted) {
  for (const auto& [path, what] : wanted)
    if (!is.contains(path)) return "missing: " + path + ": " + what.substr(0, 60);
  for (const auto& [path, what] : is)
    if (!wanted.contains(path))
      return "too much: " + path + ": " + what.substr(0, 60);
    else if (wanted.at(path) != what)
      return "other: " + path + ": " + what.substr(0, 60) + " and not " +
             wanted.at(path).substr(0, 60);
  return {};
}

/// Shell commands that an agent might give. Few names, so that they meet.
class Shell {
 public:
  explicit Shell(std::mt19937_64& random) : random_(random) {}

  std::string Turn() {
    std::string script;
    const int count = Below(6) + 1;
    // What cannot be done is not done.
    for (int i = 0; i < count; ++i) script += One() + " 2>/dev/null; ";
    return script;
  }

 private:
  int Below(int limit) { return std::uniform_int_distribution<int>(0, limit - 1)(random_); }
  std::string Name() { return std::string(1, static_cast<char>('a' + Below(4))); }
  std::string Path() {
    std::string path = Name();
    for (int depth = Below(3); depth > 0; --depth) path += "/" + Name();
    return path;
  }
  std::string Text() { return std::to_string(Below(1000)); }

  std::string One() {
    const std::string path = Path();
    switch (Below(14)) {
      case 0:
        return "mkdir -p " + path;
      case 1:
        return "rm -rf " + path;
      case 2:
        return "rm -f " + path;
      case 3:
        return "mv -T " + path + " " + Path();
      case 4:
        return "mv " + path + " " + Path();
      case 5:
        return "ln -sfn nowhere/" + Path() + " " + path;
      case 6:
        return "chmod " + std::string(Below(2) == 0 ? "+x " : "-x ") +
               "\"$(find . -type f | sort | "
               "sed -n " +
               std::to_string(Below(8) + 1) + "p)\"";
      case 7:
        return "printf '\\000\\377" + Text() + "' > " + path;
      case 8:
        return "rm -rf " + path + "; mkdir -p " + path + "; echo " + Text() + " > " + path + "/" +
               Name();
      case 9:
        return "cp -a " + path + " " + Path();
      case 10:
        return "truncate -s " + Text() + " " + path;
      default:
        return "mkdir -p \"$(dirname " + path + ")\"; echo " + Text() + " >> " + path;
    }
  }

  std::mt19937_64& random_;
};

class ProjectsPropertyTest : public PlatformFixture {
 protected:
  static constexpr int kTurns = 6;

  void SetUp() override {
    PlatformFixture::SetUp();
    ASSERT_EQ(::chmod(temp_.path().c_str(), 0755), 0);
    home_ = fs::path(alice_->work_folder()).parent_path() / "home";
  }

  /// Works in a sandbox of the workspace, with the project where the settings say.
  std::string Exec(const std::string& command, const Settings& settings = {}) {
    std::string out;
    const auto sink = [&out](bool, std::string_view bytes) { out += bytes; };
    const auto outcome =
        alice_->Exec({.argv = {"bash", "-c", command}, .settings = settings}, sink, {});
    EXPECT_TRUE(outcome) << outcome.error().ToString();
    EXPECT_EQ(outcome ? outcome->exit_code : 1, 0) << command << '\n' << out;
    return out;
  }

  void MakeProject(Shell& shell) {
    ASSERT_TRUE(sys::MakeDirectories(project_, 0755));
    const Settings direct{.project = project_, .project_mode = "direct"};
    Exec("umask 022; echo begin > begun; " + shell.Turn() + shell.Turn() + shell.Turn() + "true",
         direct);
  }

  void Work(Shell& shell) {
    std::string script = "turns:\n";
    for (int turn = 1; turn <= kTurns; ++turn)
      script += "  - tool_calls: [{name: bash, arguments: {command: " +
                json::Dump(shell.Turn() + Copy(Turn(turn))) + "}}]\n";
    const RunResult result = Play(Options(script + "  - text: Done.\n"));
    ASSERT_FALSE(result.error) << result.error->ToString();
  }

  static std::string Turn(int turn) { return "turn-" + std::to_string(turn); }
  static std::string Copy(const std::string& name) {
    return "rm -rf ~/" + name + "; cp -a /workspace ~/" + name;
  }
  Tree Kept(int turn, Detail detail = Detail::kAll) const {
    return turn == 0 ? ReadTree(temp_ / "before", detail)
                     : ReadTree(home_ + "/" + Turn(turn), detail);
  }
  Tree Seen() {
    Exec(Copy("now"));
    return ReadTree(home_ + "/now", Detail::kAll);
  }

  void ExpectPatchIsAsGood() {
    const auto diff = alice_->Diff();
    ASSERT_TRUE(diff) << diff.error().ToString();
    const std::string patched = temp_ / "patched";
    fs::remove_all(patched);
    fs::copy(project_, patched, fs::copy_options::recursive | fs::copy_options::copy_symlinks);
    std::ofstream(home_ + "/patch", std::ios::binary) << diff->patch;
    if (!diff->patch.empty())
      Exec(
          "cp -a /workspace ~/patched && cd ~/patched && git apply --whitespace=nowarn ~/patch && "
          "rm -rf ~/result && mv ~/patched ~/result",
          {.project = patched, .project_mode = "read-only"});
    EXPECT_EQ(
        Difference(ReadTree(diff->patch.empty() ? patched : home_ + "/result", Detail::kOfAPatch),
                   Kept(kTurns, Detail::kOfAPatch)),
        "")
        << diff->patch;
  }

  void ExpectRewindsLeadToTheirTurns() {
    for (int turn = kTurns - 1; turn >= 0; --turn) {
      const auto result = alice_->Rewind({.to_turn = turn, .chat = false});
      ASSERT_TRUE(result) << result.error().ToString();
      EXPECT_EQ(Difference(Seen(), Kept(turn)), "") << "after turn " << turn;
    }
    const auto result = alice_->Rewind({.to_turn = kTurns});
    ASSERT_TRUE(result) << result.error().ToString();
    EXPECT_EQ(Difference(Seen(), Kept(kTurns)), "") << "forward again";
  }

  void ExpectApplyIsAsGood() {
    const auto result = alice_->Apply();
    ASSERT_TRUE(result) << result.error().ToString();
    for (const ApplyConflict& conflict : result->conflicts)
      ADD_FAILURE() << conflict.path << ": " << conflict.why;
    EXPECT_EQ(Difference(ReadTree(project_, Detail::kAll), Kept(kTurns)), "");
    EXPECT_EQ(Difference(Seen(), Kept(kTurns)), "");
  }

  const std::string project_ = temp_ / "project";
  std::string home_;
};

TEST_F(ProjectsPropertyTest, DiffApplyAndRewindAreAsGoodAsCopies) {
  const std::uint64_t first = projects::PropertySeed();
  const std::uint64_t runs = FromEnvironment("COFFERDAM_PROPERTY_RUNS", 4);
  for (std::uint64_t seed = first; seed < first + runs; ++seed) {
    SCOPED_TRACE("COFFERDAM_PROPERTY_SEED=" + std::to_string(seed));
    std::mt19937_64 random(seed);
    Shell shell(random);
    fs::remove_all(project_);
    fs::remove_all(temp_ / "before");
    if (seed != first) {
      ASSERT_TRUE(platform_->DeleteWorkspace("alice", LiveRuns::kRefuse));
      alice_.emplace(*platform_->CreateWorkspace("alice"));
    }
    ASSERT_NO_FATAL_FAILURE(MakeProject(shell));
    fs::copy(project_, temp_ / "before",
             fs::copy_options::recursive | fs::copy_options::copy_symlinks);
    ASSERT_TRUE(alice_->SetSettings({.project = project_}));
    ASSERT_NO_FATAL_FAILURE(Work(shell));
    ExpectPatchIsAsGood();
    ExpectRewindsLeadToTheirTurns();
    ExpectApplyIsAsGood();
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace cofferdam::e2e
