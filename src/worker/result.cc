#include "worker/result.h"

#include <cerrno>

#include "base/utf8.h"

namespace cofferdam::worker {

namespace v1 = protocol::v1;

namespace {

constexpr std::size_t kMaxMessageBytes = 8 * 1024;

}  // namespace

v1::AgentError MakeError(v1::ErrorCode code, std::string message) {
  v1::AgentError error;
  error.set_code(code);
  // Paths are bytes; a proto string must be UTF-8. What names a path of any length stays small.
  error.set_message(std::string(Utf8Prefix(ToValidUtf8(message), kMaxMessageBytes)));
  return error;
}

v1::AgentError MakeOsError(int error_number, std::string_view what) {
  const bool absent = error_number == ENOENT || error_number == ENOTDIR;
  v1::AgentError error = MakeError(absent ? v1::ERROR_NOT_FOUND : v1::ERROR_OS,
                                   ErrnoError(error_number, what).error().message);
  error.set_sys_errno(error_number);
  return error;
}

v1::AgentError FromError(const Error& error) {
  v1::ErrorCode code = v1::ERROR_OS;
  if (error.code == ErrorCode::kNotFound) code = v1::ERROR_NOT_FOUND;
  if (error.code == ErrorCode::kTooLarge) code = v1::ERROR_PAYLOAD_TOO_LARGE;
  v1::AgentError result = MakeError(code, error.message);
  result.set_sys_errno(error.sys_errno);
  return result;
}

v1::OpExit FailedExit(v1::AgentError error, int exit_code) {
  v1::OpExit exit;
  exit.set_exit_code(exit_code);
  *exit.mutable_error() = std::move(error);
  return exit;
}

std::string PathOrHere(const std::string& path) { return path.empty() ? "." : path; }

}  // namespace cofferdam::worker
