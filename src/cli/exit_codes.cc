#include "cli/exit_codes.h"

namespace cofferdam::cli {

int ExitCodeFor(const Error& error) {
  switch (error.code) {
    case ErrorCode::kInvalidArgument:
    case ErrorCode::kConfig:
      return kExitUsage;
    case ErrorCode::kLayerMissing:
    case ErrorCode::kNotVerified:
    case ErrorCode::kMountRefused:
      return kExitSandbox;
    case ErrorCode::kConflict:
      return kExitConflict;
    case ErrorCode::kCancelled:
      return kExitCancelled;
    default:
      return kExitFailed;
  }
}

}  // namespace cofferdam::cli
