// cofferdam doctor: which layers of the sandbox can be had here, what to do about the others, and
// how many sandboxes this machine's limits allow.
#include <iostream>
#include <vector>

#include "cli/exit_codes.h"
#include "cli/program.h"
#include "sandbox/diagnose.h"
#include "sandbox/host_limits.h"
#include "sandbox/spec.h"

namespace cofferdam::cli {
namespace {

json::Json ToJson(const sandbox::Diagnosis& diagnosis) {
  json::Json layers = json::Json::array();
  for (const sandbox::LayerDiagnosis& layer : diagnosis.layers)
    layers.push_back({{"layer", sandbox::LayerName(layer.layer)},
                      {"available", layer.available},
                      {"required", layer.required},
                      {"detail", layer.detail},
                      {"remedy", layer.remedy}});
  const sandbox::HostIdentity tools = sandbox::ToolIdentity();
  return {{"layers", std::move(layers)},
          {"tools_run_as", {{"uid", tools.uid}, {"gid", tools.gid}}},
          {"run_would_be_refused", diagnosis.RunWouldBeRefused()}};
}

void Print(const sandbox::Diagnosis& diagnosis) {
  for (const sandbox::LayerDiagnosis& layer : diagnosis.layers) {
    const char* state = layer.available ? "ok      " : layer.required ? "MISSING " : "absent  ";
    std::cout << state << sandbox::LayerName(layer.layer) << ": " << layer.detail << '\n';
    if (!layer.remedy.empty()) std::cout << "          " << layer.remedy << '\n';
  }
  const sandbox::HostIdentity tools = sandbox::ToolIdentity();
  std::cout << "tools run as uid " << tools.uid << ", gid " << tools.gid << " of this host\n"
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
      const sandbox::Diagnosis diagnosis = sandbox::Diagnose();
      const std::vector<sandbox::HostLimit> limits = sandbox::ReadHostLimits();
      if (program.json) {
        json::Json answer = ToJson(diagnosis);
        answer["limits"] = ToJson(limits);
        PrintJson(answer);
      } else {
        Print(diagnosis);
        Print(limits);
      }
      return diagnosis.RunWouldBeRefused() ? kExitFailed : kExitOk;
    };
  });
}

}  // namespace cofferdam::cli
