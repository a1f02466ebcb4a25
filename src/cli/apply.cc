// cofferdam apply: takes an agent's changes over into the project.
#include <iostream>
#include <memory>

#include "base/error.h"
#include "cli/exit_codes.h"
#include "cli/program.h"
#include "cli/projects.h"
#include "projects/tree_walk.h"

namespace cofferdam::cli {
namespace {

struct ApplyFlags {
  std::string workspace = {};
  std::optional<std::string> directory = {};
};

json::Json ToJson(const ApplyResult& result) {
  json::Json conflicts = json::Json::array();
  for (const ApplyConflict& conflict : result.conflicts) {
    json::Json object = {{"why", conflict.why}};
    PutPath(object, "path", conflict.path);
    conflicts.push_back(std::move(object));
  }
  json::Json merged = json::Json::array();
  for (const std::string& path : result.merged) merged.push_back(path);
  json::Json answer = {{"applied", result.conflicts.empty()},
                       {"changes", cli::ToJson(result.changes)},
                       {"merged", std::move(merged)},
                       {"left_out", cli::ToJson(result.left_out)},
                       {"conflicts", std::move(conflicts)}};
  PutPath(answer, "project", result.project);
  return answer;
}

void Print(const ApplyResult& result) {
  for (const ProjectChange& change : result.changes) std::cout << Describe(change) << '\n';
  for (const std::string& path : result.merged)
    std::cerr << "cofferdam: merged with your own edits: " << projects::PathForPerson(path) << '\n';
  PrintLeftOut(result.left_out);
  for (const ApplyConflict& conflict : result.conflicts)
    std::cerr << "cofferdam: conflict: " << projects::PathForPerson(conflict.path) << ": "
              << conflict.why << '\n';
  if (!result.conflicts.empty())
    std::cerr << "cofferdam: nothing was applied; `cofferdam diff --project` shows your own edits "
                 "[conflict]\n";
  else if (result.changes.empty())
    std::cerr << "cofferdam: nothing to apply\n";
}

Result<int> ApplyChanges(const Program& program, const ApplyFlags& flags) {
  ASSIGN_OR_RETURN(Workspace workspace, OpenWorkspace(program, flags.workspace));
  ASSIGN_OR_RETURN(const auto project, ChooseProject(workspace, flags.directory));
  ASSIGN_OR_RETURN(const ApplyResult result, workspace.Apply(project, program.stop));
  if (program.json)
    PrintJson(ToJson(result));
  else
    Print(result);
  return result.conflicts.empty() ? kExitOk : kExitConflict;
}

}  // namespace

void AddApplyCommand(CLI::App& app, Program& program) {
  CLI::App* command =
      app.add_subcommand("apply", "Take an agent's changes over into the project: all or none");
  const auto flags = std::make_shared<ApplyFlags>();
  AddProjectArgument(*command, flags->directory);
  AddWorkspaceFlag(*command, flags->workspace);
  command->callback([flags, &program] {
    program.action = [flags, &program] { return ApplyChanges(program, *flags); };
  });
}

}  // namespace cofferdam::cli
