#include "record/events.h"

#include <gtest/gtest.h>

namespace cofferdam::record {
namespace {

using json::Json;

constexpr std::string_view kSha256OfAbc =
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

TEST(Events, HoldDigestsInsteadOfMessagesAndResults) {
  const NewEvent started = RunStarted("scripted/test", "abc");
  EXPECT_EQ(started.type, "run.started");
  EXPECT_EQ(started.data, (Json{{"model", "scripted/test"},
                                {"message", {{"bytes", 3}, {"sha256", kSha256OfAbc}}}}));
  const NewEvent ended = ToolEnded(
      {.id = "c1", .name = "bash", .ok = false, .exit_code = 2, .milliseconds = 5}, "abc");
  EXPECT_EQ(ended.type, "tool.ended");
  EXPECT_EQ(ended.data, (Json{{"id", "c1"},
                              {"name", "bash"},
                              {"ok", false},
                              {"exit_code", 2},
                              {"milliseconds", 5},
                              {"result", {{"bytes", 3}, {"sha256", kSha256OfAbc}}}}));
  EXPECT_TRUE(ToolEnded({.id = "c1", .name = "read"}, "").data["exit_code"].is_null());
}

TEST(Events, HoldToolInputUpToItsLimitAndItsDigestAlways) {
  const std::string fits(kMaxRecordedInputBytes - 2, 'x');  // Two quotes more as JSON.
  EXPECT_EQ(ToolStarted("c1", "bash", fits).data["input"], fits);
  const NewEvent long_input = ToolStarted("c1", "bash", fits + "x");
  EXPECT_FALSE(long_input.data.contains("input"));
  EXPECT_EQ(long_input.data["input_digest"]["bytes"], kMaxRecordedInputBytes + 1);
}

TEST(Events, SayWhatASandboxUsedAndNullForWhatNobodyCounted) {
  const NewEvent event = SandboxEnded("s1", SandboxUse{.memory_peak_bytes = 1,
                                                       .cpu_micros = 2,
                                                       .out_of_memory_kills = 3,
                                                       .refused_forks = 4,
                                                       .memory_pressure_micros = 5});
  EXPECT_EQ(event.type, "sandbox.ended");
  EXPECT_EQ(event.data["sandbox"], "s1");
  EXPECT_EQ(event.data["used"], (Json{{"memory_peak_bytes", 1},
                                      {"cpu_micros", 2},
                                      {"out_of_memory_kills", 3},
                                      {"refused_forks", 4},
                                      {"memory_pressure_micros", 5},
                                      {"cpu_pressure_micros", nullptr},
                                      {"io_pressure_micros", nullptr}}));
  EXPECT_EQ(SandboxEnded("s1", std::nullopt).data["used"], nullptr);
}

TEST(Events, NameTheLayersOfASandbox) {
  EXPECT_EQ(SandboxMade("s1", "local", 3, {"soft", 4096}).data,
            (Json{{"sandbox", "s1"},
                  {"kind", "local"},
                  {"milliseconds", 3},
                  {"disk", {{"mechanism", "soft"}, {"bytes", 4096}}}}));
  const NewEvent verified =
      SandboxVerified("s1", {{.name = "seccomp", .seen = "probed", .detail = "EPERM"}});
  EXPECT_EQ(verified.data["layers"],
            Json::array({{{"name", "seccomp"}, {"seen", "probed"}, {"detail", "EPERM"}}}));
  EXPECT_EQ(SandboxVerified("s1", {}).data["layers"], Json::array());
}

TEST(Events, ListWhatSeccompRefused) {
  EXPECT_EQ(SandboxDeniedCalls("s1", {{"ioctl", "ioctl(_, 0x5412)", "EPERM", 3}}, 7).data,
            (Json{{"sandbox", "s1"},
                  {"calls", Json::array({{{"syscall", "ioctl"},
                                          {"call", "ioctl(_, 0x5412)"},
                                          {"answer", "EPERM"},
                                          {"count", 3}}})},
                  {"others", 7}}));
}

TEST(Events, SayWhetherASandboxCameFromAnEarlierRunAndWasLeftToALaterOne) {
  EXPECT_EQ(
      SandboxResumed("s1", 3, {{"seccomp", "read", "2"}}, {"soft", 4096}).data,
      (Json{{"sandbox", "s1"},
            {"milliseconds", 3},
            {"layers", Json::array({{{"name", "seccomp"}, {"seen", "read"}, {"detail", "2"}}})},
            {"disk", {{"mechanism", "soft"}, {"bytes", 4096}}}}));
  EXPECT_EQ(SandboxKept("s1", "").data, (Json{{"sandbox", "s1"}, {"kept", true}, {"problem", ""}}));
  EXPECT_EQ(SandboxKept("s1", "x").data,
            (Json{{"sandbox", "s1"}, {"kept", false}, {"problem", "x"}}));
  EXPECT_EQ(RunQueued().data, Json::object());
}

TEST(Events, HoldTheExactPathOfAFileAlsoWhenItIsNotText) {
  const FileState state{.sha256 = std::string(kSha256OfAbc), .size = 3};
  EXPECT_EQ(FileChanged("a/ä", std::nullopt, state).data,
            (Json{{"path", "a/ä"},
                  {"before", nullptr},
                  {"after", {{"sha256", kSha256OfAbc}, {"size", 3}}}}));
  const NewEvent removed = FileChanged("a\xFF", state, std::nullopt);
  EXPECT_EQ(removed.data["path"], "a\uFFFD");
  EXPECT_EQ(removed.data["path_hex"], "61ff");
  EXPECT_TRUE(removed.data["after"].is_null());
}

TEST(Events, SayWhatHasNoPlainContent) {
  const FileState state{.sha256 = std::string(kSha256OfAbc), .size = 3};
  EXPECT_EQ(FileChanged("link", std::nullopt, state, "symlink").data["kind"], "symlink");
  EXPECT_FALSE(FileChanged("file", std::nullopt, state).data.contains("kind"));
}

TEST(Events, NameTheViewAndItsCheckpoints) {
  EXPECT_EQ(
      ViewOpened("work", "", "overlay", false).data,
      (Json{{"view", "work"}, {"project", nullptr}, {"mode", nullptr}, {"checkpoints", false}}));
  EXPECT_EQ(ViewOpened("0011223344556677", "/srv/a", "copy", true).data,
            (Json{{"view", "0011223344556677"},
                  {"project", "/srv/a"},
                  {"mode", "copy"},
                  {"checkpoints", true}}));
  EXPECT_EQ(CheckpointTaken({.id = 7,
                             .view = "work",
                             .reason = "turn",
                             .turn = 3,
                             .changed = 5,
                             .not_listed = 1,
                             .left_out = {{"big\xFF", "too_large", 9}},
                             .left_out_count = 1,
                             .frozen = false})
                .data,
            (Json{{"checkpoint", 7},
                  {"view", "work"},
                  {"reason", "turn"},
                  {"turn", 3},
                  {"changed", 5},
                  {"not_listed", 1},
                  {"left_out", Json::array({{{"path", "big\uFFFD"},
                                             {"path_hex", "626967ff"},
                                             {"why", "too_large"},
                                             {"size", 9}}})},
                  {"left_out_count", 1},
                  {"frozen", false}}));
}

TEST(Events, CountWhatARunUsed) {
  const Usage usage{
      .input_tokens = 1, .output_tokens = 2, .cache_read_tokens = 3, .cache_write_tokens = 4};
  const Json as_json = {{"input_tokens", 1},
                        {"output_tokens", 2},
                        {"cache_read_tokens", 3},
                        {"cache_write_tokens", 4}};
  const NewEvent called = ModelCalled(
      {.provider = "p", .model = "m", .usage = usage, .stop_reason = "end", .milliseconds = 9});
  EXPECT_EQ(called.type, "model.called");
  EXPECT_EQ(called.data["usage"], as_json);
  const NewEvent ended = RunEnded({.outcome = "completed",
                                   .usage = usage,
                                   .model_calls = 2,
                                   .tool_calls = 1,
                                   .milliseconds = 7});
  EXPECT_EQ(ended.type, kRunEnded);
  EXPECT_EQ(ended.data, (Json{{"outcome", "completed"},
                              {"usage", as_json},
                              {"model_calls", 2},
                              {"tool_calls", 1},
                              {"milliseconds", 7}}));
  EXPECT_EQ(ErrorHappened("timeout", "too slow").data,
            (Json{{"code", "timeout"}, {"message", "too slow"}}));
}

}  // namespace
}  // namespace cofferdam::record
