#include "platform/effective.h"

#include <chrono>

#include "base/error.h"

namespace cofferdam::platform {
namespace {

/// The provider that needs no model, no key and no network.
constexpr const char* kScripted = "scripted";
constexpr std::int64_t kDefaultCommandTimeoutSeconds = 300;
constexpr std::int64_t kDefaultMaxConcurrentRuns = 8;
constexpr std::int64_t kDefaultQueueTimeoutSeconds = 600;

constexpr std::int64_t kDefaultDiskMib = 10'240;

Result<sandbox::Limits> LimitsFor(const Settings& settings) {
  sandbox::Limits limits;
  if (settings.memory_mib)
    limits.memory_bytes = static_cast<std::uint64_t>(*settings.memory_mib) << 20;
  if (settings.max_processes)
    limits.processes = static_cast<std::uint64_t>(*settings.max_processes);
  if (settings.cpu_percent)
    limits.cpu_millis_per_second = static_cast<std::uint64_t>(*settings.cpu_percent) * 10;
  // A sparse file may claim no more than the disk may give.
  limits.file_bytes = DiskLimitBytes(settings);
  limits.memory_high_bytes = static_cast<std::uint64_t>(settings.memory_high_mib.value_or(0)) << 20;
  limits.cpu_weight = static_cast<std::uint64_t>(settings.cpu_weight.value_or(0));
  for (const std::string& text : settings.io_max) {
    ASSIGN_OR_RETURN(const sandbox::IoLimit limit, sandbox::ParseIoLimit(text));
    limits.io.push_back(limit);
  }
  return limits;
}

/// What the model is to know of a project that is /workspace.
std::string ProjectPrompt(const Settings& settings) {
  if (settings.project.value_or("").empty()) return {};
  const std::string mode = settings.project_mode.value_or("overlay");
  if (mode == "direct")
    return "\n/workspace is a project of the user's: what you change there is changed at once.";
  if (mode == "read-only")
    return "\n/workspace is a project of the user's, which you can read and not change.";
  return "\n/workspace is a copy-on-write view of a project of the user's: work in it as usual. "
         "What you change stays apart until the user has looked at it and taken it over.";
}

Result<sandbox::LayerSet> LayersOf(const std::vector<std::string>& names) {
  sandbox::LayerSet layers;
  for (const std::string& name : names) {
    const auto layer = sandbox::LayerFromName(name);
    if (!layer)
      return Err(ErrorCode::kInvalidArgument, "there is no sandbox layer '" + name + "'",
                 "cofferdam doctor lists the layers");
    if (sandbox::kIndispensable.Has(*layer))
      return Err(
          ErrorCode::kInvalidArgument,
          "the sandbox layer '" + name + "' cannot be missing: without it there is no sandbox");
    layers = layers.With(*layer);
  }
  return layers;
}

}  // namespace

std::uint64_t DiskLimitBytes(const Settings& settings) {
  return static_cast<std::uint64_t>(settings.disk_mib.value_or(kDefaultDiskMib)) << 20;
}

ModelReference ModelOf(const Settings& settings) {
  const std::string model = settings.model.value_or("");
  if (settings.provider) return {*settings.provider, model};
  if (const std::size_t slash = model.find('/'); slash != std::string::npos)
    return {model.substr(0, slash), model.substr(slash + 1)};
  return {kScripted, model};
}

Result<agent::LoopOptions> LoopOptionsFor(const Settings& settings) {
  agent::LoopOptions options;
  const ModelReference reference = ModelOf(settings);
  if (reference.model.empty() && reference.provider != kScripted)
    return Err(ErrorCode::kConfig, "the provider '" + reference.provider + "' needs a model",
               "name one with --model, or set it for the workspace");
  options.model = reference.model.empty() ? kScripted : reference.model;
  options.system = std::string(SandboxPrompt()) + ProjectPrompt(settings);
  if (settings.system_prompt) options.system += "\n\n" + *settings.system_prompt;
  if (settings.max_turns) options.max_turns = *settings.max_turns;
  if (settings.max_tokens) options.max_tokens = *settings.max_tokens;
  ASSIGN_OR_RETURN(const sandbox::Limits limits, LimitsFor(settings));
  options.limits.command_timeout =
      std::chrono::seconds(settings.command_timeout_s.value_or(kDefaultCommandTimeoutSeconds));
  options.limits.memory_bytes = limits.memory_bytes;
  options.limits.max_processes = limits.processes;
  return options;
}

AdmissionTerms AdmissionTermsFor(const Settings& settings) {
  return {
      static_cast<std::size_t>(settings.max_concurrent_runs.value_or(kDefaultMaxConcurrentRuns)),
      std::chrono::seconds(settings.queue_timeout_s.value_or(kDefaultQueueTimeoutSeconds))};
}

Deadline RunDeadlineFor(const Settings& settings) {
  const std::int64_t seconds = settings.run_timeout_s.value_or(0);
  return seconds > 0 ? Deadline::After(std::chrono::seconds(seconds)) : Deadline::Never();
}

Result<sandbox::SandboxSpec> SandboxSpecFor(const Settings& settings, const std::string& folder,
                                            const std::string& state_directory) {
  sandbox::SandboxSpec spec;
  spec.mounts = {{folder + "/files/work", "/workspace", true},
                 {folder + "/files/home", "/home/agent", true}};
  for (const Mount& mount : settings.mounts) {
    // Checked as text too: a mount of a program's own making has not been through ParseMount.
    RETURN_IF_ERROR(ParseMount(MountText(mount)));
    RETURN_IF_ERROR(sandbox::CheckMountSource(mount.source, state_directory));
    spec.mounts.push_back({mount.source, mount.destination, mount.writable});
  }
  ASSIGN_OR_RETURN(spec.limits, LimitsFor(settings));
  if (settings.seccomp_profile) {
    const auto profile = sandbox::SeccompProfileFromName(*settings.seccomp_profile);
    if (!profile)
      return Err(ErrorCode::kInvalidArgument,
                 "there is no seccomp profile '" + *settings.seccomp_profile + "'",
                 "tools or harness");
    spec.seccomp_profile = *profile;
  }
  ASSIGN_OR_RETURN(spec.allow_missing, LayersOf(settings.allow_missing));
  return spec;
}

std::string_view SandboxPrompt() {
  return "You are an agent that works with tools in a sandbox on a Linux machine.\n"
         "Your files are in /workspace, which is where commands start, and in /home/agent; both "
         "outlast the sandbox. Everything else is read-only or temporary. There is no network.\n"
         "Processes end with the command that started them. When a tool fails, read what it says "
         "before you try again.";
}

}  // namespace cofferdam::platform
