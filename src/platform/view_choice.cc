#include "platform/view_choice.h"

#include "projects/view.h"

namespace cofferdam::platform {

Settings SettingsOf(const Workspace::State& workspace) {
  return Overlay(workspace.platform().settings(), workspace.settings());
}

Result<ViewChoice> KnownView(const Workspace::State& workspace,
                             const std::optional<std::string>& project,
                             projects::Checkpoints& checkpoints) {
  Settings settings = SettingsOf(workspace);
  if (project) settings.project = *project;
  ASSIGN_OR_RETURN(ViewChoice choice,
                   ChooseView(settings, workspace.platform().directory().path()));
  if (choice.project.empty()) return choice;
  ASSIGN_OR_RETURN(const auto record, projects::ReadView(checkpoints.database(), choice.view));
  if (record) {
    choice.mode = record->mode;
    return choice;
  }
  if (!choice.has_upper())
    return Err(ErrorCode::kUnsupported,
               "in mode " + std::string(projects::ProjectModeName(choice.mode)) +
                   " nothing is kept apart from the project: " + choice.project);
  return Err(ErrorCode::kNotFound,
             "no agent of workspace '" + workspace.id() + "' has worked on " + choice.project);
}

Result<ViewChoice> ChoiceOf(const std::string& view, projects::Checkpoints& checkpoints) {
  if (view == projects::kWorkView) return ViewChoice{};
  ASSIGN_OR_RETURN(const auto record, projects::ReadView(checkpoints.database(), view));
  if (!record) return Err(ErrorCode::kNotFound, "nothing is known of the project " + view);
  return ViewChoice{.view = view, .project = record->source, .mode = record->mode};
}

}  // namespace cofferdam::platform
