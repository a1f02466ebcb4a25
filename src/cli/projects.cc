#include "cli/projects.h"

#include <filesystem>
#include <iostream>

#include "base/utf8.h"
#include "crypto/hex.h"
#include "projects/tree_walk.h"

namespace cofferdam::cli {
namespace {

namespace fs = std::filesystem;

bool IsBelow(const fs::path& path, const fs::path& directory) {
  const auto [end, ignored] =
      std::mismatch(directory.begin(), directory.end(), path.begin(), path.end());
  return end == directory.end();
}

json::Json ToJson(const std::optional<FileState>& state) {
  if (!state) return nullptr;
  json::Json object = {{"kind", state->kind}};
  if (state->kind != "symlink") {
    char mode[8];
    std::snprintf(mode, sizeof(mode), "%04o", state->mode);
    object["mode"] = mode;
  }
  if (state->kind == "file") {
    object["size"] = state->size;
    object["sha256"] = state->sha256;
  }
  if (state->kind == "symlink") PutPath(object, "target", state->target);
  return object;
}

}  // namespace

void AddProjectArgument(CLI::App& command, std::optional<std::string>& directory) {
  command.add_option("dir", directory,
                     "The project; without it the one in which you are, if an agent has worked "
                     "there, else the workspace's setting, else its own files ('')");
}

Result<std::optional<std::string>> ChooseProject(const Workspace& workspace,
                                                 const std::optional<std::string>& directory) {
  std::error_code error;
  if (directory) {
    if (directory->empty()) return directory;
    const fs::path path = fs::canonical(*directory, error);
    if (error) return Err(ErrorCode::kNotFound, *directory + ": " + error.message());
    return path.string();
  }
  const fs::path here = fs::current_path(error);
  if (error) return std::nullopt;
  ASSIGN_OR_RETURN(const std::vector<ProjectInfo> projects, workspace.Projects());
  std::optional<std::string> nearest;
  for (const ProjectInfo& project : projects)
    if (IsBelow(here, project.path) && project.path.size() >= nearest.value_or("").size())
      nearest = project.path;
  return nearest;
}

std::string NameOfProject(const std::string& project) {
  return project.empty() ? "the workspace's own files"
                         : "project " + projects::PathForPerson(project);
}

void PutPath(json::Json& object, const std::string& key, const std::string& path) {
  object[key] = path;
  if (!IsValidUtf8(path))
    object[key + "_hex"] =
        crypto::HexEncode({reinterpret_cast<const unsigned char*>(path.data()), path.size()});
}

json::Json ToJson(const std::vector<ProjectChange>& changes) {
  json::Json list = json::Json::array();
  for (const ProjectChange& change : changes) {
    json::Json object = {{"change", change.kind},
                         {"before", ToJson(change.before)},
                         {"after", ToJson(change.after)},
                         {"added_lines", change.added_lines},
                         {"removed_lines", change.removed_lines},
                         {"binary", change.binary}};
    PutPath(object, "path", change.path);
    if (!change.old_path.empty()) PutPath(object, "old_path", change.old_path);
    list.push_back(std::move(object));
  }
  return list;
}

json::Json ToJson(const std::vector<LeftOutPath>& left_out) {
  json::Json list = json::Json::array();
  for (const LeftOutPath& path : left_out) {
    json::Json object = {{"why", path.why}, {"size", path.size}};
    PutPath(object, "path", path.path);
    list.push_back(std::move(object));
  }
  return list;
}

std::string Describe(const ProjectChange& change) {
  std::string line = change.kind + " ";
  if (!change.old_path.empty()) line += projects::PathForPerson(change.old_path) + " -> ";
  return line + projects::PathForPerson(change.path);
}

void PrintLeftOut(const std::vector<LeftOutPath>& left_out) {
  for (const LeftOutPath& path : left_out)
    std::cerr << "cofferdam: left out, " << path.why << ": " << projects::PathForPerson(path.path)
              << '\n';
}

}  // namespace cofferdam::cli
