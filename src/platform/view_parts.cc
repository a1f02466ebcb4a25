#include "platform/view_parts.h"

#include <fcntl.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>

#include "sys/file.h"

namespace cofferdam::platform {
namespace {

/// Of the user who runs this, or empty.
std::string OwnHome() {
  struct passwd entry{};
  struct passwd* found = nullptr;
  std::array<char, 4096> buffer{};
  if (::getpwuid_r(::geteuid(), &entry, buffer.data(), buffer.size(), &found) != 0 || !found)
    return {};
  return entry.pw_dir;
}

Status CheckProject(const std::string& directory, const std::string& state_directory) {
  if (const Status source = sandbox::CheckMountSource(directory, state_directory, OwnHome());
      !source)
    return std::unexpected(source.error().With("the project"));
  ASSIGN_OR_RETURN(const sys::UniqueFd fd, sys::Open(directory, O_PATH | O_NOFOLLOW));
  ASSIGN_OR_RETURN(const struct stat info, sys::Stat(fd.get()));
  if (S_ISDIR(info.st_mode)) return {};
  return Err(ErrorCode::kMountRefused, "the project " + directory + " is no directory");
}

}  // namespace

Result<ViewChoice> ChooseView(const Settings& settings, const std::string& state_directory) {
  const std::string project = settings.project.value_or("");
  if (project.empty()) return ViewChoice();
  RETURN_IF_ERROR(CheckProject(project, state_directory));
  ViewChoice choice{.view = projects::ProjectKey(project), .project = project};
  if (settings.project_mode) {
    ASSIGN_OR_RETURN(choice.mode, projects::ProjectModeFromName(*settings.project_mode));
  }
  return choice;
}

}  // namespace cofferdam::platform
