// The platform: one state directory and all in it. Start here.
//
//   auto platform = cofferdam::Platform::Open({.state = "/srv/agents"});
//   auto alice = platform->CreateWorkspace("alice");
//   auto run = alice->Run({.message = "Tidy the repository."});
//   for (const cofferdam::RunEvent& event : (*run)->Events()) { … }
//   const cofferdam::RunResult& result = (*run)->Wait();
//
// For a single user, Runtime::Open gives a workspace without any of that.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <cofferdam/error.h>
#include <cofferdam/run.h>
#include <cofferdam/settings.h>
#include <cofferdam/workspace.h>

namespace cofferdam {

struct PlatformOptions {
  /// The state directory; made, with mode 0700, when it is missing. Not a directory of the system
  /// itself, and not one with other things in it.
  std::string state = {};
  /// For every run of every workspace; a workspace's own settings come before these.
  Settings settings = {};
  /// Runs and commands of all workspaces that go on at the same time, in this process; more wait.
  /// Without a value what the memory allows that is available now (docs/configuration.md).
  std::optional<std::int64_t> max_platform_runs = {};
  /// The API keys by provider ("anthropic"). Taken over and wiped; they never enter a sandbox.
  std::map<std::string, std::string> api_keys = {};
};

/// What to do with runs that still go on in a workspace that is to be deleted.
enum class LiveRuns {
  kRefuse,  // kBusy, and nothing is deleted
  kEnd,     // cancelled and waited for; those of another process are kBusy all the same
};

/// How a workspace was forked.
struct ForkResult {
  /// "shared": the files of the first are a layer below both now. "copied": the second has a copy
  /// of them as its layer, and the first is as it was.
  std::string method = {};
  /// Of a copy: why it had to be one. A sentence without its end.
  std::string reason = {};
  /// The new layer's id; empty when none was needed, since there was nothing above those before.
  std::string layer = {};
  /// Of a copy, paths in /workspace, for a person (control bytes and the like as \xNN): devices,
  /// pipes and sockets, and what could not be read.
  std::vector<std::string> left_out = {};
  double milliseconds = 0;
};

/// A handle of an open state directory; copies are the same one. Several processes may have it
/// open. Safe to use from several threads.
class Platform {
 public:
  /// kInvalidArgument for a directory that cannot be one, kPermissionDenied for another user's,
  /// kUnsupported for a format that is newer than this program, kCorrupt for a damaged one.
  static Result<Platform> Open(PlatformOptions options);

  const std::string& state() const;
  /// A UUID made with the state directory.
  const std::string& id() const;

  /// Ids are 1 to 128 of A-Z a-z 0-9 _ -. kAlreadyExists.
  Result<Workspace> CreateWorkspace(const std::string& workspace, const Settings& settings = {});
  /// Makes the workspace `to` with the settings of `from` and the files in its /workspace, as they
  /// are now; what one of the two changes from then on the other does not see. Neither sessions,
  /// memory, credentials and the home directory nor pending changes of projects come with them.
  /// Costs the same however many files there are, unless somebody works with them: then they are
  /// copied (ForkResult says so). The kept sandboxes of `from` end; its files cannot be rewound to
  /// before the fork unless they were copied. kNotFound, kAlreadyExists, kUnsupported for files
  /// that lie in an image.
  Result<ForkResult> ForkWorkspace(const std::string& from, const std::string& to);
  /// kNotFound.
  Result<Workspace> GetWorkspace(const std::string& workspace);
  /// Sorted by name. Folders that are no workspaces are left out.
  Result<std::vector<std::string>> ListWorkspaces() const;
  /// Removes the workspace and everything in it. kNotFound, kBusy.
  Status DeleteWorkspace(const std::string& workspace, LiveRuns live_runs);

  /// The platform's own.
  class State;

 private:
  explicit Platform(std::shared_ptr<State> state) : state_(std::move(state)) {}
  std::shared_ptr<State> state_;
};

/// Single-user mode: the workspace "default" of the user's own state directory, made on first use.
///
///   auto runtime = cofferdam::Runtime::Open({});
///   auto run = runtime->workspace().Run({.message = "What is in this folder?"});
///   std::cout << (*run)->Wait().text << "\n";
class Runtime {
 public:
  /// With an empty `options.state`: COFFERDAM_STATE_DIR, else $XDG_STATE_HOME/cofferdam, else
  /// ~/.local/state/cofferdam.
  static Result<Runtime> Open(PlatformOptions options);
  /// The same in a platform that is open already.
  static Result<Runtime> Open(Platform platform);

  Platform& platform() { return platform_; }
  Workspace& workspace() { return workspace_; }

 private:
  Runtime(Platform platform, Workspace workspace)
      : platform_(std::move(platform)), workspace_(std::move(workspace)) {}
  Platform platform_;
  Workspace workspace_;
};

/// The name of the workspace of single-user mode.
inline constexpr const char* kDefaultWorkspace = "default";

/// The user's own state directory, as Runtime::Open finds it. kConfig when the environment names
/// none.
Result<std::string> DefaultStateDirectory();

/// Whether a text can be the id of a workspace or a session; the error says why not.
Status CheckName(const std::string& what, const std::string& name);

}  // namespace cofferdam
