// cofferdam exec: runs a command in a sandbox with a workspace's files.
#include <fcntl.h>
#include <unistd.h>

#include <memory>

#include "base/error.h"
#include "cli/exit_codes.h"
#include "cli/program.h"
#include "sys/fd.h"

namespace cofferdam::cli {
namespace {

constexpr std::size_t kMaxStdinBytes = 64 << 20;

struct ExecFlags {
  std::string workspace = {};
  bool take_stdin = false;
  ExecOptions options = {};
};

json::Json ToJson(const ExecOptions& options, const ExecOutcome& outcome) {
  json::Json object = {{"event", "exit"},
                       {"exit_code", outcome.exit_code},
                       {"signal", outcome.signal},
                       {"timed_out", outcome.timed_out},
                       {"cancelled", outcome.cancelled},
                       {"out_of_memory", outcome.out_of_memory},
                       {"out_of_processes", outcome.out_of_processes},
                       {"milliseconds", outcome.milliseconds},
                       {"sandbox_ready_ms", outcome.sandbox_ready_ms}};
  if (options.audit_syscalls) object["denied_calls"] = cli::ToJson(outcome.denied_calls);
  return object;
}

void Explain(const ExecOptions& options, const ExecOutcome& outcome) {
  const auto say = [](const char* text) { static_cast<void>(sys::WriteAll(STDERR_FILENO, text)); };
  if (outcome.timed_out) say("cofferdam: killed at its timeout\n");
  if (outcome.out_of_memory) say("cofferdam: the sandbox ran out of memory\n");
  if (outcome.out_of_processes) say("cofferdam: the sandbox's process limit was reached\n");
  if (options.audit_syscalls) PrintDeniedCalls(outcome.denied_calls);
}

Result<int> Exec(const Program& program, ExecFlags& flags) {
  if (flags.take_stdin) {
    ASSIGN_OR_RETURN(flags.options.stdin_bytes, sys::ReadAll(STDIN_FILENO, kMaxStdinBytes));
  }
  ASSIGN_OR_RETURN(Workspace workspace, OpenWorkspace(program, flags.workspace));
  Status written;
  const auto sink = [&program, &written](bool is_stderr, std::string_view bytes) {
    if (program.json)
      PrintJson({{"event", is_stderr ? "stderr" : "stdout"}, {"bytes", bytes}});
    else if (written)
      written = sys::WriteAll(is_stderr ? STDERR_FILENO : STDOUT_FILENO, bytes);
  };
  ASSIGN_OR_RETURN(const ExecOutcome outcome, workspace.Exec(flags.options, sink, program.stop));
  if (program.json)
    PrintJson(ToJson(flags.options, outcome));
  else
    Explain(flags.options, outcome);
  RETURN_IF_ERROR(written);
  return outcome.cancelled ? kExitCancelled : outcome.exit_code;
}

}  // namespace

void AddExecCommand(CLI::App& app, Program& program) {
  CLI::App* command = app.add_subcommand(
      "exec", "Run a command in a sandbox with a workspace's files: exec -w W -- CMD ARG...");
  const auto flags = std::make_shared<ExecFlags>();
  AddWorkspaceFlag(*command, flags->workspace);
  command->add_flag("-i,--stdin", flags->take_stdin, "Give it what comes on standard input");
  AddAuditFlag(*command, flags->options.audit_syscalls);
  AddSandboxFlags(*command, flags->options.settings);
  command->add_option("command", flags->options.argv, "The command, after --")->required();
  command->callback(
      [flags, &program] { program.action = [flags, &program] { return Exec(program, *flags); }; });
}

}  // namespace cofferdam::cli
