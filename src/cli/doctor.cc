// cofferdam doctor: which layers of the sandbox and which limits of the disk can be had here, what
// to do about the others, and how many sandboxes this machine's limits allow.
#include <unistd.h>

#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

#include "base/error.h"
#include "cli/exit_codes.h"
#include "cli/program.h"
#include "platform/disk_plan.h"
#include "platform/id_space.h"
#include "sandbox/diagnose.h"
#include "sandbox/host_limits.h"
#include "sandbox/spec.h"

namespace cofferdam::cli {
namespace {

/// Under which ids of the host tools run here.
struct IdDiagnosis {
  /// How many workspaces can have ids of their own; 0 when all share those of `shared`.
  std::uint32_t ranges = 0;
  std::string where = {};
  sandbox::HostIdentity shared = {};
  bool as_root = false;
};

constexpr const char* kSharedCounters =
    "the kernel counts inotify instances, pending signals, message queues and namespaces for each "
    "uid, so one workspace can use them up for the others";

Result<IdDiagnosis> DiagnoseIds() {
  IdDiagnosis ids{.shared = sandbox::ToolIdentity(), .as_root = ::geteuid() == 0};
  if (!ids.as_root) return ids;
  ASSIGN_OR_RETURN(const platform::IdSpace space, platform::IdSpace::OfThisMachine());
  ids.ranges = space.size();
  ids.where = space.Describe();
  return ids;
}

std::string Describe(const IdDiagnosis& ids) {
  if (ids.ranges > 0)
    return "each workspace has " + std::to_string(platform::kIdsPerWorkspace) +
           " uids and gids of its own, from " + ids.where + " of this host (room for " +
           std::to_string(ids.ranges) + "); `cofferdam workspace show` names them";
  const std::string shared = "the tools of all workspaces run as uid " +
                             std::to_string(ids.shared.uid) + ", gid " +
                             std::to_string(ids.shared.gid) + " of this host";
  if (!ids.as_root)
    return shared + ", your own: " + kSharedCounters +
           " and for you; a host that runs as root gives each workspace its own";
  return shared + ": " + kSharedCounters +
         "; map at least 65536 ids, or those from 2000203776 on, into this container";
}

json::Json ToJson(const IdDiagnosis& ids) {
  if (ids.ranges == 0) return {{"own", false}, {"uid", ids.shared.uid}, {"gid", ids.shared.gid}};
  return {{"own", true},
          {"each", platform::kIdsPerWorkspace},
          {"ranges", ids.ranges},
          {"where", ids.where}};
}

/// The state directory, or what of its path is there already.
Result<std::string> ExistingStatePath(const Program& program) {
  ASSIGN_OR_RETURN(const std::string state, StatePath(program));
  std::filesystem::path path = std::filesystem::absolute(state);
  std::error_code ignored;
  while (!std::filesystem::exists(path, ignored) && path.has_relative_path())
    path = path.parent_path();
  return path.string();
}

json::Json ToJson(const std::vector<platform::DiskDiagnosis>& disk) {
  json::Json list = json::Json::array();
  for (const platform::DiskDiagnosis& one : disk)
    list.push_back({{"mechanism", platform::DiskMechanismName(one.mechanism)},
                    {"available", one.available},
                    {"detail", one.detail},
                    {"remedy", one.remedy}});
  return list;
}

void Print(const std::vector<platform::DiskDiagnosis>& disk, const std::string& path) {
  std::cout << "disk limits in " << path << ":\n";
  for (const platform::DiskDiagnosis& one : disk) {
    std::cout << (one.available ? "ok      " : "absent  ")
              << platform::DiskMechanismName(one.mechanism) << ": " << one.detail << '\n';
    if (!one.remedy.empty()) std::cout << "          " << one.remedy << '\n';
  }
}

json::Json ToJson(const sandbox::Diagnosis& diagnosis, const IdDiagnosis& ids) {
  json::Json layers = json::Json::array();
  for (const sandbox::LayerDiagnosis& layer : diagnosis.layers)
    layers.push_back({{"layer", sandbox::LayerName(layer.layer)},
                      {"available", layer.available},
                      {"required", layer.required},
                      {"detail", layer.detail},
                      {"remedy", layer.remedy}});
  return {{"layers", std::move(layers)},
          {"host_ids", ToJson(ids)},
          {"run_would_be_refused", diagnosis.RunWouldBeRefused()}};
}

void Print(const sandbox::Diagnosis& diagnosis, const IdDiagnosis& ids) {
  for (const sandbox::LayerDiagnosis& layer : diagnosis.layers) {
    const char* state = layer.available ? "ok      " : layer.required ? "MISSING " : "absent  ";
    std::cout << state << sandbox::LayerName(layer.layer) << ": " << layer.detail << '\n';
    if (!layer.remedy.empty()) std::cout << "          " << layer.remedy << '\n';
  }
  std::cout << Describe(ids) << '\n'
            << (diagnosis.RunWouldBeRefused() ? "a run would be refused\n" : "a run would start\n");
}

json::Json ToJson(const std::vector<sandbox::HostLimit>& limits) {
  json::Json list = json::Json::array();
  for (const sandbox::HostLimit& limit : limits)
    list.push_back({{"name", limit.name},
                    {"value", limit.value},
                    {"takes", limit.takes},
                    {"shared_by", limit.shared_by},
                    {"sandboxes", limit.sandboxes},
                    {"remedy", limit.remedy}});
  return list;
}

void Print(const std::vector<sandbox::HostLimit>& limits) {
  std::cout << "how many sandboxes can live at once, by the limits of this machine:\n";
  for (const sandbox::HostLimit& limit : limits) {
    std::cout << "  " << limit.sandboxes << " of " << limit.shared_by << ": " << limit.name
              << " is " << limit.value << "; each takes " << limit.takes << '\n';
    if (!limit.remedy.empty()) std::cout << "          " << limit.remedy << '\n';
  }
}

}  // namespace

void AddDoctorCommand(CLI::App& app, Program& program) {
  CLI::App* command =
      app.add_subcommand("doctor", "What of the sandbox can be had on this machine");
  command->callback([&program] {
    program.action = [&program]() -> Result<int> {
      ASSIGN_OR_RETURN(const std::string path, ExistingStatePath(program));
      const std::vector<platform::DiskDiagnosis> disk = platform::DiagnoseDisk(path);
      const sandbox::Diagnosis diagnosis = sandbox::Diagnose();
      ASSIGN_OR_RETURN(const IdDiagnosis ids, DiagnoseIds());
      const std::vector<sandbox::HostLimit> limits = sandbox::ReadHostLimits();
      if (program.json) {
        json::Json answer = ToJson(diagnosis, ids);
        answer["limits"] = ToJson(limits);
        answer["disk"] = {{"path", path}, {"mechanisms", ToJson(disk)}};
        PrintJson(answer);
      } else {
        Print(diagnosis, ids);
        Print(limits);
        Print(disk, path);
      }
      return diagnosis.RunWouldBeRefused() ? kExitFailed : kExitOk;
    };
  });
}

}  // namespace cofferdam::cli
