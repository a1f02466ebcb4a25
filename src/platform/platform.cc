#include <cofferdam/platform.h>

#include "base/error.h"
#include "model/factory.h"
#include "platform/config.h"
#include "platform/effective.h"
#include "platform/fork.h"
#include "platform/layer_use.h"
#include "platform/platform_state.h"
#include "policy/host_memory.h"
#include "sys/file.h"

namespace cofferdam {

namespace {

bool MemoryIsShort() {
  const auto memory = policy::ReadHostMemory();
  // What cannot be read is no reason to end anything.
  return memory && policy::IsShort(*memory);
}

Result<std::size_t> SlotsOf(const PlatformOptions& options) {
  if (options.max_platform_runs) {
    if (*options.max_platform_runs >= 1)
      return static_cast<std::size_t>(*options.max_platform_runs);
    return Err(ErrorCode::kInvalidArgument, "max_platform_runs must be above 0");
  }
  ASSIGN_OR_RETURN(const policy::HostMemory memory, policy::ReadHostMemory());
  return policy::SlotsFor(memory);
}

}  // namespace

Platform::State::State(platform::StateDirectory directory, Settings settings,
                       std::map<std::string, crypto::SecretString> api_keys, std::size_t slots)
    : directory_(std::move(directory)),
      settings_(std::move(settings)),
      api_keys_(std::move(api_keys)),
      admission_({.slots = slots}),
      kept_({.most = slots, .memory_is_short = MemoryIsShort}) {}

Result<std::shared_ptr<Workspace::State>> Platform::State::OpenWorkspace(const std::string& id) {
  ASSIGN_OR_RETURN(sys::UniqueFd folder, directory_.OpenWorkspace(id));
  ASSIGN_OR_RETURN(const struct stat found, sys::Stat(folder.get()));
  {
    const std::lock_guard lock(mutex_);
    if (auto open = FindOpen(id, found)) return open;
  }
  // May have to wait, so others are not kept waiting for it.
  ASSIGN_OR_RETURN(const platform::OwnIdentity identity, directory_.IdentityOf(id, folder.get()));
  const std::lock_guard lock(mutex_);
  if (auto open = FindOpen(id, found)) return open;
  auto settings = platform::ReadWorkspaceSettings(folder.get());
  if (!settings) return std::unexpected(settings.error().With("workspace '" + id + "'"));
  auto state = std::make_shared<Workspace::State>(shared_from_this(), id, std::move(folder),
                                                  identity, std::move(*settings));
  workspaces_[id] = state;
  return state;
}

// The caller holds the lock.
std::shared_ptr<Workspace::State> Platform::State::FindOpen(const std::string& id,
                                                            const struct stat& folder) {
  auto open = workspaces_[id].lock();
  if (open == nullptr) return nullptr;
  // Another process may have deleted it and made one of the same name.
  const auto known = sys::Stat(open->folder());
  const bool same = known && known->st_ino == folder.st_ino && known->st_dev == folder.st_dev;
  return same ? open : nullptr;
}

void Platform::State::Forget(const std::string& id) {
  const std::lock_guard lock(mutex_);
  workspaces_.erase(id);
}

Result<sandbox::Launcher*> Platform::State::Launcher() {
  const std::lock_guard lock(mutex_);
  if (launcher_ == nullptr) {
    ASSIGN_OR_RETURN(launcher_, sandbox::Launcher::Start());
  }
  return launcher_.get();
}

Result<std::unique_ptr<model::Provider>> Platform::State::MakeProvider(const Settings& settings,
                                                                       const std::string& script) {
  model::ProviderConfig config{.name = platform::ModelOf(settings).provider,
                               .base_url = settings.base_url.value_or(""),
                               .script_path = script};
  if (const auto key = api_keys_.find(config.name); key != api_keys_.end())
    config.api_key = key->second.Clone();
  const std::lock_guard lock(mutex_);
  if (http_ == nullptr) {
    ASSIGN_OR_RETURN(http_, net::HttpClient::Create({}));
  }
  return model::MakeProvider(std::move(config), *http_, clock_);
}

Result<Platform> Platform::Open(PlatformOptions options) {
  std::map<std::string, crypto::SecretString> keys;
  for (auto& [provider, key] : options.api_keys)
    keys.emplace(provider, crypto::SecretString::TakeAndWipe(std::move(key)));
  ASSIGN_OR_RETURN(const std::size_t slots, SlotsOf(options));
  ASSIGN_OR_RETURN(platform::StateDirectory directory,
                   platform::StateDirectory::Open(options.state, SystemClock()));
  // What cannot be collected now is the next time; it is in nobody's way.
  static_cast<void>(platform::CollectLeftLayers(directory, SystemClock()));
  return Platform(std::make_shared<State>(std::move(directory), std::move(options.settings),
                                          std::move(keys), slots));
}

const std::string& Platform::state() const { return state_->directory().path(); }

const std::string& Platform::id() const { return state_->directory().id(); }

Result<Workspace> Platform::CreateWorkspace(const std::string& workspace,
                                            const Settings& settings) {
  RETURN_IF_ERROR(state_->directory().CreateWorkspace(workspace, settings, state_->clock()));
  return GetWorkspace(workspace);
}

Result<ForkResult> Platform::ForkWorkspace(const std::string& from, const std::string& to) {
  return platform::ForkWorkspace(*state_, from, to);
}

Result<Workspace> Platform::GetWorkspace(const std::string& workspace) {
  ASSIGN_OR_RETURN(auto state, state_->OpenWorkspace(workspace));
  return Workspace(std::move(state));
}

Result<std::vector<std::string>> Platform::ListWorkspaces() const {
  return state_->directory().ListWorkspaces();
}

Status Platform::DeleteWorkspace(const std::string& workspace, LiveRuns live_runs) {
  if (live_runs == LiveRuns::kEnd) {
    ASSIGN_OR_RETURN(const auto state, state_->OpenWorkspace(workspace));
    state->EndRuns();
  }
  RETURN_IF_ERROR(platform::DeleteWithLayers(state_->directory(), workspace, state_->clock()));
  state_->Forget(workspace);
  state_->kept().End(workspace);
  return {};
}

Result<std::string> DefaultStateDirectory() {
  if (const auto state = platform::ProcessEnvironment("COFFERDAM_STATE_DIR")) return *state;
  if (const auto xdg = platform::ProcessEnvironment("XDG_STATE_HOME")) return *xdg + "/cofferdam";
  if (const auto home = platform::ProcessEnvironment("HOME"))
    return *home + "/.local/state/cofferdam";
  return Err(ErrorCode::kConfig, "no state directory is named, and there is no HOME",
             "set COFFERDAM_STATE_DIR");
}

Result<Runtime> Runtime::Open(PlatformOptions options) {
  if (options.state.empty()) {
    ASSIGN_OR_RETURN(options.state, DefaultStateDirectory());
  }
  ASSIGN_OR_RETURN(Platform platform, Platform::Open(std::move(options)));
  return Open(std::move(platform));
}

Result<Runtime> Runtime::Open(Platform platform) {
  auto workspace = platform.GetWorkspace(kDefaultWorkspace);
  if (!workspace && workspace.error().code == ErrorCode::kNotFound) {
    workspace = platform.CreateWorkspace(kDefaultWorkspace);
    // Another program may have made it just now.
    if (!workspace && workspace.error().code == ErrorCode::kAlreadyExists)
      workspace = platform.GetWorkspace(kDefaultWorkspace);
  }
  if (!workspace) return std::unexpected(workspace.error());
  return Runtime(std::move(platform), std::move(*workspace));
}

}  // namespace cofferdam
