// Settings as the parts below understand them: with defaults, checked, in their own types.
//
// Pure functions, apart from looking at the sources of mounts; safe to use from any thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>

#include <cofferdam/settings.h>

#include "agent/loop.h"
#include "base/deadline.h"
#include "base/error.h"
#include "sandbox/spec.h"

namespace cofferdam::platform {

/// The options of a loop, without its run id, its deadline and its stop token.
/// kConfig when the settings name no model and their provider needs one.
Result<agent::LoopOptions> LoopOptionsFor(const Settings& settings);

/// Who may start, and how long the others wait.
struct AdmissionTerms {
  std::size_t max_concurrent_runs;
  /// Zero: not at all.
  std::chrono::seconds patience;
};
AdmissionTerms AdmissionTermsFor(const Settings& settings);

/// The end of a run that begins now.
Deadline RunDeadlineFor(const Settings& settings);

/// The sandbox of a workspace whose folder is `folder`. Sources of mounts are checked against the
/// refused places and `state_directory`. kMountRefused, or kInvalidArgument for an unknown layer or
/// one without which there is no sandbox.
Result<sandbox::SandboxSpec> SandboxSpecFor(const Settings& settings, const std::string& folder,
                                            const std::string& state_directory);

/// What the files of a workspace may take of the disk; 0 is no limit.
std::uint64_t DiskLimitBytes(const Settings& settings);

/// Who is asked.
struct ModelReference {
  std::string provider;
  /// Empty when the settings name none.
  std::string model;
};

/// The provider and the model of the settings. A model that is written "provider/model" names its
/// provider, unless the settings do; without either the provider is "scripted".
ModelReference ModelOf(const Settings& settings);

/// What a model is told before a workspace's own prompt: where it is and what it has.
std::string_view SandboxPrompt();

}  // namespace cofferdam::platform
