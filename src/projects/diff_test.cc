#include "projects/diff.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <ranges>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "projects/testing/property_seed.h"
#include "projects/testing/trees.h"
#include "sandbox/launcher.h"
#include "sandbox/local_sandbox.h"
#include "sys/file.h"
#include "sys/testing/temp_dir.h"

namespace cofferdam::projects {
namespace {

using testing::HasSubstr;
using testing::Not;
namespace fs = std::filesystem;

constexpr std::uint64_t kEnough = 64 << 20;

/// What git knows of a tree: files and links, and whether a file may be executed.
Snapshot AsGitSeesIt(const std::string& root) {
  Snapshot seen;
  for (auto [path, item] : SnapshotOf(root)) {
    if (S_ISDIR(item.mode)) continue;
    if (S_ISREG(item.mode)) item.mode = S_IFREG | ((item.mode & 0100) != 0 ? 0755 : 0644);
    seen[path] = item;
  }
  return seen;
}

/// A patch says nothing of them, so that one can be in the way of a file.
void RemoveEmptyDirectories(const std::string& root) {
  const Snapshot snapshot = SnapshotOf(root);
  for (const auto& [path, item] : snapshot | std::views::reverse)
    if (S_ISDIR(item.mode)) ::rmdir((root + "/" + path).c_str());
}

class DiffTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    auto launcher = sandbox::Launcher::Start();
    ASSERT_TRUE(launcher) << launcher.error().ToString();
    launcher_ = launcher->release();
  }
  static void TearDownTestSuite() { delete std::exchange(launcher_, nullptr); }

  void SetUp() override {
    ASSERT_NE(launcher_, nullptr);
    for (const char* name : {"before", "after", "upper", "sides"})
      ASSERT_EQ(::mkdir((folder_ / name).c_str(), 0755), 0);
  }

  std::string Before(const std::string& path) const { return folder_ / ("before/" + path); }
  std::string After(const std::string& path) const { return folder_ / ("after/" + path); }
  static void Write(const std::string& path, const std::string& bytes, mode_t mode = 0644) {
    fs::create_directories(fs::path(path).parent_path());
    std::ofstream(path, std::ios::binary) << bytes;
    ASSERT_EQ(::chmod(path.c_str(), mode), 0);
  }
  void WriteBoth(const std::string& path, const std::string& before, const std::string& after) {
    Write(Before(path), before);
    Write(After(path), after);
  }

  std::unique_ptr<sandbox::LocalSandbox> MakeSandbox() const {
    sandbox::SandboxSpec spec;
    spec.id = "diff-" + std::to_string(++count_);
    spec.mounts = {{folder_ / "sides", "/workspace", false}};
    if (!launcher_->cgroups())
      spec.allow_missing = sandbox::LayerSet().With(sandbox::Layer::kCgroup);
    auto sandbox = sandbox::LocalSandbox::Create(*launcher_, spec, Deadline::Never());
    EXPECT_TRUE(sandbox) << sandbox.error().ToString();
    return sandbox ? std::move(*sandbox) : nullptr;
  }

  void Compare(std::uint64_t max_bytes = kEnough) {
    MakeUpper(folder_ / "before", folder_ / "after", folder_ / "upper");
    const sys::UniqueFd upper = *sys::Open(folder_ / "upper", O_PATH | O_DIRECTORY);
    const sys::UniqueFd before = *sys::Open(folder_ / "before", O_PATH | O_DIRECTORY);
    const sys::UniqueFd sides = *sys::Open(folder_ / "sides", O_PATH | O_DIRECTORY);
    const LayerView upper_view{.root = upper.get(), .format = UpperFormat::kTrusted};
    const std::vector<LayerView> lowers = {{.root = before.get()}};
    auto list = FindChanges(upper_view, lowers, kEnough);
    ASSERT_TRUE(list) << list.error().ToString();
    list_ = std::move(*list);
    const Status written = WriteSides(list_, upper_view, lowers, sides.get());
    ASSERT_TRUE(written) << written.error().ToString();
    const auto sandbox = MakeSandbox();
    ASSERT_NE(sandbox, nullptr);
    auto diff = DiffSides(*sandbox, list_, max_bytes, {});
    ASSERT_TRUE(diff) << diff.error().ToString();
    diff_ = std::move(*diff);
  }

