// Attacks on the host by way of a tenant's files: whatever lies there, what the host does with it
// stays in it, comes to an end, and costs what it should.

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cofferdam/platform.h>

#include "agent/bash_tool.h"
#include "base/check.h"
#include "fixture.h"
#include "outside.h"
#include "sys/file.h"

namespace cofferdam::escape {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr char kVictimText[] = "canary of the victim\n";

class TenantAttacks : public EscapeTest {
 protected:
  void SetUp() override {
    EscapeTest::SetUp();
    // Whoever gets here may change everything, as root could.
    for (const char* directory : {"", "/sub"})
      ASSERT_EQ(::mkdir((victim() + directory).c_str(), 0777), 0);
    for (const char* file : {"/canary", "/sub/canary"}) {
      const auto fd = sys::Open(victim() + file, O_WRONLY | O_CREAT, 0666);
      ASSERT_TRUE(fd && sys::WriteAll(fd->get(), kVictimText));
    }
  }
  void TearDown() override {
    ExpectVictimUnharmed();
    EscapeTest::TearDown();
  }

  /// A directory of the host's that no sandbox is shown.
  std::string victim() const { return files() / "victim"; }
  const std::string& work() const { return spec_.mounts[0].source; }

  void ExpectVictimUnharmed() const {
    for (const char* file : {"/canary", "/sub/canary"})
      EXPECT_EQ(sys::ReadFile(victim() + file).value_or("gone"), kVictimText);
    EXPECT_THAT(Names(victim()), ElementsAre("canary", "sub"));
    EXPECT_THAT(Names(victim() + "/sub"), ElementsAre("canary"));
  }

  static std::vector<std::string> Names(const std::string& path) {
    const auto directory = sys::Open(path, O_RDONLY | O_DIRECTORY);
    if (!directory) return {directory.error().message};
    std::vector<std::string> names = *sys::ListDirectory(directory->get());
    std::ranges::sort(names);
    return names;
  }

  static std::string TextBeneath(int directory, const std::string& path, sys::Links links) {
    const auto fd = sys::OpenBeneath(directory, path, O_RDONLY, links);
    return fd ? sys::ReadAll(fd->get(), 100).value_or("") : "";
  }

