#include "projects/merge.h"

#include <array>
#include <string>
#include <utility>

#include "projects/git.h"

namespace cofferdam::projects {
namespace {

constexpr char kFolder[] = "/tmp/cofferdam-merge";

Result<std::optional<std::string>> MergeTexts(sandbox::Sandbox& sandbox,
                                              const std::stop_token& stop, const std::string& base,
                                              const std::string& project,
                                              const std::string& agent) {
  const std::string folder = kFolder;
  const std::array<std::pair<std::string, const std::string*>, 3> texts = {
      {{folder + "/project", &project}, {folder + "/base", &base}, {folder + "/agent", &agent}}};
  for (const auto& [path, text] : texts)
    RETURN_IF_ERROR(sandbox.Write({.path = path, .bytes = *text, .create_parents = true}, stop));
  // More than both sides together is no merge of them.
  const std::uint64_t max_bytes = project.size() + agent.size() + base.size() + 1;
  ASSIGN_OR_RETURN(GitResult result, RunGit(sandbox,
                                            {"merge-file", "--stdout", "--quiet", texts[0].first,
                                             texts[1].first, texts[2].first},
                                            max_bytes, stop));
  RETURN_IF_ERROR(sandbox.Remove(folder, true));
  // Else it is the number of conflicts, or says that there is something else than text.
  if (result.is_cut || result.exit_code != 0) return std::nullopt;
  return std::move(result.output);
}

}  // namespace

Merge MergeIn(sandbox::Sandbox& sandbox, const std::stop_token& stop) {
  return [&sandbox, stop](const std::string& base, const std::string& project,
                          const std::string& agent) {
    return MergeTexts(sandbox, stop, base, project, agent);
  };
}

}  // namespace cofferdam::projects
