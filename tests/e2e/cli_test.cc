// The program as a user meets it: what it prints where, and its exit codes.
#include <signal.h>
#include <sys/stat.h>

#include <fstream>

#include <gmock/gmock.h>

#include "json/json.h"
#include "program.h"
#include "sys/file.h"
#include "sys/testing/temp_dir.h"

namespace cofferdam::e2e {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

class CliTest : public testing::Test {
 protected:
  ProgramResult Cofferdam(std::vector<std::string> arguments, const std::string& input = {}) {
    return RunCofferdam(
        {.arguments = std::move(arguments), .environment = environment_, .stdin_bytes = input});
  }

  std::string Script(const std::string& text) {
    std::ofstream(temp_ / "script.yaml") << text;
    return temp_ / "script.yaml";
  }

  static json::Json LastLine(const std::string& text) {
    const std::size_t end = text.find_last_not_of('\n');
    const std::size_t begin = text.rfind('\n', end);
    const auto parsed = json::Parse(text.substr(begin + 1, end - begin));
    return parsed ? *parsed : json::Json();
  }

  sys::TempDir temp_;
  std::map<std::string, std::string> environment_ = {{"HOME", temp_ / "home"},
                                                     {"COFFERDAM_STATE_DIR", temp_ / "state"}};
};

TEST_F(CliTest, SaysItsVersionAndRefusesWhatItDoesNotKnow) {
  const ProgramResult version = Cofferdam({"--version"});
  EXPECT_EQ(version.exit_code, 0);
  EXPECT_THAT(version.out, StartsWith("cofferdam "));
  EXPECT_EQ(Cofferdam({}).exit_code, 2);
  EXPECT_EQ(Cofferdam({"fly"}).exit_code, 2);
  EXPECT_EQ(Cofferdam({"run"}).exit_code, 2);
  EXPECT_EQ(Cofferdam({"run", "-m", "x", "--max-turns", "0"}).exit_code, 2);
  EXPECT_EQ(Cofferdam({"workspace", "create", "../x"}).exit_code, 2);
  EXPECT_EQ(Cofferdam({"run", "-m", "x", "-w", "nobody"}).exit_code, 1);
}

TEST_F(CliTest, TheAnswerGoesToOutputAndTheWorkToError) {
  const ProgramResult run = Cofferdam({"run", "-m", "x", "--script", Script(R"(
turns:
  - {text: I look., tool_calls: [{name: ls}, {name: read, arguments: {path: missing}}]}
  - {text: Nothing there.}
)")});
  EXPECT_EQ(run.exit_code, 0);
  EXPECT_EQ(run.out, "I look.\nNothing there.\n");
  EXPECT_THAT(run.err, AllOf(HasSubstr("sandbox ready in "), HasSubstr("  ls {}  "),
                             HasSubstr("  read {\"path\":\"missing\"}  failed, "),
                             HasSubstr("completed: session ")));
}

TEST_F(CliTest, JsonIsOneEventALineAndTheResultLast) {
  const ProgramResult run =
      Cofferdam({"--json", "run", "-m", "x", "--session", "s", "--script",
                 Script("turns: [{text: One., tool_calls: [{name: ls}]}, {text: Two.}]")});
  EXPECT_EQ(run.exit_code, 0);
  EXPECT_THAT(run.err, IsEmpty());
  const json::Json result = LastLine(run.out);
  EXPECT_EQ(result.value("event", ""), "result");
  EXPECT_EQ(result.value("outcome", ""), "completed");
  EXPECT_EQ(result.value("text", ""), "Two.");
  EXPECT_EQ(result.value("session", ""), "s");
  EXPECT_THAT(run.out, HasSubstr("\"event\":\"tool_ended\""));
}

TEST_F(CliTest, AFailedRunIsAFailedCommand) {
  const std::string script =
      Script("turns: [{text: I, error: {code: model_overloaded, message: too busy}}]");
  const ProgramResult run = Cofferdam({"run", "-m", "x", "--script", script});
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.err, HasSubstr("too busy"));
  EXPECT_THAT(run.err, HasSubstr("[model_overloaded]"));
  const ProgramResult as_json = Cofferdam({"run", "-m", "x", "--script", script, "--json"});
  EXPECT_EQ(as_json.exit_code, 1);
  EXPECT_EQ(LastLine(as_json.out).at("error").at("code"), "model_overloaded");
}

TEST_F(CliTest, ARefusedSandboxHasAnExitCodeOfItsOwn) {
  const ProgramResult run = Cofferdam({"run", "-m", "x", "--mount", "/etc:/mnt/etc"});
  EXPECT_EQ(run.exit_code, 3);
  EXPECT_THAT(run.err, HasSubstr("[mount_refused]"));
}

TEST_F(CliTest, CtrlCCancelsTheRunProperly) {
  const std::string script =
      Script("turns: [{tool_calls: [{name: bash, arguments: {command: sleep 1000}}]}]");
  bool sent = false;
  const ProgramResult run =
      RunCofferdam({.arguments = {"run", "-m", "x", "--session", "s", "--script", script},
                    .environment = environment_,
                    .on_stderr = [&sent](const std::string& err, int pid) {
                      if (sent || err.find("sandbox ready") == std::string::npos) return;
                      sent = true;
                      ::kill(pid, SIGINT);
                    }});
  EXPECT_EQ(run.exit_code, 130);
  EXPECT_THAT(run.err, HasSubstr("cancelled: session s"));
  const std::size_t at = run.err.find(", run ") + 6;
  const ProgramResult verify = Cofferdam({"run", "verify", run.err.substr(at, 36), "--json"});
  EXPECT_EQ(verify.exit_code, 0) << verify.err;
  EXPECT_EQ(LastLine(verify.out).value("complete", false), true);
}

TEST_F(CliTest, TheKeyIsNeitherInTheEnvironmentNorInTheSandbox) {
  environment_["ANTHROPIC_API_KEY"] = "sk-very-secret";
  std::string environ_of_program;
  const std::string script = Script(
      "turns: [{tool_calls: [{name: bash, arguments: {command: 'env; cat /proc/*/environ'}}]}, "
      "{text: '{{results}}'}]");
  const ProgramResult run = RunCofferdam(
      {.arguments = {"run", "-m", "x", "--script", script},
       .environment = environment_,
       .on_stderr = [&environ_of_program](const std::string&, int pid) {
         if (const auto text = sys::ReadFile("/proc/" + std::to_string(pid) + "/environ"))
           environ_of_program += *text;
       }});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.out, AllOf(HasSubstr("HOME=/home/agent"), Not(HasSubstr("sk-very-secret"))));
  EXPECT_THAT(environ_of_program,
              AllOf(HasSubstr("COFFERDAM_STATE_DIR"), Not(HasSubstr("sk-very-secret"))));
}

TEST_F(CliTest, AnAuditListsWhatSeccompRefused) {
  const std::vector<std::string> command = {"exec",    "--audit-syscalls", "--",
                                            "unshare", "--user",           "true"};
  const ProgramResult exec = Cofferdam(command);
  EXPECT_EQ(exec.exit_code, 1);
  EXPECT_THAT(exec.err,
              AllOf(HasSubstr("seccomp refused:"), HasSubstr("EPERM"), HasSubstr("unshare\n")));
  std::vector<std::string> as_json = {"--json"};
  as_json.insert(as_json.end(), command.begin(), command.end());
  const json::Json refused = {
      {"syscall", "unshare"}, {"call", "unshare"}, {"answer", "EPERM"}, {"count", 1}};
  EXPECT_THAT(LastLine(Cofferdam(as_json).out)["denied_calls"]["calls"], Contains(refused));
  const ProgramResult run = Cofferdam(
      {"--json", "run", "-m", "x", "--audit-syscalls", "--script",
       Script("turns: [{tool_calls: [{name: bash, arguments: {command: unshare --user true}}]}, "
              "{text: Done.}]")});
  const json::Json result = LastLine(run.out);
  EXPECT_THAT(result["denied_calls"]["calls"], Contains(refused));
  const auto record = sys::ReadFile(result.value("folder", "") + "/events.jsonl");
  ASSERT_TRUE(record);
  EXPECT_THAT(*record, HasSubstr("\"sandbox.denied_calls\""));
  EXPECT_FALSE(LastLine(Cofferdam({"--json", "exec", "--", "true"}).out).contains("denied_calls"));
}

TEST_F(CliTest, ExecStreamsAndHasTheCommandsExitCode) {
  const ProgramResult run =
      Cofferdam({"exec", "-i", "--", "sh", "-c", "cat; echo err >&2; exit 7"}, "in\n");
  EXPECT_EQ(run.exit_code, 7);
  EXPECT_EQ(run.out, "in\n");
  EXPECT_EQ(run.err, "err\n");
  EXPECT_EQ(Cofferdam({"exec", "--", "sh", "-c", "kill -9 $$"}).exit_code, 137);
  const ProgramResult as_json = Cofferdam({"exec", "--json", "--", "false"});
  EXPECT_EQ(as_json.exit_code, 1);
  EXPECT_EQ(LastLine(as_json.out).value("exit_code", 0), 1);
}

TEST_F(CliTest, WorkspacesAreMadeChangedAndDeleted) {
  EXPECT_EQ(Cofferdam({"workspace", "create", "bob", "--model", "m"}).exit_code, 0);
  EXPECT_EQ(Cofferdam({"workspace", "create", "bob"}).exit_code, 1);
  EXPECT_EQ(Cofferdam({"workspace", "create", "alice"}).exit_code, 0);
  EXPECT_EQ(Cofferdam({"workspace", "list"}).out, "alice\nbob\n");
  EXPECT_EQ(Cofferdam({"workspace", "set", "bob", "memory_mib", "64"}).exit_code, 0);
  EXPECT_EQ(Cofferdam({"workspace", "set", "bob", "model", ""}).exit_code, 0);
  EXPECT_EQ(Cofferdam({"workspace", "set", "bob", "memory_mib", "much"}).exit_code, 2);
  EXPECT_EQ(LastLine(Cofferdam({"workspace", "show", "bob", "--json"}).out).at("settings"),
            (json::Json{{"memory_mib", 64}}));
  EXPECT_EQ(Cofferdam({"workspace", "delete", "bob"}).exit_code, 0);
  EXPECT_EQ(Cofferdam({"workspace", "delete", "bob"}).exit_code, 1);
  EXPECT_EQ(Cofferdam({"workspace", "list"}).out, "alice\n");
}

TEST_F(CliTest, SessionsAreListedAndShown) {
  Cofferdam({"run", "-m", "hello", "--session", "talk", "--script",
             Script("turns: [{text: Good day.}]")});
  EXPECT_THAT(Cofferdam({"session", "list"}).out, HasSubstr("talk  "));
  EXPECT_EQ(Cofferdam({"session", "show", "talk"}).out, "user: hello\nagent: Good day.\n");
  EXPECT_EQ(Cofferdam({"session", "show", "nothing"}).exit_code, 1);
  EXPECT_EQ(Cofferdam({"session", "show", "../talk"}).exit_code, 2);
}

TEST_F(CliTest, FlagsComeBeforeEnvironmentBeforeFile) {
  std::ofstream(temp_ / "config.toml") << "state = \"" << temp_ / "from-file" << "\"\n";
  const std::string config = temp_ / "config.toml";
  const auto exists = [this](const char* name) {
    struct stat info{};
    return ::stat((temp_ / name).c_str(), &info) == 0;
  };
  Cofferdam({"workspace", "list", "--config", config, "--state", temp_ / "from-flag"});
  EXPECT_TRUE(exists("from-flag"));
  Cofferdam({"workspace", "list", "--config", config});
  EXPECT_TRUE(exists("state"));
  EXPECT_FALSE(exists("from-file"));
  environment_.erase("COFFERDAM_STATE_DIR");
  Cofferdam({"workspace", "list", "--config", config});
  EXPECT_TRUE(exists("from-file"));
  Cofferdam({"workspace", "list"});
  EXPECT_TRUE(exists("home/.local/state/cofferdam"));
}

TEST_F(CliTest, AWrongConfigurationIsNotPassedOver) {
  std::ofstream(temp_ / "config.toml") << "modle = \"x\"\n";
  const ProgramResult run = Cofferdam({"workspace", "list", "--config", temp_ / "config.toml"});
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_THAT(run.err, HasSubstr("line 1: unknown key 'modle'"));
}

TEST_F(CliTest, DoctorAgreesWithRun) {
  const ProgramResult doctor = Cofferdam({"doctor", "--json"});
  const ProgramResult exec = Cofferdam({"exec", "--", "true"});
  EXPECT_EQ(doctor.exit_code == 0, exec.exit_code == 0) << doctor.out << exec.err;
  EXPECT_EQ(LastLine(doctor.out).at("run_would_be_refused"), exec.exit_code != 0);
}

TEST_F(CliTest, DoctorAndShowAgreeOnTheHostsIds) {
  const json::Json doctor = LastLine(Cofferdam({"doctor", "--json"}).out).at("host_ids");
  const json::Json ids =
      LastLine(Cofferdam({"workspace", "create", "alice", "--json"}).out).at("host_ids");
  EXPECT_EQ(ids.at("own"), doctor.at("own"));
  const std::string first = std::to_string(ids.at("first_uid").get<std::uint32_t>());
  const std::string shown = Cofferdam({"workspace", "show", "alice"}).out;
  EXPECT_THAT(shown, HasSubstr(first));
  const std::string text = Cofferdam({"doctor"}).out;
  if (ids.at("own").get<bool>()) {
    EXPECT_EQ(ids.at("count"), 4096);
    EXPECT_THAT(shown, HasSubstr("tools run as " + first));
    EXPECT_THAT(text, HasSubstr("each workspace has 4096 uids and gids of its own"));
  } else {
    EXPECT_EQ(ids.at("count"), 1);
    EXPECT_THAT(text, HasSubstr("the tools of all workspaces run as uid " + first));
    EXPECT_THAT(text, HasSubstr("one workspace can use them up for the others"));
  }
}

}  // namespace
}  // namespace cofferdam::e2e
