// One tenant uses up what the kernel counts for a user; another, and the host, notice nothing.

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <ostream>
#include <stop_token>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "fixture.h"
#include "outside.h"

namespace cofferdam::escape {
namespace {

using sandbox::HostIdentity;
using sandbox::Layer;
using sandbox::LocalSandbox;

struct Resource {
  const char* name;
  const char* refusal;
  /// Left off always: with it nobody gets anything at all.
  std::vector<Layer> without = {};
  /// Two sandboxes of one uid share it, when these layers do not bound each of them before that.
  bool of_user = false;
  std::vector<Layer> control_without = {};
};

// What an attack takes before it is refused is less.
constexpr int kPlenty = 200'000;

const Resource kResources[] = {
    {.name = "inotify", .refusal = "errno EMFILE", .of_user = true},
    {.name = "signals",
     .refusal = "errno EAGAIN",
     .of_user = true,
     .control_without = {Layer::kRlimits}},
    // Counted with the signals.
    {.name = "timers", .refusal = "errno EAGAIN"},
    {.name = "processes", .refusal = "errno EAGAIN"},
    // Landlock has no rule for the place where queues are.
    {.name = "mqueues", .refusal = "errno EMFILE", .without = {Layer::kLandlock}, .of_user = true},
    {.name = "terminals", .refusal = "errno ENOSPC"},
    {.name = "pipes", .refusal = "errno EPERM", .of_user = true},
    {.name = "flight", .refusal = "errno ETOOMANYREFS", .of_user = true},
};

// Why nothing stops the attack on this machine; empty when something does.
std::string WhyUnbounded(const std::string& resource) {
  const int pages = Sysctl("fs/pipe-user-pages-soft", 0);
  if (resource == "pipes" && (pages == 0 || pages > kPlenty))
    return "a user may have as many pages in pipes as it likes";
  return {};
}

// Why two sandboxes of one uid do not meet its limit on this machine; empty when they do.
std::string WhyNotShared(const std::string& resource, std::uint64_t open_files) {
  const int instances = Sysctl("fs/inotify/max_user_instances", 0);
  if (resource == "inotify" && static_cast<std::uint64_t>(instances) >= open_files)
    return "a user may have more inotify instances than a process descriptors";
  rlimit signals{};
  EXPECT_EQ(::getrlimit(RLIMIT_SIGPENDING, &signals), 0);
  if (resource == "signals" && signals.rlim_cur >= kPlenty)
    return "a user may have more pending signals than the attack sends";
  return {};
}

class ExhaustionAttacks : public EscapeTest, public testing::WithParamInterface<Resource> {
 protected:
  void SetUp() override {
    EscapeTest::SetUp();
    const HostIdentity shared = sandbox::ToolIdentity();
    std::string why;
    if (!AsRoot())
      why = "an ordinary user's sandboxes have one uid";
    else if (shared.uid <= UINT16_MAX)
      why = "not all ids are mapped here";
    else
      why = WhyUnbounded(GetParam().name);
    if (!why.empty()) Skip("attack", why);
    if (!why.empty()) GTEST_SKIP() << why;
    // Beside the shared one, where no workspace has its range.
    alice_ = {shared.uid + kDistance, shared.gid + kDistance};
    bob_ = {shared.uid + 2 * kDistance, shared.gid + 2 * kDistance};
    spec_.limits.processes = 40;
  }

  static void Skip(const std::string& what, const std::string& why) {
    NoteSkipped(what + " on another tenant: " + GetParam().name, why);
  }

  std::unique_ptr<LocalSandbox> MakeFor(HostIdentity identity, std::vector<Layer> without = {}) {
    spec_.identity = identity;
    without.insert(without.end(), GetParam().without.begin(), GetParam().without.end());
    return Make(without);
  }

  /// Lets `attacker` use up what the parameter names, and meanwhile calls `then`.
  void UseUp(LocalSandbox& attacker, const std::function<void()>& then) {
    std::stop_source stop;
    const Attempt attempt = Attack(
        attacker, {"use_up", GetParam().name, std::to_string(kPlenty)},
        [&](const std::string& outcome) {
          EXPECT_EQ(outcome, GetParam().refusal);
          then();
          stop.request_stop();
        },
        {}, stop.get_token());
    EXPECT_TRUE(attempt.result && attempt.result->cancelled) << attempt.outcome;
  }

