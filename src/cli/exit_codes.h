// What the program's exit code says; docs/cli.md lists them for users.
#pragma once

#include "base/error.h"

namespace cofferdam::cli {

inline constexpr int kExitOk = 0;
inline constexpr int kExitFailed = 1;
inline constexpr int kExitUsage = 2;
inline constexpr int kExitSandbox = 3;
inline constexpr int kExitConflict = 4;
inline constexpr int kExitCancelled = 130;

/// The exit code for a command that ended with `error`.
int ExitCodeFor(const Error& error);

}  // namespace cofferdam::cli
