#include "cli/program.h"

#include <stdlib.h>
#include <string.h>

#include <cstdio>
#include <filesystem>
#include <iomanip>
#include <iostream>

#include "base/error.h"
#include "platform/config.h"
#include "platform/settings.h"

namespace cofferdam::cli {
namespace {

/// Takes a secret out of the environment, so that neither /proc/<pid>/environ nor a program that is
/// started later has it.
std::string TakeFromEnvironment(const char* name) {
  char* value = ::getenv(name);
  if (value == nullptr) return {};
  std::string taken = value;
  ::explicit_bzero(value, taken.size());
  ::unsetenv(name);
  return taken;
}

/// "--max-turns" for max_turns; the lists are given one by one.
std::string FlagFor(const platform::SettingKey& key) {
  if (key.name == "mounts") return "--mount";
  std::string flag = "--" + std::string(key.name);
  for (char& c : flag)
    if (c == '_') c = '-';
  return flag;
}

/// Throws what CLI11 wants to be thrown for a bad value.
void Require(const Status& status) {
  if (!status) throw CLI::ValidationError(status.error().ToString());
}

/// A person names a directory as seen from where they are; nothing: the workspace's own files.
void SetProject(Settings& settings, const std::string& directory) {
  std::error_code error;
  settings.project = directory.empty() ? "" : std::filesystem::canonical(directory, error).string();
  if (error) throw CLI::ValidationError(directory + ": " + error.message());
}

void AddSettingFlag(CLI::App& command, Settings& settings, const platform::SettingKey& key) {
  const bool is_list = std::holds_alternative<platform::MountsKey>(key.value) ||
                       std::holds_alternative<platform::NamesKey>(key.value);
  const auto set = [&settings, &key](const std::string& value) {
    Settings one;
    if (key.name == "project") return SetProject(settings, value);
    Require(SetSetting(one, std::string(key.name), value));
    // Lists add up; of the rest the last one wins.
    settings = Overlay(std::move(settings), one);
  };
  CLI::Option* option =
      is_list ? command.add_option_function<std::vector<std::string>>(
                    FlagFor(key),
                    [set](const std::vector<std::string>& values) {
                      for (const std::string& value : values) set(value);
                    },
                    std::string(key.help))
              : command.add_option_function<std::string>(FlagFor(key), set, std::string(key.help));
  if (is_list) option->allow_extra_args(false);
  option->group("Settings");
}

Result<platform::Config> Configuration(const Program& program) {
  return platform::LoadConfig(program.config.empty() ? std::nullopt : std::optional(program.config),
                              platform::ProcessEnvironment);
}

Result<std::string> StatePath(const Program& program, const platform::Config& config) {
  if (!program.state.empty()) return program.state;
  if (auto path = platform::ProcessEnvironment("COFFERDAM_STATE_DIR")) return *path;
  if (!config.state.value_or("").empty()) return *config.state;
  return DefaultStateDirectory();
}

}  // namespace

Result<std::string> StatePath(const Program& program) {
  ASSIGN_OR_RETURN(const platform::Config config, Configuration(program));
  return StatePath(program, config);
}

Result<Platform> OpenPlatform(const Program& program) {
  PlatformOptions options;
  // First, so that the key is gone from the environment whatever else goes wrong.
  if (std::string key = TakeFromEnvironment("ANTHROPIC_API_KEY"); !key.empty())
    options.api_keys.emplace("anthropic", std::move(key));
  ASSIGN_OR_RETURN(platform::Config config, Configuration(program));
  options.settings = std::move(config.settings);
  options.max_platform_runs = config.max_platform_runs;
  ASSIGN_OR_RETURN(options.state, StatePath(program, config));
  return Platform::Open(std::move(options));
}

Result<Workspace> OpenWorkspace(const Program& program, const std::string& name) {
  ASSIGN_OR_RETURN(Platform platform, OpenPlatform(program));
  if (!name.empty()) return platform.GetWorkspace(name);
  ASSIGN_OR_RETURN(Runtime runtime, Runtime::Open(std::move(platform)));
  return runtime.workspace();
}

void AddWorkspaceFlag(CLI::App& command, std::string& workspace) {
  command.add_option("-w,--workspace", workspace,
                     "The workspace; without it the one called default, made on first use");
}

void AddSettingFlags(CLI::App& command, Settings& settings) {
  for (const platform::SettingKey& key : platform::SettingTable())
    AddSettingFlag(command, settings, key);
}

void AddAuditFlag(CLI::App& command, bool& audit_syscalls) {
  command.add_flag("--audit-syscalls", audit_syscalls,
                   "List the system calls that seccomp refused");
}

void AddSandboxFlags(CLI::App& command, Settings& settings) {
  for (const platform::SettingKey& key : platform::SettingTable())
    if (key.of_sandbox) AddSettingFlag(command, settings, key);
}

void PrintJson(const json::Json& value) {
  std::cout << json::Dump(value) << '\n';
  std::cout.flush();
}

json::Json ToJson(const Error& error) {
  return {{"code", ErrorCodeName(error.code)}, {"message", error.message}, {"hint", error.hint}};
}

json::Json ToJson(const DeniedCalls& denied) {
  json::Json calls = json::Json::array();
  for (const DeniedCall& call : denied.calls)
    calls.push_back({{"syscall", call.syscall},
                     {"call", call.call},
                     {"answer", call.answer},
                     {"count", call.count}});
  return {{"calls", std::move(calls)}, {"others", denied.others}};
}

void PrintDeniedCalls(const DeniedCalls& denied) {
  if (denied.calls.empty()) {
    std::cerr << "cofferdam: seccomp refused no system call\n";
    return;
  }
  std::cerr << "cofferdam: seccomp refused:\n"
            << std::setw(10) << "count" << "  " << std::setw(16) << std::left << "answer"
            << "call\n";
  for (const DeniedCall& call : denied.calls)
    std::cerr << std::setw(10) << std::right << call.count << "  " << std::setw(16) << std::left
              << call.answer << call.call << '\n';
  if (denied.others > 0)
    std::cerr << std::setw(10) << std::right << denied.others << "  of other kinds\n";
}

void PrintError(const Program& program, const Error& error) {
  if (program.json) {
    PrintJson({{"error", ToJson(error)}});
    return;
  }
  std::cerr << "cofferdam: " << error.message << " [" << ErrorCodeName(error.code) << "]\n";
  if (!error.hint.empty()) std::cerr << "  " << error.hint << '\n';
}

}  // namespace cofferdam::cli
