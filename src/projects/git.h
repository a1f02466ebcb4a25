// git, as it is run in a sandbox: by its own defaults, whatever lies where it runs.
#pragma once

#include <cstdint>
#include <stop_token>
#include <string>
#include <vector>

#include "base/error.h"
#include "sandbox/sandbox.h"

namespace cofferdam::projects {

struct GitResult {
  int exit_code = 0;
  std::string output;
  /// The beginning of what it complained, for a person.
  std::string complaint;
  /// There was more output than asked for; git was ended then, and its exit code means nothing.
  bool is_cut = false;
};

/// Runs git with these arguments in /workspace. No configuration is read, no pager started, no
/// attributes of a user's or the system's. At most `max_bytes` of output. kUnsupported when the
/// host has no git; kCancelled.
Result<GitResult> RunGit(sandbox::Sandbox& sandbox, const std::vector<std::string>& arguments,
                         std::uint64_t max_bytes, const std::stop_token& stop);

}  // namespace cofferdam::projects
