// cofferdam rewind: goes back to an earlier state of files, conversation or both.
#include <iostream>
#include <memory>

#include "base/error.h"
#include "cli/exit_codes.h"
#include "cli/program.h"
#include "cli/projects.h"

namespace cofferdam::cli {
namespace {

struct RewindFlags {
  std::string workspace = {};
  bool files_only = false;
  bool chat_only = false;
  RewindOptions options = {};
};

json::Json ToJson(const RewindResult& result) {
  json::Json answer = {{"session", result.session}, {"turn", nullptr},
                       {"files", result.files},     {"paths", result.paths},
                       {"before", result.before},   {"left_out", cli::ToJson(result.left_out)}};
  if (result.turn) answer["turn"] = *result.turn;
  PutPath(answer, "project", result.project);
  return answer;
}

void Print(const RewindResult& result) {
  if (result.turn)
    std::cerr << "cofferdam: session " << result.session << " is back at "
              << (*result.turn == 0 ? "its beginning"
                                    : "the end of turn " + std::to_string(*result.turn))
              << '\n';
  if (result.files)
    std::cerr << "cofferdam: " << result.paths << (result.paths == 1 ? " path" : " paths")
              << " put back in " << NameOfProject(result.project) << '\n';
  else
    std::cerr << "cofferdam: files were left as they are\n";
  if (result.files && result.before != 0)
    std::cerr << "cofferdam: to have the files back as they were: cofferdam rewind --files-only "
                 "--checkpoint "
              << result.before << '\n';
  PrintLeftOut(result.left_out);
}

Result<int> RewindBack(const Program& program, RewindFlags& flags) {
  flags.options.files = !flags.chat_only;
  flags.options.chat = !flags.files_only;
  ASSIGN_OR_RETURN(Workspace workspace, OpenWorkspace(program, flags.workspace));
  ASSIGN_OR_RETURN(const RewindResult result, workspace.Rewind(flags.options, program.stop));
  if (program.json)
    PrintJson(ToJson(result));
  else
    Print(result);
  return kExitOk;
}

}  // namespace

void AddRewindCommand(CLI::App& app, Program& program) {
  CLI::App* command = app.add_subcommand(
      "rewind", "Go back to before the last run, or to the end of a turn or a checkpoint");
  const auto flags = std::make_shared<RewindFlags>();
  AddWorkspaceFlag(*command, flags->workspace);
  command->add_option("-s,--session", flags->options.session,
                      "The session; without it that of the last run");
  CLI::Option* turn = command->add_option("--to", flags->options.to_turn,
                                          "To the end of this turn; 0 is the beginning");
  command
      ->add_option("--checkpoint", flags->options.checkpoint,
                   "To the files of this checkpoint (cofferdam checkpoints)")
      ->excludes(turn);
  CLI::Option* files =
      command->add_flag("--files-only", flags->files_only, "Leave the conversation as it is");
  command->add_flag("--chat-only", flags->chat_only, "Leave the files as they are")
      ->excludes(files);
  command->add_flag("--also-others", flags->options.also_others,
                    "Also take back what other sessions have changed since");
  command->callback([flags, &program] {
    program.action = [flags, &program] { return RewindBack(program, *flags); };
  });
}

}  // namespace cofferdam::cli