  /// Runs `host` while a process of the sandbox swaps a directory with a link to the victim.
  void WhileSwapping(const std::function<void()>& host) {
    const auto sandbox = Make();
    ASSERT_NE(sandbox, nullptr);
    std::stop_source stop;
    const Attempt attempt = Attack(
        *sandbox, {"swap_forever", victim()},
        [&](const std::string& printed) {
          EXPECT_EQ(printed, "succeeded");
          host();
          stop.request_stop();
        },
        {}, stop.get_token());
    ASSERT_TRUE(attempt.result) << attempt.outcome;
    EXPECT_TRUE(attempt.result->cancelled);
  }
};

// ---- Names that change while the host looks

TEST_F(TenantAttacks, SwapsDoNotLeadARemovalOutside) {
  const auto directory = sys::Open(work(), O_RDONLY | O_DIRECTORY);
  ASSERT_TRUE(directory);
  constexpr int kRounds = 1000;
  WhileSwapping([&] {
    for (int round = 0; round < kRounds; ++round)
      for (const char* name : {"swapped", "link"})
        // It may fail, since somebody is always faster; where it removes is what counts.
        static_cast<void>(sys::RemoveTree(directory->get(), name));
  });
  ExpectVictimUnharmed();
}

TEST_F(TenantAttacks, ControlWhoRemovesByPathsFollowsTheLink) {
  ASSERT_EQ(::symlink(victim().c_str(), (work() + "/link").c_str()), 0);
  const std::string path = work() + "/link/planted";
  ASSERT_TRUE(sys::Open(victim() + "/planted", O_WRONLY | O_CREAT, 0666));
  EXPECT_EQ(::unlink(path.c_str()), 0);
  EXPECT_THAT(Names(victim()), ElementsAre("canary", "sub"));
}

TEST_F(TenantAttacks, SwapsDoNotLeadAnOpenOutside) {
  const auto directory = sys::Open(work(), O_RDONLY | O_DIRECTORY);
  ASSERT_TRUE(directory);
  constexpr int kRounds = 2000;
  WhileSwapping([&] {
    for (int round = 0; round < kRounds; ++round)
      for (const sys::Links links : {sys::Links::kBeneath, sys::Links::kRefuse})
        for (const char* path : {"swapped/canary", "link/canary", "swapped/../link/sub/canary"})
          ASSERT_NE(TextBeneath(directory->get(), path, links), kVictimText);
  });
}

TEST_F(TenantAttacks, ControlWhoOpensByPathsFollowsTheLink) {
  ASSERT_EQ(::symlink(victim().c_str(), (work() + "/link").c_str()), 0);
  EXPECT_EQ(sys::ReadFile(work() + "/link/canary").value_or(""), kVictimText);
}

// A source below a directory that another tenant writes to. It was checked when it was named; by
// the time it is opened a part of its path is a link.
TEST_F(TenantAttacks, AMountSourceIsNotOpenedThroughALink) {
  ASSERT_EQ(::symlink(victim().c_str(), (work() + "/link").c_str()), 0);
  sandbox::SandboxSpec spec = spec_;
  spec.id = mark_ + "-mount";
  spec.mounts.push_back({work() + "/link/sub", "/mnt/sub", false});
  EXPECT_FALSE(sandbox::CheckMountSource(spec.mounts.back().source, ""));
  const auto made = MakeFrom(spec);
  ASSERT_FALSE(made) << "the sandbox has " << Names(work() + "/link/sub").size() << " files there";
  EXPECT_EQ(made.error().code, ErrorCode::kPermissionDenied);
}

TEST_F(TenantAttacks, SwapsDoNotPutAnotherDirectoryInTheMountsPlace) {
  constexpr int kRounds = 100;
  int taken = 0;
  WhileSwapping([&] {
    for (int round = 0; round < kRounds; ++round) {
      sandbox::SandboxSpec spec = spec_;
      spec.id = mark_ + "-" + std::to_string(round);
      spec.mounts.push_back({work() + "/swapped/sub", "/mnt/sub", false});
      static_cast<void>(::mkdir((work() + "/swapped/sub").c_str(), 0755));
      if (!sandbox::CheckMountSource(spec.mounts.back().source, "")) continue;
      const auto made = MakeFrom(spec);
      if (!made) continue;
      const auto names = (*made)->List("/mnt/sub", false);
      ASSERT_TRUE(names);
      ASSERT_THAT(*names, IsEmpty()) << "it sees the victim's files";
      ++taken;
    }
  });
  RecordProperty("mounted", taken);
}

// A place for a mount inside another mount that a tenant has filled with links.
TEST_F(TenantAttacks, ALinkInTheWayOfAMountPointCostsOnlyThatSandbox) {
  ASSERT_EQ(::symlink("/usr", (work() + "/to-usr").c_str()), 0);
  ASSERT_EQ(::symlink("/proc", (work() + "/to-proc").c_str()), 0);
  ASSERT_EQ(::symlink("/workspace", (work() + "/to-workspace").c_str()), 0);
  ASSERT_EQ(::symlink(victim().c_str(), (work() + "/to-victim").c_str()), 0);
  for (const char* link : {"to-usr", "to-proc", "to-workspace", "to-victim"}) {
    SCOPED_TRACE(link);
    sandbox::SandboxSpec spec = spec_;
    spec.id = mark_ + "-" + link;
    spec.mounts.push_back({work(), "/mnt/work", true});
    spec.mounts.push_back(
        {host().attacks_directory(), std::string("/mnt/work/") + link + "/inside", false});
    EXPECT_FALSE(MakeFrom(spec));
  }
  const auto sandbox = Make();
  ASSERT_NE(sandbox, nullptr) << "the launcher has survived it";
  ExpectWorking(*sandbox);
}

TEST_F(TenantAttacks, SwapsInTheWayOfAMountPointHarmNoOtherSandbox) {
  constexpr int kRounds = 10;
  const auto other = Make();
  ASSERT_NE(other, nullptr);
  WhileSwapping([&] {
    for (int round = 0; round < kRounds; ++round) {
      sandbox::SandboxSpec spec = spec_;
      spec.id = mark_ + "-" + std::to_string(round);
      spec.mounts.push_back({work(), "/mnt/work", true});
      spec.mounts.push_back({host().attacks_directory(), "/mnt/work/swapped/inside", false});
      static_cast<void>(MakeFrom(spec));
    }
  });
  ExpectWorking(*other);
}

// ---- Results that the host has the sandbox keep

class SpilledResults : public TenantAttacks {
 protected:
  void SetUp() override {
    TenantAttacks::SetUp();
    home_ = files() / "home";
    const auto tools = sandbox::ToolIdentity();
    ASSERT_EQ(::mkdir(home_.c_str(), 0755), 0);
    ASSERT_EQ(::chown(home_.c_str(), tools.uid, tools.gid), 0);
    spec_.mounts.push_back({home_, "/home/agent", true});
  }
  /// What the model is told of a command whose output has to be kept in a file.
  std::string RunLoudCommand() {
    const auto sandbox = Make();
    const agent::ToolContext context{
        .sandbox = [&]() -> Result<sandbox::Sandbox*> { return sandbox.get(); },
        .run_id = "run",
        .call_id = "call",
        .deadline = Deadline::Never()};
    const auto outcome = agent::NewBashTool()->Call(
        context, {{"command", "head -c 3000000 /dev/zero | tr '\\0' x"}});
    EXPECT_TRUE(outcome) << outcome.error().ToString();
    return outcome ? outcome->content : "";
  }
  std::string home_;
};

TEST_F(SpilledResults, AreKeptInTheSandbox) {
  EXPECT_THAT(RunLoudCommand(), HasSubstr("the whole output is in /home/agent/.cofferdam/"));
  struct stat info;
  ASSERT_EQ(::stat((home_ + "/.cofferdam/results/run/call.txt").c_str(), &info), 0);
  EXPECT_EQ(info.st_size, 3'000'000);
}

TEST_F(SpilledResults, DoNotFollowALinkToTheHost) {
  ASSERT_EQ(::symlink(victim().c_str(), (home_ + "/.cofferdam").c_str()), 0);
  EXPECT_THAT(RunLoudCommand(), HasSubstr("it could not be kept"));
}

TEST_F(SpilledResults, DoNotWaitForAPipeOrADevice) {
  ASSERT_TRUE(sys::MakeDirectories(home_ + "/.cofferdam/results/run", 0777));
  const std::string path = home_ + "/.cofferdam/results/run/call.txt";
  ASSERT_EQ(::mkfifo(path.c_str(), 0666), 0);
  EXPECT_THAT(RunLoudCommand(), HasSubstr("it could not be kept"));
  ASSERT_EQ(::unlink(path.c_str()), 0);
  ASSERT_EQ(::symlink("/dev/tty", path.c_str()), 0);
  EXPECT_THAT(RunLoudCommand(), HasSubstr("it could not be kept"));
}

TEST_F(SpilledResults, ControlAHostThatWritesByPathsFollowsTheLink) {
  ASSERT_EQ(::symlink(victim().c_str(), (home_ + "/.cofferdam").c_str()), 0);
  EXPECT_TRUE(sys::Open(home_ + "/.cofferdam/planted", O_WRONLY | O_CREAT, 0644));
  EXPECT_EQ(::unlink((victim() + "/planted").c_str()), 0) << "it was written there";
}

// ---- File operations, which run in a process of the worker's own program

TEST_F(TenantAttacks, FileOperationsDoNotGoThroughTheDescriptorsOfTheWorker) {
  const auto sandbox = Make();
  ASSERT_NE(sandbox, nullptr);
  for (const char* process : {"self", "thread-self", "1"}) {
    const std::string proc = "/proc/" + std::string(process);
    // The program of the worker, and whatever it was left.
    EXPECT_FALSE(sandbox->Read({.path = proc + "/exe"}, {})) << process;
    EXPECT_FALSE(sandbox->Write({.path = proc + "/exe", .bytes = "x", .append = true}, {}));
    for (int number = 0; number < 64; ++number) {
      const std::string path = proc + "/fd/" + std::to_string(number);
      EXPECT_FALSE(sandbox->Read({.path = path}, {})) << path;
      EXPECT_FALSE(sandbox->Write({.path = path, .bytes = "x", .append = true}, {})) << path;
    }
    EXPECT_FALSE(sandbox->Read({.path = proc + "/mem"}, {})) << process;
    EXPECT_FALSE(sandbox->Read({.path = proc + "/environ"}, {})) << process;
  }
  ExpectWorking(*sandbox);
}

// ---- Trees and names

class WorkspaceAttacks : public TenantAttacks {
 protected:
  void SetUp() override {
    TenantAttacks::SetUp();
    auto opened = Platform::Open({.state = files() / "state"});
    ASSERT_TRUE(opened) << opened.error().ToString();
    platform_.emplace(std::move(*opened));
    Settings settings;
    settings.mounts = {{host().attacks_directory(), "/mnt/attacks", false}};
    settings.seccomp_profile = std::string(sandbox::SeccompProfileName(profile()));
    if (!AsRoot()) settings.allow_missing = {"cgroup"};
    auto made = platform_->CreateWorkspace("tenant", settings);
    ASSERT_TRUE(made) << made.error().ToString();
    workspace_.emplace(std::move(*made));
  }
  std::string Attack(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), kProgramInside);
    arguments.push_back(mark_);
    std::string printed;
    const auto outcome = workspace_->Exec(
        {.argv = arguments}, [&](bool, std::string_view part) { printed += part; }, {});
    EXPECT_TRUE(outcome) << outcome.error().ToString();
    return Describe(printed, outcome ? outcome->signal : 0);
  }
  void ExpectGoneWithItsWorkspace() {
    // With as few descriptors as a host may have left.
    rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
    const rlimit few{300, before.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
    const Status deleted = platform_->DeleteWorkspace("tenant", LiveRuns::kRefuse);
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
    EXPECT_TRUE(deleted) << deleted.error().ToString();
    EXPECT_THAT(Names(files() / "state/workspaces"), IsEmpty());
  }
  std::optional<Platform> platform_;
  std::optional<Workspace> workspace_;
};