  void ExpectPatchLeadsToAfter() {
    RemoveEmptyDirectories(folder_ / "before");
    Write(folder_ / "patch", diff_.patch);
    if (!diff_.patch.empty()) {
      ASSERT_EQ(RunIn(folder_ / "before", {"git", "-c", "core.attributesFile=/dev/null", "apply",
                                           "--whitespace=nowarn", folder_ / "patch"}),
                0)
          << diff_.patch;
    }
    EXPECT_EQ(Difference(AsGitSeesIt(folder_ / "after"), AsGitSeesIt(folder_ / "before")), "")
        << diff_.patch;
  }

  static inline sandbox::Launcher* launcher_ = nullptr;
  static inline int count_ = 0;
  sys::TempDir folder_;
  ChangeList list_;
  DiffText diff_;
};

TEST_F(DiffTest, IsAPatchThatGitAppliesToTheBase) {
  WriteBoth("text", "one\ntwo\n", "one\n2\n");
  WriteBoth("no newline", "a", "b");
  WriteBoth("binary", std::string("\0\1", 2), std::string("\0\2", 2));
  WriteBoth("quo\"te\\", "a\n", "b\n");
  Write(After("space /empty"), "");
  Write(Before("space /mode"), "x");
  Write(After("space /mode"), "x", 0755);
  Write(Before("space /old"), "of an old place");
  Write(After("space /new"), "of an old place");
  WriteBoth("space /text", "a\n", "b\n");
  WriteBoth("line\nfeed", "a\n", "b\n");
  WriteBoth("\xff\xfe", "a\n", "b\n");
  Write(Before("mode"), "#!\n");
  Write(After("mode"), "#!\n", 0755);
  Write(Before("old/name"), "the same\n");
  Write(After("new/name"), "the same\n", 0755);
  Write(Before("gone"), "x\n");
  Write(Before("gone too"), "");
  Write(After("sub/empty"), "");
  Write(Before("was/file"), "x\n");
  Write(After("was"), "now a file\n");
  Write(Before("is"), "was a file\n");
  Write(After("is/file"), "x\n");
  Write(Before("link"), "was no link\n");
  ASSERT_EQ(::symlink("/etc/passwd", After("link").c_str()), 0);
  ASSERT_EQ(::symlink("a", Before("pointer").c_str()), 0);
  ASSERT_EQ(::symlink("b", After("pointer").c_str()), 0);
  ASSERT_EQ(::mkdir(After("empty directory").c_str(), 0755), 0);
  Compare();
  EXPECT_FALSE(diff_.truncated);
  EXPECT_THAT(diff_.patch, HasSubstr("rename from old/name\nrename to new/name\n"));
  EXPECT_THAT(diff_.patch, HasSubstr("GIT binary patch"));
  EXPECT_THAT(diff_.patch, Not(HasSubstr("empty directory")));
  EXPECT_THAT(diff_.patch, Not(HasSubstr("root:"))) << "no link is followed";
  ExpectPatchLeadsToAfter();
}

TEST_F(DiffTest, OfRandomTreesIsAPatchThatGitAppliesToTheBase) {
  const std::uint64_t seed = PropertySeed();
  for (int round = 0; round < 8; ++round) {
    SCOPED_TRACE("seed " + std::to_string(seed) + ", round " + std::to_string(round));
    for (const char* name : {"before", "after", "upper", "sides"}) EmptyTree(folder_ / name);
    RandomTree random(seed + static_cast<std::uint64_t>(round));
    random.Fill(folder_ / "before", 40);
    CopyTree(folder_ / "before", folder_ / "after");
    random.Change(folder_ / "after", 30);
    Compare();
    ExpectPatchLeadsToAfter();
    if (HasFailure()) return;
  }
}

