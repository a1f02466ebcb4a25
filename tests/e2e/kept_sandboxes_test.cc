// A session's sandbox between two runs: kept, frozen, woken, and ended.
#include <fcntl.h>

#include <algorithm>
#include <set>

#include "base/split.h"
#include "fixture.h"

namespace cofferdam::e2e {
namespace {

using testing::Contains;
using testing::Not;

constexpr char kLeaveAFile[] = R"(
turns:
  - tool_calls: [{name: bash, arguments: {command: "echo mine > /tmp/file; sleep 1000 &"}}]
  - text: Done.
)";
constexpr char kLookForIt[] = R"(
turns:
  - tool_calls: [{name: bash, arguments: {command: "cat /tmp/file; pgrep -c sleep"}}]
  - text: '{{results}}'
)";

/// What the kernel says about a group's freezer, by the path of the group.
std::set<std::string> FrozenBelow(const std::string& mount, const std::string& file,
                                  const std::string& frozen, const std::string& parent) {
  std::set<std::string> groups;
  const auto directory = sys::Open(mount + parent, O_RDONLY | O_DIRECTORY);
  if (!directory) return groups;
  const std::vector<std::string> platforms = *sys::ListDirectory(directory->get());
  for (const std::string& platform : platforms) {
    const auto below = sys::OpenAt(directory->get(), platform, O_RDONLY | O_DIRECTORY);
    if (!platform.starts_with("cofferdam-") || !below) continue;
    const std::vector<std::string> names = *sys::ListDirectory(below->get());
    for (const std::string& name : names) {
      const auto state = sys::ReadFileAt(below->get(), name + "/" + file);
      if (state && state->starts_with(frozen)) groups.insert(platform + "/" + name);
    }
  }
  return groups;
}

/// The frozen groups of all hosts (version 1: FROZEN, or FREEZING while one of its processes is in
/// a system call that cannot be interrupted) that share this process's group.
std::set<std::string> FrozenGroups() {
  const std::string text = *sys::ReadFile("/proc/self/cgroup");
  for (const std::string_view line : Split(text, '\n'))
    if (const std::size_t at = line.find(":freezer:"); at != std::string_view::npos)
      return FrozenBelow("/sys/fs/cgroup/freezer", "freezer.state", "FR",
                         std::string(line.substr(at + 9)));
  return FrozenBelow("/sys/fs/cgroup", "cgroup.freeze", "1", text.substr(text.rfind("::") + 2));
}

class KeptSandboxTest : public PlatformFixture {
 protected:
  void SetUp() override {
    PlatformFixture::SetUp();
    before_ = FrozenGroups();
    const RunResult probe = PlayKept("turns: [{tool_calls: [{name: ls}]}, {text: x}]", "probe");
    const json::Json kept = *Data(probe, "sandbox.kept");
    if (!kept.at("kept").get<bool>())
      GTEST_SKIP() << "cannot run here: " << kept.at("problem").get<std::string>();
  }

  RunResult PlayKept(const std::string& script, const std::string& session = "main",
                     Settings settings = {}) {
    RunOptions options = Options(script, session);
    options.settings = settings;
    options.settings.keep_sandbox_s = 1000;
    return Play(options);
  }

  /// The data of the run's event of that type.
  static std::optional<json::Json> Data(const RunResult& result, const std::string& type) {
    for (const json::Json& event : Events(result))
      if (event.at("type") == type) return event.at("data");
    return std::nullopt;
  }

  /// Frozen since the test began; the probe's is one of them.
  std::size_t Frozen() const {
    const std::set<std::string> now = FrozenGroups();
    return static_cast<std::size_t>(
        std::ranges::count_if(now, [this](const auto& group) { return !before_.contains(group); }));
  }

  std::set<std::string> before_;
};

