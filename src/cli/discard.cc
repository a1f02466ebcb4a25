// cofferdam discard: takes all changes of an agent back.
#include <iostream>
#include <memory>

#include "base/error.h"
#include "cli/exit_codes.h"
#include "cli/program.h"
#include "cli/projects.h"

namespace cofferdam::cli {
namespace {

struct DiscardFlags {
  std::string workspace = {};
  std::optional<std::string> directory = {};
};

Result<int> DiscardChanges(const Program& program, const DiscardFlags& flags) {
  ASSIGN_OR_RETURN(Workspace workspace, OpenWorkspace(program, flags.workspace));
  ASSIGN_OR_RETURN(const auto project, ChooseProject(workspace, flags.directory));
  ASSIGN_OR_RETURN(const DiscardResult result, workspace.Discard(project));
  if (program.json) {
    json::Json answer = {{"checkpoint", result.checkpoint}, {"left_out", ToJson(result.left_out)}};
    PutPath(answer, "project", result.project);
    PrintJson(answer);
    return kExitOk;
  }
  PrintLeftOut(result.left_out);
  if (result.checkpoint == 0)
    std::cerr << "cofferdam: nothing to discard in " << NameOfProject(result.project) << '\n';
  else
    std::cerr << "cofferdam: discarded; to have it back: cofferdam rewind --checkpoint "
              << result.checkpoint << '\n';
  return kExitOk;
}

}  // namespace

void AddDiscardCommand(CLI::App& app, Program& program) {
  CLI::App* command =
      app.add_subcommand("discard", "Take all changes of an agent back (it can be rewound)");
  const auto flags = std::make_shared<DiscardFlags>();
  AddProjectArgument(*command, flags->directory);
  AddWorkspaceFlag(*command, flags->workspace);
  command->callback([flags, &program] {
    program.action = [flags, &program] { return DiscardChanges(program, *flags); };
  });
}

}  // namespace cofferdam::cli