  static constexpr std::uint32_t kDistance = 8192;
  HostIdentity alice_{};
  HostIdentity bob_{};
};

TEST_P(ExhaustionAttacks, LeaveTheOtherAndTheHostTheirs) {
  const auto attacker = MakeFor(alice_);
  const auto other = MakeFor(bob_);
  ASSERT_TRUE(attacker != nullptr && other != nullptr);
  UseUp(*attacker, [&] {
    EXPECT_EQ(Attack(*other, {"take_one", GetParam().name}).outcome, "succeeded");
    ExpectWorking(*other);
    EXPECT_EQ(AttackOutside({"take_one", GetParam().name}), "succeeded");
    const std::uint32_t bystander = bob_.uid + kDistance;
    EXPECT_EQ(AttackOutside({"take_one", GetParam().name}, {.uid = bystander}), "succeeded");
    // And a new one can be made.
    EXPECT_NE(MakeFor({bystander, bystander}), nullptr);
  });
  ExpectWorking(*attacker);
}

// The rlimit alone.
TEST_P(ExhaustionAttacks, LeaveTheOtherTheirsWithoutControlGroups) {
  const auto attacker = MakeFor(alice_, {Layer::kCgroup});
  const auto other = MakeFor(bob_, {Layer::kCgroup});
  ASSERT_TRUE(attacker != nullptr && other != nullptr);
  UseUp(*attacker,
        [&] { EXPECT_EQ(Attack(*other, {"take_one", GetParam().name}).outcome, "succeeded"); });
}

TEST_P(ExhaustionAttacks, ControlUnderOneIdTheOtherHasNothingLeft) {
  if (!GetParam().of_user) GTEST_SKIP() << "not counted for a user";
  const std::string why = WhyNotShared(GetParam().name, spec_.limits.open_files);
  if (!why.empty()) Skip("control of the attack", why);
  if (!why.empty()) GTEST_SKIP() << why;
  const auto attacker = MakeFor(alice_, GetParam().control_without);
  const auto other = MakeFor(alice_, GetParam().control_without);
  ASSERT_TRUE(attacker != nullptr && other != nullptr);
  UseUp(*attacker, [&] {
    EXPECT_EQ(Attack(*other, {"take_one", GetParam().name}).outcome, GetParam().refusal);
  });
}

void PrintTo(const Resource& resource, std::ostream* out) { *out << resource.name; }

INSTANTIATE_TEST_SUITE_P(Resources, ExhaustionAttacks, testing::ValuesIn(kResources),
                         [](const auto& resource) { return std::string(resource.param.name); });

class Exhaustion : public EscapeTest {};

TEST_F(Exhaustion, MessageQueuesAreClosedByLandlock) {
  const auto sandbox = Make();
  ASSERT_NE(sandbox, nullptr);
  const bool offered =
      std::ranges::any_of(sandbox->layers(), [](const sandbox::LayerEvidence& layer) {
        return layer.layer == "landlock" && layer.how != "missing";
      });
  if (!offered) GTEST_SKIP() << "this kernel does not offer Landlock";
  EXPECT_EQ(Attack(*sandbox, {"take_one", "mqueues"}).outcome, "errno EACCES");
  const auto control = Make({Layer::kLandlock});
  EXPECT_EQ(Attack(*control, {"take_one", "mqueues"}).outcome, "succeeded");
}

TEST_F(Exhaustion, ASandboxRunsUnderTheIdsThatItIsGiven) {
  if (!AsRoot()) GTEST_SKIP() << "only the superuser can give ids";
  const HostIdentity own{sandbox::ToolIdentity().uid + 1, sandbox::ToolIdentity().gid + 1};
  spec_.identity = own;
  const auto sandbox = Make();
  ASSERT_NE(sandbox, nullptr);
  for (const sandbox::LayerEvidence& layer : sandbox->layers()) {
    if (layer.layer != "identity") continue;
    EXPECT_EQ(layer.how, "read");
    EXPECT_EQ(layer.detail, "uid " + std::to_string(own.uid) + " on the host, its workspace's own");
  }
}

}  // namespace
}  // namespace cofferdam::escape
