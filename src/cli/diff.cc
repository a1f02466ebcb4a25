// cofferdam diff: what an agent has changed.
#include <sys/ioctl.h>
#include <unistd.h>

#include <iostream>
#include <memory>

#include "base/error.h"
#include "cli/exit_codes.h"
#include "cli/patch_view.h"
#include "cli/program.h"
#include "cli/projects.h"
#include "projects/diff.h"
#include "sys/fd.h"

namespace cofferdam::cli {
namespace {

constexpr std::size_t kColumns = 80;

struct DiffFlags {
  std::string workspace = {};
  std::optional<std::string> directory = {};
  bool stat = false;
  DiffOptions options = {};
};

std::size_t TerminalColumns() {
  winsize size{};
  const bool known = ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return known ? size.ws_col : kColumns;
}

std::string Table(const ProjectDiff& diff) {
  std::vector<projects::LineCount> counts;
  for (const ProjectChange& change : diff.changes)
    counts.push_back({.path = change.path,
                      .added = change.added_lines,
                      .removed = change.removed_lines,
                      .binary = change.binary});
  return projects::StatTable(counts, TerminalColumns());
}

/// Of the owner's edits, those of files that the agent left alone: what they were is not known.
void PrintWithoutText(const ProjectDiff& diff) {
  for (const ProjectChange& change : diff.changes)
    if (!change.before) std::cerr << Describe(change) << '\n';
}

Status Print(const ProjectDiff& diff, const DiffFlags& flags) {
  if (flags.stat) {
    RETURN_IF_ERROR(sys::WriteAll(STDOUT_FILENO, Table(diff)));
  } else {
    const bool to_terminal = ::isatty(STDOUT_FILENO) == 1;
    // Into a pipe or a file it is what `git apply` takes, byte for byte.
    RETURN_IF_ERROR(sys::WriteAll(
        STDOUT_FILENO, to_terminal ? PatchForTerminal(diff.patch, WantsColours()) : diff.patch));
    if (flags.options.project_edits) PrintWithoutText(diff);
  }
  PrintLeftOut(diff.left_out);
  if (diff.truncated) std::cerr << "cofferdam: the patch was too long and ends early\n";
  return {};
}

Result<int> DiffProject(const Program& program, DiffFlags& flags) {
  ASSIGN_OR_RETURN(const Workspace workspace, OpenWorkspace(program, flags.workspace));
  ASSIGN_OR_RETURN(flags.options.project, ChooseProject(workspace, flags.directory));
  ASSIGN_OR_RETURN(const ProjectDiff diff, workspace.Diff(flags.options, program.stop));
  if (program.json) {
    json::Json answer = {{"changes", ToJson(diff.changes)},
                         {"left_out", ToJson(diff.left_out)},
                         {"truncated", diff.truncated}};
    PutPath(answer, "project", diff.project);
    PrintJson(answer);
  } else {
    RETURN_IF_ERROR(Print(diff, flags));
  }
  return kExitOk;
}

}  // namespace

void AddDiffCommand(CLI::App& app, Program& program) {
  CLI::App* command = app.add_subcommand("diff", "What an agent has changed in a project");
  const auto flags = std::make_shared<DiffFlags>();
  AddProjectArgument(*command, flags->directory);
  AddWorkspaceFlag(*command, flags->workspace);
  command->add_flag("--stat", flags->stat, "Only how many lines of which files");
  command->add_flag("--project", flags->options.project_edits,
                    "What the project's owner has changed since the agent began");
  command->callback([flags, &program] {
    program.action = [flags, &program] { return DiffProject(program, *flags); };
  });
}

}  // namespace cofferdam::cli