TEST_F(KeptSandboxTest, TheNextRunOfTheSessionFindsTheSameSandbox) {
  const RunResult first = PlayKept(kLeaveAFile);
  ASSERT_FALSE(first.error) << first.error->ToString();
  EXPECT_TRUE(Data(first, "sandbox.kept")->at("kept"));
  RunOptions options = Options(kLookForIt);
  options.settings.keep_sandbox_s = 1000;
  bool resumed = false;
  options.on_event = [&resumed](const RunEvent& event) {
    if (const auto* ready = std::get_if<SandboxReadyEvent>(&event)) resumed = ready->resumed;
  };
  const RunResult second = Play(options);
  EXPECT_TRUE(resumed);
  EXPECT_THAT(second.text, testing::HasSubstr("mine\n0\n")) << "the file, and no process";
  EXPECT_THAT(EventTypes(second), Not(Contains("sandbox.made")));
  const auto event = Data(second, "sandbox.resumed");
  ASSERT_TRUE(event);
  EXPECT_EQ(event->at("sandbox"), first.run_id);
  EXPECT_EQ(event->at("layers"), Data(first, "sandbox.verified")->at("layers"));
  EXPECT_TRUE(alice_->VerifyRun(second.run_id)->complete);
}

TEST_F(KeptSandboxTest, IsFrozenBetweenRunsAndOthersHaveTheirOwn) {
  EXPECT_EQ(Frozen(), 1U);
  PlayKept(kLeaveAFile, "a");
  EXPECT_EQ(Frozen(), 2U);
  const RunResult other = PlayKept(kLookForIt, "b");
  EXPECT_THAT(other.text, Not(testing::HasSubstr("mine")));
  EXPECT_THAT(EventTypes(other), Contains("sandbox.made"));
  EXPECT_EQ(Frozen(), 3U);
}

TEST_F(KeptSandboxTest, WithoutTheSettingNothingIsKept) {
  const RunResult first = Play(kLeaveAFile);
  EXPECT_FALSE(Data(first, "sandbox.kept"));
  EXPECT_EQ(Frozen(), 1U);
  EXPECT_THAT(PlayKept(kLookForIt).text, Not(testing::HasSubstr("mine")));
}

TEST_F(KeptSandboxTest, OtherSettingsGetANewOne) {
  PlayKept(kLeaveAFile);
  const RunResult second = PlayKept(kLookForIt, "main", {.memory_mib = 100});
  EXPECT_THAT(EventTypes(second), Contains("sandbox.made"));
  EXPECT_THAT(second.text, Not(testing::HasSubstr("mine")));
  EXPECT_EQ(Frozen(), 2U) << "the old one has ended";
}

TEST_F(KeptSandboxTest, TheDiskLimitHoldsForTheRunThatTakesIt) {
  const Settings settings{.disk_mib = 16};
  const std::string write = "head -c 10485760 /dev/zero > ";
  const auto script = [&write](const std::string& file) {
    return "turns: [{tool_calls: [{name: bash, arguments: {command: '" + write + file +
           "'}}]}, {text: x}]";
  };
  ASSERT_FALSE(PlayKept(script("a"), "main", settings).error);
  const RunResult second = PlayKept(script("b"), "main", settings);
  const auto resumed = Data(second, "sandbox.resumed");
  ASSERT_TRUE(resumed);
  EXPECT_EQ(resumed->at("disk").at("bytes"), 16 << 20);
  if (resumed->at("disk").at("mechanism") != "soft") GTEST_SKIP() << "the kernel keeps the limit";
  ASSERT_TRUE(second.error);
  EXPECT_EQ(second.error->code, ErrorCode::kDiskLimit);
  EXPECT_FALSE(Data(second, "sandbox.kept")->at("kept"));
}

TEST_F(KeptSandboxTest, EndsWithItsWorkspaceAndWithThePlatform) {
  PlayKept(kLeaveAFile);
  ASSERT_TRUE(platform_->DeleteWorkspace("alice", LiveRuns::kRefuse));
  EXPECT_EQ(Frozen(), 0U);
  alice_.emplace(*platform_->CreateWorkspace("alice"));
  EXPECT_THAT(PlayKept(kLookForIt).text, Not(testing::HasSubstr("mine")));
  EXPECT_EQ(Frozen(), 1U);
  alice_.reset();
  platform_.reset();
  EXPECT_EQ(Frozen(), 0U);
}

}  // namespace
}  // namespace cofferdam::e2e
