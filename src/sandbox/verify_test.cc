#include "sandbox/verify.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <gmock/gmock.h>

#include "sandbox/local_sandbox.h"
#include "sandbox/testing/test_control.h"

namespace cofferdam::sandbox {
namespace {

constexpr char kGoodMounts[] =
    "44 43 0:39 / / ro,nosuid,nodev,relatime - tmpfs cofferdam rw\n"
    "45 44 254:0 /usr /usr ro,nosuid,nodev,relatime - ext4 /dev/vda rw\n"
    "48 44 0:6 /null /dev/null ro,nosuid,noexec,relatime - devtmpfs devtmpfs rw\n"
    "56 54 0:42 / /proc rw,nosuid,nodev,noexec,relatime - proc proc rw\n"
    "57 44 0:43 / /tmp rw,nosuid,nodev,relatime - tmpfs tmpfs rw\n"
    "58 44 254:0 /x /workspace rw,nosuid,nodev,relatime - ext4 /dev/vda rw\n";

LaunchRequest WithWorkspace(bool read_only) {
  LaunchRequest request{};
  request.mount_count = 1;
  std::strcpy(request.mounts[0].target, "/workspace");
  request.mounts[0].read_only = read_only ? 1 : 0;
  return request;
}

std::string Replaced(std::string text, const std::string& from, const std::string& to) {
  return text.replace(text.find(from), from.size(), to);
}

TEST(FaultInMounts, AcceptsThePlanAndNothingElse) {
  EXPECT_EQ(FaultInMounts(kGoodMounts, WithWorkspace(false)), "");
  EXPECT_EQ(FaultInMounts(kGoodMounts, WithWorkspace(true)),
            "a mount can be written at '/workspace'");
  EXPECT_EQ(FaultInMounts(Replaced(kGoodMounts, "/usr ro,", "/usr rw,"), WithWorkspace(false)),
            "a mount can be written at '/usr'");
  EXPECT_EQ(
      FaultInMounts(Replaced(kGoodMounts, "ro,nosuid,nodev", "ro,nodev"), WithWorkspace(false)),
      "nosuid is missing at '/'");
  EXPECT_EQ(FaultInMounts(Replaced(kGoodMounts, "/tmp rw,nosuid,nodev", "/tmp rw,nosuid"),
                          WithWorkspace(false)),
            "nodev is missing at '/tmp'");
  EXPECT_EQ(
      FaultInMounts(Replaced(kGoodMounts, " /workspace ", " /elsewhere "), WithWorkspace(true)),
      "a mount can be written at '/elsewhere'");
  EXPECT_EQ(FaultInMounts(Replaced(kGoodMounts, " /proc ", " /dev/x "), LaunchRequest{}),
            "a mount can be written at '/dev/x'");
}

TEST(FaultInMounts, NoticesWhatIsAbsent) {
  const std::string root_only = "44 43 0:39 / / ro,nosuid,nodev - tmpfs t rw\n";
  EXPECT_EQ(FaultInMounts(root_only, {}), "nothing is mounted at '/usr'");
  EXPECT_EQ(FaultInMounts("x\n", {}), "a line of mountinfo is too short");
}

TEST(StatusField, FindsAFieldByItsWholeName) {
  constexpr char kStatus[] =
      "Name:\tx\nSeccomp:\t2\nSeccomp_filters:\t1\nGroups:\t \nNoNewPrivs:\t1\n";
  EXPECT_EQ(StatusField(kStatus, "Seccomp"), "2");
  EXPECT_EQ(StatusField(kStatus, "Groups"), "");
  EXPECT_EQ(StatusField(kStatus, "Sec"), "");
}

class SeccompEvidence : public testing::Test {
 protected:
  static Result<std::unique_ptr<LocalSandbox>> Make(Launcher& launcher, SeccompProfile profile) {
    SandboxSpec spec;
    spec.id = "profile";
    spec.seccomp_profile = profile;
    if (!launcher.cgroups()) spec.allow_missing = LayerSet().With(Layer::kCgroup);
    return LocalSandbox::Create(launcher, spec, Deadline::Never());
  }
};

TEST_F(SeccompEvidence, NamesTheProfileInForce) {
  auto launcher = Launcher::Start();
  ASSERT_TRUE(launcher) << launcher.error().ToString();
  for (const auto profile : {SeccompProfile::kTools, SeccompProfile::kHarness}) {
    const auto sandbox = Make(**launcher, profile);
    ASSERT_TRUE(sandbox) << sandbox.error().ToString();
    const auto& layers = (*sandbox)->layers();
    const auto seen = std::ranges::find(layers, "seccomp", &LayerEvidence::layer);
    ASSERT_NE(seen, layers.end());
    EXPECT_EQ(seen->how, "probed");
    EXPECT_THAT(seen->detail, testing::StartsWith("Seccomp: 2, profile " +
                                                  std::string(SeccompProfileName(profile)) + ","));
  }
}

TEST_F(SeccompEvidence, IsRefusedWhenTheOtherProfileIsInForce) {
  auto launcher = Launcher::Start();
  ASSERT_TRUE(launcher) << launcher.error().ToString();
  const auto sandbox = Make(**launcher, SeccompProfile::kHarness);
  ASSERT_TRUE(sandbox) << sandbox.error().ToString();
  LaunchRequest request{};
  request.skip_layers = ~LayerSet().With(Layer::kSeccomp).bits();
  LaunchReply reply{};
  reply.pid = (*sandbox)->worker_pid();
  StartReport report{};
  report.seccomp_probe_errno = EPERM;
  report.seccomp_profile_errno = EINVAL;  // what the harness's filter lets through
  request.seccomp_profile = SeccompProfile::kHarness;
  EXPECT_TRUE(Verify({request, reply, report, 0, NamespaceIds{}, nullptr}));
  request.seccomp_profile = SeccompProfile::kTools;
  const auto seen = Verify({request, reply, report, 0, NamespaceIds{}, nullptr});
  ASSERT_FALSE(seen);
  EXPECT_EQ(seen.error().code, ErrorCode::kNotVerified);
}

// Each layer is left off in a real sandbox, and its absence is what the evidence says.
class LayerLeftOff : public testing::TestWithParam<Layer> {};

TEST_P(LayerLeftOff, IsOnRecordAsMissing) {
  auto launcher = Launcher::Start();
  ASSERT_TRUE(launcher) << launcher.error().ToString();
  SandboxSpec spec;
  spec.id = "left-off";
  const bool has_cgroups = (*launcher)->cgroups().has_value();
  if (!has_cgroups) spec.allow_missing = LayerSet().With(Layer::kCgroup);
  const auto sandbox = LocalSandbox::Create(
      **launcher, TestControl::WithoutForTest(spec, GetParam()), Deadline::Never());
  ASSERT_TRUE(sandbox) << sandbox.error().ToString();
  for (const LayerEvidence& evidence : (*sandbox)->layers()) {
    const bool left_off = evidence.layer == LayerName(GetParam()) ||
                          (evidence.layer == LayerName(Layer::kCgroup) && !has_cgroups);
    EXPECT_EQ(evidence.how == "missing", left_off) << evidence.layer;
  }
}

INSTANTIATE_TEST_SUITE_P(Layers, LayerLeftOff,
                         testing::Values(Layer::kNetNamespace, Layer::kIpcNamespace,
                                         Layer::kUtsNamespace, Layer::kCgroup,
                                         Layer::kCgroupNamespace, Layer::kRlimits,
                                         Layer::kCapabilities, Layer::kLandlock, Layer::kSeccomp,
                                         Layer::kUndumpable),
                         [](const auto& test) { return std::string(LayerName(test.param)); });

}  // namespace
}  // namespace cofferdam::sandbox
