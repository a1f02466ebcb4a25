// cofferdam doctor: which layers of the sandbox can be had here, and what to do about the others.
#include <iostream>

#include "cli/exit_codes.h"
#include "cli/program.h"
#include "sandbox/diagnose.h"
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

}  // namespace

void AddDoctorCommand(CLI::App& app, Program& program) {
  CLI::App* command =
      app.add_subcommand("doctor", "What of the sandbox can be had on this machine");
  command->callback([&program] {
    program.action = [&program]() -> Result<int> {
      const sandbox::Diagnosis diagnosis = sandbox::Diagnose();
      if (program.json)
        PrintJson(ToJson(diagnosis));
      else
        Print(diagnosis);
      return diagnosis.RunWouldBeRefused() ? kExitFailed : kExitOk;
    };
  });
}

}  // namespace cofferdam::cli
