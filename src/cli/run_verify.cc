// cofferdam run verify: recomputes the hash chain of a run's record.
#include <iostream>
#include <memory>

#include "base/error.h"
#include "cli/exit_codes.h"
#include "cli/program.h"

namespace cofferdam::cli {
namespace {

struct VerifyFlags {
  std::string workspace = {};
  std::string run = {};
};

Result<int> Verify(const Program& program, const VerifyFlags& flags) {
  ASSIGN_OR_RETURN(const Workspace workspace, OpenWorkspace(program, flags.workspace));
  ASSIGN_OR_RETURN(const RecordCheck check, workspace.VerifyRun(flags.run));
  if (program.json)
    PrintJson({{"run", check.run_id},
               {"events", check.events},
               {"head", check.head},
               {"complete", check.complete}});
  else if (check.head.empty())
    std::cout << "nothing was recorded: the host was killed before the run began\n";
  else
    std::cout << "intact: " << check.events << " events, head " << check.head
              << (check.complete ? "" : "; the run has not ended, or its host was killed") << '\n';
  return kExitOk;
}

}  // namespace

void AddRunVerifyCommand(CLI::App& run, Program& program) {
  CLI::App* command = run.add_subcommand("verify", "Check that a run's record is intact");
  const auto flags = std::make_shared<VerifyFlags>();
  command->add_option("run", flags->run, "The run's id")->required();
  AddWorkspaceFlag(*command, flags->workspace);
  command->callback([flags, &program] {
    program.action = [flags, &program] { return Verify(program, *flags); };
  });
}

}  // namespace cofferdam::cli
