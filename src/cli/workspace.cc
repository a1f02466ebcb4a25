// cofferdam workspace: create, fork, list, show, set, delete.
#include <iostream>
#include <memory>

#include "base/error.h"
#include "cli/exit_codes.h"
#include "cli/program.h"
#include "platform/settings.h"

namespace cofferdam::cli {
namespace {

struct WorkspaceFlags {
  std::string id = {};
  std::string copy = {};
  std::string key = {};
  std::string value = {};
  Settings settings = {};
};

using WorkspaceAction = Result<int> (*)(const Program&, const WorkspaceFlags&);

json::Json ToJson(const Workspace& workspace) {
  const HostIds ids = workspace.host_ids();
  return {{"id", workspace.id()},
          {"files", workspace.work_folder()},
          {"host_ids",
           {{"first_uid", ids.first_uid},
            {"first_gid", ids.first_gid},
            {"count", ids.count},
            {"own", ids.own}}},
          {"settings", platform::ToJson(workspace.settings())}};
}

std::string Describe(const HostIds& ids) {
  const std::string first = std::to_string(ids.first_uid);
  if (!ids.own)
    return "uid " + first + ", gid " + std::to_string(ids.first_gid) + ", as other workspaces";
  return "uids and gids " + first + " to " + std::to_string(ids.first_uid + ids.count - 1) +
         ", its own; tools run as " + first;
}

json::Json ToJson(const DiskInfo& disk) {
  return {{"mechanism", disk.mechanism},
          {"limit_bytes", disk.limit_bytes},
          {"used_bytes", disk.used_bytes},
          {"problem", disk.problem}};
}

std::string Text(const DiskInfo& disk) {
  const auto mib = [](std::uint64_t bytes) { return std::to_string(bytes >> 20) + " MiB"; };
  std::string text = mib(disk.used_bytes) + " used";
  if (disk.limit_bytes > 0) text += " of " + mib(disk.limit_bytes);
  text += ", limit: " + disk.mechanism;
  if (!disk.problem.empty()) text += ", " + disk.problem;
  return text;
}

void Show(const Program& program, const Workspace& workspace) {
  if (program.json) {
    PrintJson(ToJson(workspace));
    return;
  }
  std::cout << workspace.id() << "\n  files: " << workspace.work_folder()
            << "\n  host ids: " << Describe(workspace.host_ids()) << '\n';
  const json::Json settings = platform::ToJson(workspace.settings());
  for (const auto& [key, value] : settings.items())
    std::cout << "  " << key << ": " << json::Dump(value) << '\n';
}

Result<int> Create(const Program& program, const WorkspaceFlags& flags) {
  ASSIGN_OR_RETURN(Platform platform, OpenPlatform(program));
  ASSIGN_OR_RETURN(const Workspace workspace, platform.CreateWorkspace(flags.id, flags.settings));
  Show(program, workspace);
  return kExitOk;
}

Result<int> Fork(const Program& program, const WorkspaceFlags& flags) {
  ASSIGN_OR_RETURN(Platform platform, OpenPlatform(program));
  ASSIGN_OR_RETURN(const ForkResult forked, platform.ForkWorkspace(flags.id, flags.copy));
  if (program.json) {
    PrintJson({{"from", flags.id},
               {"to", flags.copy},
               {"method", forked.method},
               {"reason", forked.reason},
               {"layer", forked.layer},
               {"left_out", forked.left_out},
               {"milliseconds", forked.milliseconds}});
    return kExitOk;
  }
  std::cout << flags.copy << ": the files of " << flags.id << ", " << forked.method;
  if (!forked.reason.empty()) std::cout << ": " << forked.reason;
  std::cout << '\n';
  for (const std::string& path : forked.left_out) std::cout << "  left out: " << path << '\n';
  return kExitOk;
}

Result<int> List(const Program& program, const WorkspaceFlags&) {
  ASSIGN_OR_RETURN(const Platform platform, OpenPlatform(program));
  ASSIGN_OR_RETURN(const std::vector<std::string> ids, platform.ListWorkspaces());
  if (program.json)
    PrintJson({{"workspaces", ids}});
  else
    for (const std::string& id : ids) std::cout << id << '\n';
  return kExitOk;
}

Result<int> ShowOne(const Program& program, const WorkspaceFlags& flags) {
  ASSIGN_OR_RETURN(Platform platform, OpenPlatform(program));
  ASSIGN_OR_RETURN(const Workspace workspace, platform.GetWorkspace(flags.id));
  ASSIGN_OR_RETURN(const DiskInfo disk, workspace.Disk());
  if (program.json) {
    json::Json shown = ToJson(workspace);
    shown["disk"] = ToJson(disk);
    PrintJson(shown);
  } else {
    Show(program, workspace);
    std::cout << "  disk: " << Text(disk) << '\n';
  }
  return kExitOk;
}

Result<int> Set(const Program& program, const WorkspaceFlags& flags) {
  ASSIGN_OR_RETURN(Platform platform, OpenPlatform(program));
  ASSIGN_OR_RETURN(Workspace workspace, platform.GetWorkspace(flags.id));
  Settings settings = workspace.settings();
  RETURN_IF_ERROR(SetSetting(settings, flags.key, flags.value));
  RETURN_IF_ERROR(workspace.SetSettings(settings));
  Show(program, workspace);
  return kExitOk;
}

Result<int> Delete(const Program& program, const WorkspaceFlags& flags) {
  ASSIGN_OR_RETURN(Platform platform, OpenPlatform(program));
  RETURN_IF_ERROR(platform.DeleteWorkspace(flags.id, LiveRuns::kRefuse));
  if (program.json) PrintJson({{"deleted", flags.id}});
  return kExitOk;
}

/// A command below `workspace` that takes the flags and does `action`.
CLI::App* Add(CLI::App& parent, Program& program, const std::shared_ptr<WorkspaceFlags>& flags,
              const char* name, const char* help, WorkspaceAction action) {
  CLI::App* command = parent.add_subcommand(name, help);
  command->callback([flags, action, &program] {
    program.action = [flags, action, &program] { return action(program, *flags); };
  });
  return command;
}

void AddId(CLI::App* command, WorkspaceFlags& flags) {
  command->add_option("id", flags.id, "1 to 128 of A-Z a-z 0-9 _ -")->required();
}

}  // namespace

void AddWorkspaceCommand(CLI::App& app, Program& program) {
  CLI::App* command = app.add_subcommand("workspace", "Create, fork, list, show, change, delete");
  command->require_subcommand(1);
  const auto flags = std::make_shared<WorkspaceFlags>();

  CLI::App* create = Add(*command, program, flags, "create", "Make a workspace", Create);
  AddId(create, *flags);
  AddSettingFlags(*create, flags->settings);
  CLI::App* fork =
      Add(*command, program, flags, "fork", "Make a workspace with the files of another", Fork);
  fork->add_option("from", flags->id, "The workspace that there is")->required();
  fork->add_option("to", flags->copy, "The new one; 1 to 128 of A-Z a-z 0-9 _ -")->required();
  Add(*command, program, flags, "list", "The workspaces by name", List);
  AddId(Add(*command, program, flags, "show", "A workspace and its settings", ShowOne), *flags);
  CLI::App* set = Add(*command, program, flags, "set",
                      "Change a setting (docs/configuration.md); an empty value unsets it", Set);
  AddId(set, *flags);
  set->add_option("key", flags->key, "The setting")->required();
  set->add_option("value", flags->value, "Its value")->required();
  AddId(Add(*command, program, flags, "delete", "Delete a workspace and all in it", Delete),
        *flags);
}

}  // namespace cofferdam::cli
