// What decides how a run goes: the model, the prompt, the limits of the sandbox. The same settings
// stand in the configuration file (for every run), in a workspace (for its runs) and in a run's
// options (for that one); the nearer wins, key by key.
//
// Values; copy freely. docs/configuration.md lists the keys with their defaults.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <cofferdam/error.h>

namespace cofferdam {

/// A directory or file of the host that a sandbox sees.
struct Mount {
  /// Absolute, without symbolic links in it, and not one of the places that are refused
  /// (docs/mounts.md).
  std::string source;
  /// Inside the sandbox, below /mnt.
  std::string destination;
  bool writable = false;
  bool operator==(const Mount&) const = default;
};

/// "SRC:DST" or "SRC:DST:rw". ErrorCode::kInvalidArgument says what is wrong with the text.
Result<Mount> ParseMount(const std::string& text);
/// The same text again.
std::string MountText(const Mount& mount);

struct Settings {
  /// "anthropic" or "scripted".
  std::optional<std::string> provider = {};
  /// The provider's name of the model, or "provider/model" where no provider is set.
  std::optional<std::string> model = {};
  /// Where the provider's API is, instead of its own address.
  std::optional<std::string> base_url = {};
  /// What the model is told before everything else, after the few lines about the sandbox.
  std::optional<std::string> system_prompt = {};
  /// Model calls in one run.
  std::optional<std::int64_t> max_turns = {};
  /// Tokens in one answer of the model.
  std::optional<std::int64_t> max_tokens = {};
  /// Seconds for a whole run; 0 is no limit.
  std::optional<std::int64_t> run_timeout_s = {};
  /// Seconds for one command in the sandbox.
  std::optional<std::int64_t> command_timeout_s = {};
  /// Runs and commands of a workspace that go on at the same time; more wait for one to end.
  std::optional<std::int64_t> max_concurrent_runs = {};
  /// Seconds that a run or a command waits for a slot; 0: refused at once when none is free.
  std::optional<std::int64_t> queue_timeout_s = {};
  /// Seconds for which a session's sandbox is kept, frozen, after a run for the next one; 0 is not
  /// at all.
  std::optional<std::int64_t> keep_sandbox_s = {};
  /// What all processes of a sandbox may use together: memory in MiB (no swap), their number, and
  /// processors in percent of one (0 is no limit).
  std::optional<std::int64_t> memory_mib = {};
  std::optional<std::int64_t> max_processes = {};
  std::optional<std::int64_t> cpu_percent = {};
  /// Which system calls a sandbox allows: "tools", or "harness" for whole agent programs and
  /// browsers (docs/configuration.md).
  std::optional<std::string> seccomp_profile = {};
  /// What the workspace's files may take of the disk, in MiB; 0 is no limit. And how it is kept:
  /// "soft" or "hard" (docs/disk.md).
  std::optional<std::int64_t> disk_mib = {};
  std::optional<std::string> disk_limit = {};
  /// From this use of memory on, in MiB, the kernel takes back and slows before it kills; 0 is
  /// none.
  std::optional<std::int64_t> memory_high_mib = {};
  /// The share of a sandbox when processors are short; one that sets none has 100.
  std::optional<std::int64_t> cpu_weight = {};
  /// The directory of the host that is /workspace instead of the workspace's own files: absolute,
  /// without symbolic links in it, and not one of the places that are refused (docs/mounts.md).
  std::optional<std::string> project = {};
  /// How: "overlay" (what the agent changes stays apart), "copy" (the same above a copy), "direct"
  /// or "read-only" (docs/projects.md).
  std::optional<std::string> project_mode = {};
  /// "MAJ:MIN rbps=N wbps=N riops=N wiops=N": what a sandbox may read and write of a disk in a
  /// second. Added to those of the wider settings.
  std::vector<std::string> io_max = {};
  /// Added to those of the wider settings.
  std::vector<Mount> mounts = {};
  /// Layers of the sandbox that a run may go without; each use is in the run's record. Added to
  /// those of the wider settings.
  std::vector<std::string> allow_missing = {};

  bool operator==(const Settings&) const = default;
};

/// `wide` with everything that `near` sets in its place.
Settings Overlay(Settings wide, const Settings& near);

/// Sets one key from text, as `cofferdam workspace set` does. An empty text unsets it; mounts,
/// io_max and allow_missing take a comma-separated list and replace what was there.
/// ErrorCode::kInvalidArgument for an unknown key, or a value that it cannot have.
Status SetSetting(Settings& settings, const std::string& key, const std::string& value);

/// The keys of SetSetting, in the order of the documentation.
std::vector<std::string> SettingKeys();

}  // namespace cofferdam
