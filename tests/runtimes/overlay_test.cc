// Programs that move directories about, at work on an overlay above a project that they have made
// before: what they rename there are directories of the layer, which an ordinary user cannot.
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "programs.h"
#include "sandbox/local_sandbox.h"
#include "sandbox/overlay.h"
#include "sys/testing/temp_dir.h"

namespace cofferdam::sandbox {
namespace {

class OnAnOverlay : public testing::Test {
 protected:
  void SetUp() override {
    auto launcher = Launcher::Start(0);
    ASSERT_TRUE(launcher) << launcher.error().ToString();
    launcher_ = std::move(*launcher);
    for (const char* name : {"project", "changes", "changes/upper"})
      ASSERT_EQ(::mkdir((files_ / name).c_str(), 0755), 0);
    const std::string upper = files_ / "changes/upper";
    ASSERT_EQ(::chown(upper.c_str(), ToolIdentity().uid, ToolIdentity().gid), 0);
    if (!launcher_->cgroups()) spec_.allow_missing = LayerSet().With(Layer::kCgroup);
    spec_.id = "on-an-overlay";
    spec_.limits.memory_bytes = 2ull << 30;
    spec_.limits.processes = 400;
  }

  // What a script says whose every line ends well, in the project itself or above it.
  std::string InProject(const std::string& script) {
    return Run(
        {.source = files_ / "project", .target = "/workspace", .writable = true, .owner = Me()},
        script);
  }
  std::string Above(const std::string& script) {
    if (shared_ == nullptr) {
      auto shared = MountOverlay(*launcher_, {.lowers = {{files_ / "project", Me()}},
                                              .parent = files_ / "changes",
                                              .upper = "upper",
                                              .work = "work",
                                              .identity = ToolIdentity()});
      EXPECT_TRUE(shared) << shared.error().ToString();
      if (!shared) return "no overlay";
      shared_ = *shared;
    }
    return Run({.target = "/workspace", .writable = true, .shared = shared_}, script);
  }

  // Every file of the project, what kind it is and when it was changed.
  std::string ProjectAsItIs() {
    std::string text;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(files_ / "project")) {
      struct stat info;
      EXPECT_EQ(::lstat(entry.path().c_str(), &info), 0);
      text += entry.path().string() + " " + std::to_string(info.st_mode) + " " +
              std::to_string(info.st_ctim.tv_sec) + "." + std::to_string(info.st_ctim.tv_nsec) +
              "\n";
    }
    return text;
  }

  SandboxSpec spec_;

 private:
  static HostIdentity Me() { return {::geteuid(), ::getegid()}; }

  std::string Run(const Mount& workspace, const std::string& script) {
    SandboxSpec spec = spec_;
    spec.mounts.insert(spec.mounts.begin(), workspace);
    const auto sandbox = LocalSandbox::Create(*launcher_, spec, Deadline::Never());
    if (!sandbox) return sandbox.error().ToString();
    std::string said;
    const auto result = (*sandbox)->Exec(
        {.argv = {"/bin/sh", "-e", "-c", script}, .timeout = std::chrono::minutes(3)},
        [&](OutputStream, std::string_view bytes) { said += bytes; }, {});
    if (!result) return said + result.error().ToString();
    return result->exit_code == 0 ? said : said + "exit " + std::to_string(result->exit_code);
  }

