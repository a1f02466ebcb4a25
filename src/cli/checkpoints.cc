// cofferdam checkpoints: the states of files to which one can go back.
#include <iomanip>
#include <iostream>
#include <memory>

#include "base/error.h"
#include "cli/exit_codes.h"
#include "cli/program.h"
#include "cli/projects.h"

namespace cofferdam::cli {
namespace {

struct CheckpointFlags {
  std::string workspace = {};
  std::string session = {};
};

json::Json ToJson(const CheckpointInfo& checkpoint) {
  json::Json object = {{"id", checkpoint.id},
                       {"reason", checkpoint.reason},
                       {"session", checkpoint.session},
                       {"run", checkpoint.run},
                       {"turn", checkpoint.turn},
                       {"time", checkpoint.time},
                       {"changed", checkpoint.changed},
                       {"abandoned", checkpoint.abandoned},
                       {"reachable", checkpoint.reachable}};
  PutPath(object, "project", checkpoint.project);
  return object;
}

void Print(const CheckpointInfo& checkpoint) {
  std::cout << std::setw(6) << checkpoint.id << "  " << checkpoint.time << "  "
            << checkpoint.reason;
  if (!checkpoint.session.empty()) std::cout << ", session " << checkpoint.session;
  if (checkpoint.reason == "turn") std::cout << ", turn " << checkpoint.turn;
  std::cout << ": " << checkpoint.changed << (checkpoint.changed == 1 ? " path" : " paths")
            << " in " << NameOfProject(checkpoint.project)
            << (checkpoint.abandoned ? " (taken back)" : "")
            << (checkpoint.reachable ? "" : " (of the project as it was)") << '\n';
}

Result<int> List(const Program& program, const CheckpointFlags& flags) {
  ASSIGN_OR_RETURN(const Workspace workspace, OpenWorkspace(program, flags.workspace));
  ASSIGN_OR_RETURN(const std::vector<CheckpointInfo> checkpoints,
                   workspace.Checkpoints(flags.session));
  json::Json list = json::Json::array();
  for (const CheckpointInfo& checkpoint : checkpoints)
    if (program.json)
      list.push_back(ToJson(checkpoint));
    else
      Print(checkpoint);
  if (program.json) PrintJson({{"checkpoints", std::move(list)}});
  return kExitOk;
}

}  // namespace

void AddCheckpointsCommand(CLI::App& app, Program& program) {
  CLI::App* command =
      app.add_subcommand("checkpoints", "The states of files to which `rewind` can go back");
  const auto flags = std::make_shared<CheckpointFlags>();
  AddWorkspaceFlag(*command, flags->workspace);
  command->add_option("-s,--session", flags->session, "Only those of this session");
  command->callback(
      [flags, &program] { program.action = [flags, &program] { return List(program, *flags); }; });
}

}  // namespace cofferdam::cli
