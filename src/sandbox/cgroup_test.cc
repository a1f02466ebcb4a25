#include "sandbox/cgroup.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sys/fd.h"
#include "sys/file.h"
#include "sys/process.h"

namespace cofferdam::sandbox {
namespace {

// In the guest it is known what must be there: tests/guest/programs.
std::string Guest() {
  const char* const who = ::getenv("COFFERDAM_GUEST");
  return who != nullptr ? who : "";
}

// A process in a group, until it is killed.
class Member {
 public:
  explicit Member(const Cgroup& group) {
    const auto files = *group.OpenJoinFiles();
    sys::Pipe joined = *sys::NewPipe();
    pid_ = ::fork();
    if (pid_ == 0) {
      for (const sys::UniqueFd& file : files)
        if (!sys::WriteAll(file.get(), "0")) ::_exit(1);
      UseMemoryAndTime();
      static_cast<void>(sys::WriteAll(joined.write_end.get(), "."));
      for (;;) ::pause();
    }
    joined.write_end.Reset();
    char byte;
    EXPECT_EQ(*sys::Read(joined.read_end.get(), {&byte, 1}), 1u) << "it could not join";
    proc_ = *sys::Open("/proc/" + std::to_string(pid_), O_RDONLY | O_DIRECTORY);
  }
  ~Member() { Kill(); }
  int proc() const { return proc_.get(); }
  /// Waits for its end; the signal that ended it.
  int Reap() {
    const int status = *sys::Reap(std::exchange(pid_, -1));
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  }
  void Kill() {
    if (pid_ < 0) return;
    ::kill(pid_, SIGKILL);
    Reap();
  }
  static constexpr std::size_t kMemory = 8 << 20;