TEST_F(WorkspaceAttacks, AHostileTreeGoesWithItsWorkspace) {
  EXPECT_EQ(Attack({"hostile_tree", victim()}), "succeeded");
  ExpectGoneWithItsWorkspace();
}

TEST_F(WorkspaceAttacks, ATreeDeeperThanAnyPathGoesWithItsWorkspace) {
  EXPECT_EQ(Attack({"deep_tree", "500"}), "succeeded");
  ExpectGoneWithItsWorkspace();
}

TEST_F(TenantAttacks, ControlATreeCanBeTooDeepForPaths) {
  constexpr int kDepth = 20;
  const std::string name(250, 'd');
  EXPECT_EQ(AttackOutside({"deep_tree", std::to_string(kDepth)},
                          {.working_directory = host().scratch_directory()}),
            "succeeded");
  std::string path = host().scratch_directory();
  for (int i = 0; i < kDepth; ++i) path += "/" + name;
  EXPECT_EQ(::unlink((path + "/bottom").c_str()), -1);
  EXPECT_EQ(errno, ENAMETOOLONG);
  const auto scratch = sys::Open(host().scratch_directory(), O_RDONLY | O_DIRECTORY);
  EXPECT_TRUE(sys::RemoveTree(scratch->get(), name));
}

TEST_F(TenantAttacks, AHostileTreeIsListedSearchedAndRemovedInTheSandbox) {
  const auto sandbox = Make();
  ASSERT_NE(sandbox, nullptr);
  EXPECT_EQ(Attack(*sandbox, {"hostile_tree", victim()}).outcome, "succeeded");
  const auto entries = sandbox->List("hostile", true);
  ASSERT_TRUE(entries) << entries.error().ToString();
  EXPECT_GT(entries->size(), 10u);
  const auto found = sandbox->Find({.glob = "**", .path = "hostile"}, {});
  ASSERT_TRUE(found) << found.error().ToString();
  EXPECT_THAT(found->paths, testing::Contains(HasSubstr("new\nline")));
  const auto lines = sandbox->Grep({.pattern = "canary", .path = "hostile"}, {});
  ASSERT_TRUE(lines) << lines.error().ToString();
  EXPECT_THAT(lines->lines, IsEmpty()) << "no link is followed";
  const Status removed = sandbox->Remove("hostile", true);
  EXPECT_TRUE(removed) << removed.error().ToString();
}

