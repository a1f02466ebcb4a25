// What the commands share: the global flags, the open platform, and how results and errors are
// said.
//
// A command is one file with one function Add…Command, which adds its flags and sets the action
// that main runs once the command line has been read.
#pragma once

#include <functional>
#include <stop_token>
#include <string>

#include <CLI/CLI.hpp>

#include <cofferdam/denied_calls.h>
#include <cofferdam/platform.h>

#include "base/error.h"
#include "json/json.h"

namespace cofferdam::cli {

/// Belongs to main; the commands borrow it.
struct Program {
  std::string state = {};
  std::string config = {};
  bool json = false;
  /// Requested by Ctrl-C.
  std::stop_token stop = {};
  /// Does the command's work and gives the exit code. An error is printed by main.
  std::function<Result<int>()> action = {};
};

/// Where the state directory is, or would be: flags before environment before configuration file.
Result<std::string> StatePath(const Program& program);

/// Opens the platform: flags before environment before configuration file.
Result<Platform> OpenPlatform(const Program& program);

/// The workspace of that name; of an empty name the one of single-user mode, made on first use.
Result<Workspace> OpenWorkspace(const Program& program, const std::string& name);

/// Adds -w/--workspace.
void AddWorkspaceFlag(CLI::App& command, std::string& workspace);

/// Adds a flag for every setting; what the user gives is put into `settings`, which must outlive
/// the reading of the command line.
void AddSettingFlags(CLI::App& command, Settings& settings);
/// The same for those settings that matter without an agent.
void AddSandboxFlags(CLI::App& command, Settings& settings);
/// Adds --audit-syscalls.
void AddAuditFlag(CLI::App& command, bool& audit_syscalls);

/// A line of JSON on standard output.
void PrintJson(const json::Json& value);

/// An error on standard error, or, with --json, as {"error": {code, message, hint}} on standard
/// output.
void PrintError(const Program& program, const Error& error);

/// What an audit found: for JSON, and as a table on standard error.
json::Json ToJson(const DeniedCalls& denied);
void PrintDeniedCalls(const DeniedCalls& denied);

/// {code, message, hint}
json::Json ToJson(const Error& error);

void AddRunCommand(CLI::App& app, Program& program);
void AddRunVerifyCommand(CLI::App& run, Program& program);
void AddExecCommand(CLI::App& app, Program& program);
void AddWorkspaceCommand(CLI::App& app, Program& program);
void AddSessionCommand(CLI::App& app, Program& program);
void AddDiffCommand(CLI::App& app, Program& program);
void AddApplyCommand(CLI::App& app, Program& program);
void AddDiscardCommand(CLI::App& app, Program& program);
void AddRewindCommand(CLI::App& app, Program& program);
void AddCheckpointsCommand(CLI::App& app, Program& program);
void AddDoctorCommand(CLI::App& app, Program& program);

}  // namespace cofferdam::cli
