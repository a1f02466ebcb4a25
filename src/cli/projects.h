// What the commands about projects share: which one is meant, and how paths and changes are said.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <cofferdam/projects.h>
#include <cofferdam/workspace.h>

#include "base/error.h"
#include "cli/program.h"
#include "json/json.h"

namespace cofferdam::cli {

/// Adds the argument DIR.
void AddProjectArgument(CLI::App& command, std::optional<std::string>& directory);

/// The project that is meant: DIR (empty: the workspace's own files), else the one in which the
/// current directory lies, if an agent of the workspace has worked there; nothing leaves it to the
/// settings. kNotFound for a directory that there is not.
Result<std::optional<std::string>> ChooseProject(const Workspace& workspace,
                                                 const std::optional<std::string>& directory);

/// "project /srv/p", "the workspace's own files".
std::string NameOfProject(const std::string& project);

/// A path as a member of `object`; bytes that are no UTF-8 stand in `<key>_hex`, too.
void PutPath(json::Json& object, const std::string& key, const std::string& path);

json::Json ToJson(const std::vector<ProjectChange>& changes);
json::Json ToJson(const std::vector<LeftOutPath>& left_out);

/// One line: "renamed a -> b".
std::string Describe(const ProjectChange& change);

/// What was left out, on standard error.
void PrintLeftOut(const std::vector<LeftOutPath>& left_out);

}  // namespace cofferdam::cli
