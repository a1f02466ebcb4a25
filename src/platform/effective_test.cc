#include "platform/effective.h"

#include <gmock/gmock.h>

#include "sys/file.h"
#include "sys/testing/temp_dir.h"

namespace cofferdam::platform {
namespace {

using testing::EndsWith;
using testing::StartsWith;

TEST(ModelOf, AModelMayNameItsProvider) {
  const auto text = [](const Settings& settings) {
    const ModelReference reference = ModelOf(settings);
    return reference.provider + " " + reference.model;
  };
  EXPECT_EQ(text({}), "scripted ");
  EXPECT_EQ(text({.model = "anthropic/claude"}), "anthropic claude");
  EXPECT_EQ(text({.provider = "anthropic", .model = "some/claude"}), "anthropic some/claude");
  EXPECT_EQ(text({.model = "claude"}), "scripted claude");
}

TEST(LoopOptionsFor, HasTheDocumentedDefaults) {
  const auto options = LoopOptionsFor({});
  ASSERT_TRUE(options);
  EXPECT_EQ(options->max_turns, 100);
  EXPECT_EQ(options->max_tokens, 8192);
  EXPECT_EQ(options->limits.command_timeout, std::chrono::seconds(300));
  EXPECT_EQ(options->limits.memory_bytes, 512U << 20);
  EXPECT_EQ(options->limits.max_processes, 100U);
}

TEST(LoopOptionsFor, EverySettingIsUsed) {
  const auto options = LoopOptionsFor({.system_prompt = "Be brief.",
                                       .max_turns = 3,
                                       .max_tokens = 4,
                                       .command_timeout_s = 6,
                                       .memory_mib = 64,
                                       .max_processes = 7});
  ASSERT_TRUE(options);
  EXPECT_THAT(options->system, StartsWith(std::string(SandboxPrompt())));
  EXPECT_THAT(options->system, EndsWith("Be brief."));
  EXPECT_EQ(options->max_turns, 3);
  EXPECT_EQ(options->max_tokens, 4);
  EXPECT_EQ(options->limits.command_timeout, std::chrono::seconds(6));
  EXPECT_EQ(options->limits.memory_bytes, 64U << 20);
  EXPECT_EQ(options->limits.max_processes, 7U);
}

TEST(RunDeadlineFor, IsNeverUnlessOneIsSet) {
  EXPECT_TRUE(RunDeadlineFor({}).is_never());
  EXPECT_FALSE(RunDeadlineFor({.run_timeout_s = 5}).is_never());
}

TEST(AdmissionTermsFor, HasTheDocumentedDefaultsAndTakesTheSettings) {
  EXPECT_EQ(AdmissionTermsFor({}).max_concurrent_runs, 8U);
  EXPECT_EQ(AdmissionTermsFor({}).patience, std::chrono::seconds(600));
  const AdmissionTerms terms = AdmissionTermsFor({.max_concurrent_runs = 2, .queue_timeout_s = 0});
  EXPECT_EQ(terms.max_concurrent_runs, 2U);
  EXPECT_EQ(terms.patience, std::chrono::seconds(0));
}

TEST(DiskLimitBytes, IsTheSettingOrTheDocumentedDefault) {
  EXPECT_EQ(DiskLimitBytes({}), std::uint64_t{10'240} << 20);
  EXPECT_EQ(DiskLimitBytes({.disk_mib = 3}), std::uint64_t{3} << 20);
  EXPECT_EQ(DiskLimitBytes({.disk_mib = 0}), 0U);
}

TEST(LoopOptionsFor, TheModelIsToldWhatBecomesOfItsChangesInAProject) {
  const auto PromptOf = [](const char* project, std::optional<std::string> mode) {
    return LoopOptionsFor({.project = project, .project_mode = std::move(mode)})->system;
  };
  EXPECT_EQ(PromptOf("", "direct"), SandboxPrompt());
  EXPECT_THAT(PromptOf("/srv/a", std::nullopt), testing::HasSubstr("copy-on-write view"));
  EXPECT_THAT(PromptOf("/srv/a", "copy"), testing::HasSubstr("copy-on-write view"));
  EXPECT_THAT(PromptOf("/srv/a", "direct"), testing::HasSubstr("is changed at once"));
  EXPECT_THAT(PromptOf("/srv/a", "read-only"), testing::HasSubstr("read and not change"));
}

TEST(LoopOptionsFor, ARealProviderNeedsAModel) {
  EXPECT_EQ(LoopOptionsFor({.provider = "anthropic"}).error().code, ErrorCode::kConfig);
}

TEST(SandboxSpecFor, RefusesALimitOnADiskThatIsNone) {
  const auto spec = SandboxSpecFor({.io_max = {"sda wbps=1"}}, "/state/workspaces/alice", "/state");
  EXPECT_EQ(spec.error().code, ErrorCode::kInvalidArgument);
}

TEST(SandboxSpecFor, LimitsMountsAndLayersAreTheSettings) {
  const sys::TempDir temp;
  ASSERT_TRUE(sys::MakeDirectories(temp / "data", 0700));
  const auto spec = SandboxSpecFor({.memory_mib = 64,
                                    .max_processes = 7,
                                    .cpu_percent = 150,
                                    .seccomp_profile = "harness",
                                    .disk_mib = 100,
                                    .memory_high_mib = 48,
                                    .cpu_weight = 20,
                                    .io_max = {"8:0 wbps=1048576"},
                                    .mounts = {{temp / "data", "/mnt/data", true}},
                                    .allow_missing = {"landlock", "cgroup"}},
                                   "/state/workspaces/alice", "/state");
  ASSERT_TRUE(spec) << spec.error().ToString();
  EXPECT_EQ(spec->limits.memory_bytes, 64U << 20);
  EXPECT_EQ(spec->limits.processes, 7U);
  EXPECT_EQ(spec->limits.cpu_millis_per_second, 1500U);
  EXPECT_EQ(spec->limits.file_bytes, 100U << 20);
  EXPECT_EQ(spec->limits.memory_high_bytes, 48U << 20);
  EXPECT_EQ(spec->limits.cpu_weight, 20U);
  EXPECT_THAT(spec->limits.io,
              testing::ElementsAre(sandbox::IoLimit{.major = 8, .write_bytes = 1 << 20}));
  ASSERT_EQ(spec->mounts.size(), 3U);
  EXPECT_EQ(spec->mounts[0].source, "/state/workspaces/alice/files/work");
  EXPECT_EQ(spec->mounts[0].target, "/workspace");
  EXPECT_EQ(spec->mounts[2].target, "/mnt/data");
  EXPECT_TRUE(spec->mounts[2].writable);
  EXPECT_EQ(spec->seccomp_profile, sandbox::SeccompProfile::kHarness);
  EXPECT_TRUE(spec->allow_missing.Has(sandbox::Layer::kCgroup));
  EXPECT_FALSE(spec->allow_missing.Has(sandbox::Layer::kSeccomp));
}

TEST(SandboxSpecFor, RefusesWhatASandboxMustNotHave) {
  const auto code = [](const Settings& settings) {
    const auto spec = SandboxSpecFor(settings, "/state/workspaces/alice", "/state");
    return spec ? ErrorCode::kInternal : spec.error().code;
  };
  EXPECT_EQ(code({.mounts = {{"/root", "/mnt/x"}}}), ErrorCode::kMountRefused);
  EXPECT_EQ(code({.mounts = {{"/state/workspaces/bob", "/mnt/x"}}}), ErrorCode::kMountRefused);
  EXPECT_EQ(code({.mounts = {{"/opt", "/etc"}}}), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code({.seccomp_profile = "none"}), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code({.allow_missing = {"nonsense"}}), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code({.allow_missing = {"root"}}), ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace cofferdam::platform
