#include "projects/git.h"

#include <algorithm>

#include "projects/tree_walk.h"

namespace cofferdam::projects {
namespace {

constexpr std::size_t kMaxComplaintBytes = 500;

}  // namespace

Result<GitResult> RunGit(sandbox::Sandbox& sandbox, const std::vector<std::string>& arguments,
                         std::uint64_t max_bytes, const std::stop_token& stop) {
  sandbox::ExecRequest request{.argv = {"git", "--no-pager", "-c", "core.attributesFile=/dev/null"},
                               .environment = {{"GIT_CONFIG_NOSYSTEM", "1"},
                                               {"GIT_CONFIG_GLOBAL", "/dev/null"},
                                               {"GIT_ATTR_NOSYSTEM", "1"},
                                               {"HOME", "/nonexistent"},
                                               {"LC_ALL", "C"}}};
  request.argv.insert(request.argv.end(), arguments.begin(), arguments.end());
  GitResult result;
  std::stop_source end;
  const std::stop_callback pass_on(stop, [&end] { end.request_stop(); });
  const auto take = [&](sandbox::OutputStream stream, std::string_view bytes) {
    if (stream == sandbox::OutputStream::kStderr) {
      result.complaint.append(bytes.substr(0, kMaxComplaintBytes - result.complaint.size()));
      return;
    }
    const std::size_t room = max_bytes - result.output.size();
    result.output.append(bytes.substr(0, room));
    if (bytes.size() <= room) return;
    result.is_cut = true;
    end.request_stop();
  };
  const auto run = sandbox.Exec(request, take, end.get_token());
  if (stop.stop_requested()) return Err(ErrorCode::kCancelled, "cancelled");
  if (!run && run.error().code == ErrorCode::kNotFound)
    return Err(ErrorCode::kUnsupported, "git is needed, which this host does not have",
               "install it: apt-get install git");
  if (!run && !result.is_cut) return std::unexpected(run.error().With("running git"));
  result.exit_code = run ? run->exit_code : 0;
  result.complaint = PathForPerson(result.complaint);
  return result;
}

}  // namespace cofferdam::projects