// The search looks no deeper than its own bound, and removal has none.
TEST_F(TenantAttacks, ADeepTreeIsListedSearchedAndRemovedInTheSandbox) {
  spec_.limits.open_files = 256;
  const auto sandbox = Make();
  ASSERT_NE(sandbox, nullptr);
  EXPECT_EQ(Attack(*sandbox, {"deep_tree", "500"}).outcome, "succeeded");
  EXPECT_TRUE(sandbox->List("", true));
  const auto found = sandbox->Find({.glob = "bottom"}, {});
  ASSERT_TRUE(found) << found.error().ToString();
  EXPECT_THAT(found->paths, IsEmpty());
  const Status removed = sandbox->Remove(std::string(250, 'd'), true);
  EXPECT_TRUE(removed) << removed.error().ToString();
}

TEST_F(TenantAttacks, AHundredThousandNamesWithNewlinesGiveBoundedAnswers) {
  constexpr int kFiles = 100'000;
  const FastDirectory fast;
  spec_.mounts[0].source = fast.path();
  const auto sandbox = Make();
  ASSERT_NE(sandbox, nullptr);
  EXPECT_EQ(Attack(*sandbox, {"newline_files", std::to_string(kFiles)}).outcome, "succeeded");
  const auto entries = sandbox->List("newlines", true);
  ASSERT_FALSE(entries);
  EXPECT_EQ(entries.error().code, ErrorCode::kTooLarge);
  const auto found = sandbox->Find({.glob = "*", .path = "newlines", .max_results = 1000}, {});
  ASSERT_TRUE(found) << found.error().ToString();
  EXPECT_TRUE(found->truncated);
  EXPECT_EQ(found->paths.size(), 1000u);
  EXPECT_THAT(found->paths, testing::Each(testing::StartsWith("a\nb\r")));
  const auto lines = sandbox->Grep({.pattern = ".", .path = "newlines"}, {});
  ASSERT_TRUE(lines) << lines.error().ToString();
  EXPECT_THAT(lines->lines, IsEmpty());
  const Status removed = sandbox->Remove("newlines", true);
  EXPECT_TRUE(removed) << removed.error().ToString();
  EXPECT_THAT(Names(fast.path()), IsEmpty());
}