 private:
  static void UseMemoryAndTime() {
    std::vector<char> memory(kMemory);
    for (std::size_t i = 0; i < memory.size(); i += 512)
      *const_cast<volatile char*>(&memory[i]) = static_cast<char>(i);
  }
  pid_t pid_ = -1;
  sys::UniqueFd proc_;
};

Limits EveryLimit(const CgroupRoot& root) {
  Limits limits;
  limits.memory_bytes = 96 << 20;
  limits.memory_high_bytes = 64 << 20;
  limits.processes = 33;
  if (root.HasController("cpu")) {
    limits.cpu_millis_per_second = 500;
    limits.cpu_weight = 50;
  }
  return limits;
}

// "MAJ:MIN" of some disk; any will do, since nothing in the group reads or writes.
std::optional<IoLimit> SomeDevice() {
  const auto disks = sys::Open("/sys/block", O_RDONLY | O_DIRECTORY);
  if (!disks) return std::nullopt;
  const auto names = *sys::ListDirectory(disks->get());
  for (const std::string& name : names) {
    std::string text = sys::ReadFile("/sys/block/" + name + "/dev").value_or("");
    if (!text.empty()) text.pop_back();
    if (const auto limit = ParseIoLimit(text + " rbps=1048576 wiops=100")) return *limit;
  }
  return std::nullopt;
}

TEST(Cgroup, ReadsBackEveryLimitThatIsInForce) {
  const auto root = CgroupRoot::Open();
  if (!root) GTEST_SKIP() << root.error().message;
  Limits limits = EveryLimit(*root);
  auto group = root->Make(limits);
  ASSERT_TRUE(group) << group.error().ToString();
  Member member(*group);
  auto seen = group->Verify(member.proc());
  ASSERT_TRUE(seen) << seen.error().ToString();
  EXPECT_THAT(*seen, testing::HasSubstr(": memory 100663296, high 67108864, pids 33, cpu "));

  // Each is taken back, too.
  ASSERT_TRUE(group->SetLimits({}));
  seen = group->Verify(member.proc());
  ASSERT_TRUE(seen) << seen.error().ToString();
  EXPECT_THAT(*seen, testing::EndsWith(": memory 536870912, pids 100, cpu unlimited"));
}

TEST(Cgroup, IsNotVerifiedWithAnotherLimitThanWasAskedFor) {
  const auto root = CgroupRoot::Open();
  if (!root) GTEST_SKIP() << root.error().message;
  const auto group = root->Make(EveryLimit(*root));
  ASSERT_TRUE(group) << group.error().ToString();
  Member member(*group);
  const std::string memory = root->is_v2() ? "memory.high" : "memory.soft_limit_in_bytes";
  // In whichever hierarchy that file is.
  int changed = 0;
  for (const int directory : root->Descriptors()) {
    const auto names = *sys::ListDirectory(directory);
    for (const std::string& name : names)
      if (name.starts_with("sandbox-") && sys::WriteFileAt(directory, name + "/" + memory, "4096"))
        ++changed;
  }
  ASSERT_EQ(changed, 1);
  const auto seen = group->Verify(member.proc());
  ASSERT_FALSE(seen);
  EXPECT_EQ(seen.error().code, ErrorCode::kNotVerified);
  EXPECT_THAT(seen.error().message, testing::HasSubstr(memory + " is 4096 instead of 67108864"));
}

TEST(Cgroup, LimitsADeviceThatIsNamed) {
  const auto root = CgroupRoot::Open();
  if (!root) GTEST_SKIP() << root.error().message;
  const auto device = SomeDevice();
  if (!root->HasController("io")) GTEST_SKIP() << "there is no io controller here";
  if (!device) GTEST_SKIP() << "there is no block device here";
  Limits limits;
  limits.io = {*device};
  auto group = root->Make(limits);
  ASSERT_TRUE(group) << group.error().ToString();
  Member member(*group);
  const auto seen = group->Verify(member.proc());
  ASSERT_TRUE(seen) << seen.error().ToString();
  EXPECT_THAT(*seen, testing::EndsWith(" rbps=1048576 wbps=max riops=max wiops=100"));
  ASSERT_TRUE(group->SetLimits({}));
  ASSERT_TRUE(group->Verify(member.proc()));
  EXPECT_EQ(root->Make({.io = {{.major = 4095, .minor = 1, .read_bytes = 1}}}).error().sys_errno,
            ENODEV);
}

TEST(Cgroup, KillEndsWhateverIsInTheGroup) {
  const auto root = CgroupRoot::Open();
  if (!root) GTEST_SKIP() << root.error().message;
  if (!root->is_v2()) GTEST_SKIP() << "version 1 has no cgroup.kill";
  auto group = root->Make({});
  ASSERT_TRUE(group) << group.error().ToString();
  Member first(*group);
  Member frozen(*group);
  ASSERT_TRUE(group->Freeze());
  ASSERT_TRUE(group->Kill());
  EXPECT_EQ(first.Reap(), SIGKILL);
  EXPECT_EQ(frozen.Reap(), SIGKILL);
}

TEST(Cgroup, CountsWhatItsProcessesUsedAndARecycledOneBeginsAnew) {
  const auto root = CgroupRoot::Open();
  if (!root) GTEST_SKIP() << root.error().message;
  auto group = root->Make({});
  ASSERT_TRUE(group) << group.error().ToString();
  {
    const Member member(*group);
  }
  const auto usage = group->Usage();
  ASSERT_TRUE(usage) << usage.error().ToString();
  EXPECT_GE(usage->memory_peak_bytes, Member::kMemory);
  if (root->is_v2()) {
    EXPECT_GT(usage->cpu_micros.value_or(0), 0u);
  }
  EXPECT_EQ(usage->memory_pressure_micros.has_value(),
            root->is_v2() && ::access("/proc/pressure/memory", F_OK) == 0);
  if (!group->Recycle(Deadline::After(std::chrono::seconds(10)))) return;
  const auto again = group->Usage();
  ASSERT_TRUE(again);
  EXPECT_LT(again->memory_peak_bytes, Member::kMemory);
  EXPECT_EQ(again->cpu_micros.value_or(0), 0u);
}

TEST(CgroupRoot, IsThereWhereTheGuestIsLaidOutForIt) {
  if (Guest().empty()) GTEST_SKIP() << "this is not the guest; see tests/guest";
  const auto root = CgroupRoot::Open();
  if (Guest() == "session") {
    ASSERT_FALSE(root) << "nothing is delegated to a log-in session";
    EXPECT_EQ(root.error().code, ErrorCode::kLayerMissing);
    EXPECT_THAT(root.error().message, testing::HasSubstr("other processes are in it"));
    EXPECT_THAT(root.error().hint, testing::HasSubstr("systemd-run --user --scope"));
    return;
  }
  ASSERT_TRUE(root) << root.error().ToString();
  EXPECT_TRUE(root->is_v2());
  const std::string own = *ParseCgroupPath(*sys::ReadFile("/proc/self/cgroup"), "");
  if (!Guest().ends_with("-crowded")) {
    EXPECT_THAT(own, testing::EndsWith("/cofferdam-host"));
    return;
  }
  // Whoever was there before is still where it was, and so are we.
  const std::string neighbour = ::getenv("COFFERDAM_GUEST_NEIGHBOUR");
  const auto its_groups = sys::ReadFile("/proc/" + neighbour + "/cgroup");
  ASSERT_TRUE(its_groups) << its_groups.error().ToString();
  EXPECT_EQ(*ParseCgroupPath(*its_groups, ""), own);
}

TEST(CgroupRoot, ManyHostsThatStartAtOnceDoNotSweepEachOtherAway) {
  if (const auto root = CgroupRoot::Open(); !root) GTEST_SKIP() << root.error().message;
  constexpr int kHosts = 12;
  constexpr int kStarts = 20;
  sys::Pipe gate = *sys::NewPipe();
  std::vector<pid_t> hosts;
  for (int i = 0; i < kHosts; ++i) {
    hosts.push_back(::fork());
    if (hosts.back() != 0) continue;
    gate.write_end.Reset();
    char byte;
    static_cast<void>(sys::Read(gate.read_end.get(), {&byte, 1}));
    bool all = true;
    for (int start = 0; start < kStarts; ++start) all &= CgroupRoot::Open().has_value();
    ::_exit(all ? 0 : 1);
  }
  gate.write_end.Reset();
  for (const pid_t host : hosts) EXPECT_EQ(*sys::Reap(host), 0);
}

TEST(CgroupRoot, RemovesWhatADeadHostHasLeftAndNothingOfALiveOne) {
  auto live = CgroupRoot::Open();
  if (!live) GTEST_SKIP() << live.error().message;
  const auto live_group = live->Make({});
  ASSERT_TRUE(live_group) << live_group.error().ToString();
  sys::Pipe names = *sys::NewPipe();
  const pid_t dead_host = ::fork();
  if (dead_host == 0) {
    auto root = CgroupRoot::Open();
    const bool made = root && root->Make({}).has_value();
    if (made) static_cast<void>(sys::WriteAll(names.write_end.get(), root->directory_name()));
    ::_exit(0);  // without any destructor, as when it is killed
  }
  names.write_end.Reset();
  ASSERT_TRUE(sys::Reap(dead_host));
  const std::string left = *sys::ReadAll(names.read_end.get(), 256);
  ASSERT_FALSE(left.empty());

  const auto next = CgroupRoot::Open();
  ASSERT_TRUE(next);
  const std::vector<int> fds = next->Descriptors();
  for (std::size_t parent = 0; parent < fds.size(); parent += 2) {
    const auto found = *sys::ListDirectory(fds[parent]);
    EXPECT_THAT(found, testing::Not(testing::Contains(left)));
    EXPECT_THAT(found, testing::Contains(live->directory_name()));
  }
}

}  // namespace
}  // namespace cofferdam::sandbox
