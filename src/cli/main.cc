// The program: reads the command line, runs one command, says how it ended.
#include <signal.h>

#include <iostream>

#include "base/clock.h"
#include "base/error.h"
#include "cli/exit_codes.h"
#include "cli/interrupt.h"
#include "cli/program.h"
#include "log/logger.h"
#include "platform/config.h"
#include "sandbox/host_limits.h"

namespace cofferdam::cli {
namespace {

/// The log as the environment wants it.
Result<log::Logger> OpenLog(const Clock& clock) {
  ASSIGN_OR_RETURN(log::Config config, log::WithEnvironment({}, [](std::string_view name) {
                     return platform::ProcessEnvironment(std::string(name).c_str());
                   }));
  ASSIGN_OR_RETURN(auto sink, log::Sink::Open(std::move(config), clock));
  return log::Logger(std::move(sink), "cli");
}

/// Runs the action that the command line chose.
Result<int> RunAction(Program& program, const std::string& command) {
  const SystemClock clock;
  ASSIGN_OR_RETURN(const log::Logger logger, OpenLog(clock));
  ASSIGN_OR_RETURN(const auto interrupt, Interrupt::Start());
  program.stop = interrupt->token();
  logger.Info("command started", {{"command", command}});
  Result<int> code = program.action();
  if (code)
    logger.Info("command ended", {{"command", command}, {"exit_code", *code}});
  else
    logger.Info("command failed", {{"command", command},
                                   {"code", ErrorCodeName(code.error().code)},
                                   {"error", code.error().message}});
  return code;
}

void AddGlobalFlags(CLI::App& app, Program& program) {
  app.set_version_flag("--version", "cofferdam " COFFERDAM_VERSION);
  app.add_option("--state", program.state, "The state directory (COFFERDAM_STATE_DIR)");
  app.add_option("--config", program.config, "The configuration file (COFFERDAM_CONFIG)");
  app.add_flag("--json", program.json, "Answer in JSON, one object a line");
  // Global flags may stand behind the command too.
  app.fallthrough();
  app.require_subcommand(1);
}

int Main(int argc, char** argv) {
  Program program;
  CLI::App app("Runs AI agents in kernel sandboxes.", "cofferdam");
  AddGlobalFlags(app, program);
  AddRunCommand(app, program);
  AddExecCommand(app, program);
  AddWorkspaceCommand(app, program);
  AddSessionCommand(app, program);
  AddDiffCommand(app, program);
  AddApplyCommand(app, program);
  AddDiscardCommand(app, program);
  AddRewindCommand(app, program);
  AddCheckpointsCommand(app, program);
  AddDoctorCommand(app, program);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kExitOk : kExitUsage;
  }
  std::string command;
  for (const CLI::App* sub = &app; !sub->get_subcommands().empty();) {
    sub = sub->get_subcommands().front();
    command += (command.empty() ? "" : " ") + sub->get_name();
  }
  const Result<int> code = RunAction(program, command);
  if (code) return *code;
  PrintError(program, code.error());
  return ExitCodeFor(code.error());
}

}  // namespace
}  // namespace cofferdam::cli

int main(int argc, char** argv) {
  // A reader that goes away is an error of the write, not the end of the program.
  ::signal(SIGPIPE, SIG_IGN);
  // Each sandbox takes some. Where it cannot be raised, `doctor` says how many there is room for.
  static_cast<void>(cofferdam::sandbox::RaiseDescriptorLimit());
  return cofferdam::cli::Main(argc, argv);
}
