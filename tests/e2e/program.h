// Runs the real program as a user would, and other programs beside it.
#pragma once

#include <sys/types.h>

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace cofferdam::e2e {

struct ProgramResult {
  /// 128 + signal when a signal ended it.
  int exit_code = -1;
  std::string out = {};
  std::string err = {};
};

struct ProgramRequest {
  /// Of `cofferdam`; the program itself comes before.
  std::vector<std::string> arguments = {};
  /// The whole environment.
  std::map<std::string, std::string> environment = {};
  std::string stdin_bytes = {};
  /// As whom it runs; only the superuser can have it run as somebody else.
  std::optional<uid_t> user = {};
  /// Called with everything that has come on standard error, each time more has; may signal `pid`.
  std::function<void(const std::string& err, int pid)> on_stderr = {};
};

/// Runs the program that was built with these tests to its end.
ProgramResult RunCofferdam(const ProgramRequest& request);

}  // namespace cofferdam::e2e