TEST_F(DiffTest, CountsLinesInTheOrderOfTheChanges) {
  WriteBoth("b", "one\ntwo\n", "one\n2\n3\n");
  WriteBoth("a", std::string(1, '\0'), std::string(2, '\0'));
  Write(Before("c"), "x\n");
  Write(After("d"), "x\n");
  ASSERT_EQ(::mkdir(After("e").c_str(), 0755), 0);
  Write(After("e/f"), "1\n");
  Compare();
  EXPECT_THAT(diff_.counts,
              testing::ElementsAre(LineCount{.path = "a", .binary = true},
                                   LineCount{.path = "b", .added = 2, .removed = 1},
                                   LineCount{.path = "d"}, LineCount{.path = "e/f", .added = 1}));
}

TEST_F(DiffTest, GitattributesAndGitFoldersInTheTreeAreFilesAndNothingElse) {
  WriteBoth(".gitattributes", "* binary\n", "* -diff\n*.c diff=evil\n");
  WriteBoth("sub/.gitattributes", "* binary\n", "* binary eol=crlf\n");
  WriteBoth("sub/text.c", "one\n", "two\n");
  WriteBoth(".git/config", "[core]\n", "[diff \"evil\"]\n\ttextconv = touch /tmp/evil\n");
  WriteBoth(".git/HEAD", "ref: refs/heads/a\n", "ref: refs/heads/b\n");
  Compare();
  EXPECT_THAT(diff_.patch,
              HasSubstr("--- a/sub/text.c\n+++ b/sub/text.c\n@@ -1 +1 @@\n-one\n+two\n"));
  EXPECT_THAT(diff_.patch, HasSubstr("--- a/.git/HEAD\n+++ b/.git/HEAD\n"));
}

TEST_F(DiffTest, ABigFileIsNamedAndNotShown) {
  Write(After("big"), std::string(kMaxDiffFileBytes + 1, 'x'));
  Write(After("edge"), std::string(kMaxDiffFileBytes, 'x'));
  Compare();
  EXPECT_THAT(diff_.patch, HasSubstr("Binary files /dev/null and b/big differ\n"));
  EXPECT_THAT(diff_.patch, HasSubstr("+++ b/edge\n"));
  EXPECT_THAT(diff_.counts[0], (LineCount{.path = "big", .binary = true}));
}

TEST_F(DiffTest, EndsAtTheLimitAfterAWholeLine) {
  Write(After("long"), std::string(1000, 'x') + "\n" + std::string(1000, 'y') + "\n");
  Compare(1500);
  EXPECT_TRUE(diff_.truncated);
  EXPECT_LE(diff_.patch.size(), 1500U);
  EXPECT_TRUE(diff_.patch.ends_with("x\n"));
}

TEST_F(DiffTest, NoSetuidBitAndNoForeignOwnerIsCopied) {
  WriteBoth("tool", "1\n", "2\n");
  ASSERT_EQ(::chmod(After("tool").c_str(), 06755), 0);
  Compare();
  struct stat info;
  ASSERT_EQ(::lstat((folder_ / "sides/b/tool").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0755U);
}

TEST_F(DiffTest, CanBeCancelled) {
  std::stop_source stop;
  stop.request_stop();
  Write(After("x"), "x");
  Compare();
  const auto sandbox = MakeSandbox();
  ASSERT_NE(sandbox, nullptr);
  const auto diff = DiffSides(*sandbox, list_, kEnough, stop.get_token());
  ASSERT_FALSE(diff);
  EXPECT_EQ(diff.error().code, ErrorCode::kCancelled);
}

}  // namespace
}  // namespace cofferdam::projects