TEST_F(TenantAttacks, ControlNamesWithNewlinesLookLikeMore) {
  constexpr int kFiles = 10;
  EXPECT_EQ(AttackOutside({"newline_files", std::to_string(kFiles)}), "succeeded");
  std::string listing;
  const std::string directory = host().scratch_directory() + "/newlines";
  for (const std::string& name : Names(directory)) listing += name + "\n";
  EXPECT_EQ(std::ranges::count(listing, '\n'), 3 * kFiles);
  ASSERT_TRUE(sys::RemoveTree(AT_FDCWD, directory));
}

// ---- Files that say they are large

TEST_F(TenantAttacks, ASparseFileCostsWhatIsReadOfIt) {
  constexpr std::uint64_t kBytes = std::uint64_t{4} << 30;
  const FastDirectory fast;
  spec_.mounts[0].source = fast.path();
  spec_.limits.memory_bytes = 64 << 20;
  const auto sandbox = Make();
  ASSERT_NE(sandbox, nullptr);
  EXPECT_EQ(Attack(*sandbox, {"sparse_file", "4"}).outcome, "succeeded");
  const auto start = sandbox->Read({.path = "sparse"}, {});
  ASSERT_TRUE(start) << start.error().ToString();
  EXPECT_EQ(start->bytes.size(), std::size_t{1} << 20);
  EXPECT_EQ(start->total_size, kBytes);
  const auto end = sandbox->Read({.path = "sparse", .offset = kBytes - 10}, {});
  ASSERT_TRUE(end) << end.error().ToString();
  EXPECT_EQ(end->bytes, std::string(10, '\0'));
  // One line of 4 GiB: what is kept of it is bounded, and the sandbox has 64 MiB.
  const auto lines = sandbox->Grep({.pattern = "^x+"}, {});
  ASSERT_TRUE(lines) << lines.error().ToString();
  ASSERT_EQ(lines->lines.size(), 1u);
  EXPECT_LT(lines->lines[0].text.size(), 4096u);
  ExpectWorking(*sandbox);
}

}  // namespace
}  // namespace cofferdam::escape