  sys::TempDir files_;
  std::unique_ptr<Launcher> launcher_;
  std::shared_ptr<const SharedMount> shared_;
};

TEST_F(OnAnOverlay, Git) {
  if (!FindInUsr("git")) GTEST_SKIP() << "there is no git in /usr";
  spec_.environment = {{"GIT_AUTHOR_NAME", "A"},
                       {"GIT_AUTHOR_EMAIL", "a@example.com"},
                       {"GIT_COMMITTER_NAME", "A"},
                       {"GIT_COMMITTER_EMAIL", "a@example.com"}};
  ASSERT_EQ(InProject(R"(
git init -q -b main .
mkdir -p source/deep old
for i in 1 2 3 4 5 6 7 8 9; do echo $i > source/deep/$i; echo $i > old/$i; done
echo ignored > .gitignore; echo x > ignored
git add .; git commit -qm first
git checkout -q -b other; git mv old elsewhere; git commit -qm moved; git checkout -q main
git gc -q
)"),
            "");
  const std::string before = ProjectAsItIs();
  EXPECT_EQ(Above(R"(
git status --short
mv source renamed; git add -A; git commit -qm renamed
mv renamed/deep renamed/deeper; git add -A; git commit -qm deeper
git merge -q -m merged other
test -f elsewhere/9; test ! -e old; test -f renamed/deeper/1; test ! -e source
git checkout -q other; test -f source/deep/1; git checkout -q main
echo more >> renamed/deeper/1; git stash -q; git stash pop -q; git commit -qam more
git branch feature/one; git branch -m feature/one another
git clone -q . /tmp/clone; git -C /tmp/clone log --oneline | wc -l
git clone -q /tmp/clone clone; rm -rf clone
git repack -qad; git gc -q --prune=now; git fsck --no-progress 2>&1
git worktree add -q ../tmp/tree other; git worktree remove ../tmp/tree
git status --short
)"),
            "6\n");
  EXPECT_EQ(Above("git fsck --no-progress; git status --short; git log --oneline | wc -l"), "6\n")
      << "in another sandbox";
  EXPECT_EQ(ProjectAsItIs(), before);
}

// It makes one system call, where mv copies when that is refused.
TEST_F(OnAnOverlay, GitMvOfADirectoryOfTheProjectWorksForRootOnly) {
  if (!FindInUsr("git")) GTEST_SKIP() << "there is no git in /usr";
  ASSERT_EQ(InProject("git init -q -b main .; mkdir folder; echo 1 > folder/1; git add ."), "");
  const std::string said = Above("git mv folder/1 folder/2; git mv folder renamed; ls renamed");
  if (OverlaysAreTrusted())
    EXPECT_EQ(said, "2\n");
  else
    EXPECT_THAT(said, testing::HasSubstr("Invalid cross-device link"));
  EXPECT_EQ(Above("mkdir made; echo > made/x; git add .; git mv made moved; ls moved"), "x\n");
}

TEST_F(OnAnOverlay, Npm) {
  if (!FindInUsr("node") || !FindInUsr("npm")) GTEST_SKIP() << "there is no npm in /usr";
  spec_.environment = {{"npm_config_offline", "true"},   {"npm_config_audit", "false"},
                       {"npm_config_fund", "false"},     {"npm_config_update_notifier", "false"},
                       {"npm_config_cache", "/tmp/npm"}, {"npm_config_loglevel", "error"}};
  ASSERT_EQ(InProject(R"(
mkdir -p part/lib
echo '{"name": "part", "version": "1.0.0", "main": "lib/main.js"}' > part/package.json
echo 'module.exports = 1' > part/lib/main.js
(cd part && npm pack --silent --pack-destination .. >/dev/null)
sed -i s/1.0.0/2.0.0/ part/package.json; echo 'module.exports = 2' > part/lib/main.js
(cd part && npm pack --silent --pack-destination .. >/dev/null)
echo '{"name": "whole", "version": "1.0.0"}' > package.json
npm install --silent ./part-1.0.0.tgz >/dev/null
node -p 'require("part")'
)"),
            "1\n");
  const std::string before = ProjectAsItIs();
  // A new version takes the place of the directory that the layer has.
  EXPECT_EQ(Above(R"(
npm install --silent ./part-2.0.0.tgz >/dev/null
node -p 'require("part")'
npm uninstall --silent part >/dev/null
test ! -e node_modules/part
npm install --silent ./part >/dev/null
node -p 'require("part")'
npm install --silent ./part-1.0.0.tgz >/dev/null
npm ci --silent >/dev/null
node -p 'require("part")'
)"),
            "2\n2\n1\n");
  EXPECT_EQ(Above("node -p 'require(\"part\")'"), "1\n") << "in another sandbox";
  EXPECT_EQ(ProjectAsItIs(), before);
}

TEST_F(OnAnOverlay, Cargo) {
  const auto cargo = FindOfRust("cargo");
  if (!cargo) GTEST_SKIP() << "there is no cargo in /usr or of rustup";
  if (!FindInUsr("cc")) GTEST_SKIP() << "there is no linker in /usr";
  if (cargo->mount) spec_.mounts.push_back(*cargo->mount);
  spec_.environment = {
      {"PATH", std::filesystem::path(cargo->path).parent_path().string() + ":/usr/bin:/bin"},
      {"CARGO_HOME", "/tmp/cargo"},
      {"CARGO_NET_OFFLINE", "true"},
      {"CARGO_TERM_QUIET", "true"}};
  ASSERT_EQ(InProject(R"(
mkdir src
printf '[package]\nname = "whole"\nversion = "1.0.0"\nedition = "2021"\n' > Cargo.toml
echo 'mod part; fn main() { println!("{}", part::NUMBER); }' > src/main.rs
echo 'pub const NUMBER: u32 = 1;' > src/part.rs
cargo run
)"),
            "1\n");
  const std::string before = ProjectAsItIs();
  EXPECT_THAT(Above(R"(
cargo build; ./target/debug/whole
echo 'pub const NUMBER: u32 = 2;' > src/part.rs; cargo run
mkdir src/part; mv src/part.rs src/part/mod.rs; cargo run
cargo build --release; ./target/release/whole
mv src sources; mv sources src; cargo test
cargo clean; cargo run
)"),
              testing::AllOf(testing::StartsWith("1\n2\n2\n2\n"), testing::EndsWith("2\n")));
  EXPECT_EQ(Above("cargo run"), "2\n") << "in another sandbox";
  EXPECT_EQ(ProjectAsItIs(), before);
}

}  // namespace
}  // namespace cofferdam::sandbox
