// Errors as values: what the world can cause, said so that a program can branch on it and a person
// can act on it. Values; safe to copy and to send between threads.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

namespace cofferdam {

enum class ErrorCode : std::uint16_t {
#define COFFERDAM_ERROR_CODE(identifier, text) identifier,
#include <cofferdam/error_codes.inc>
#undef COFFERDAM_ERROR_CODE
};

/// The stable text of a code, for example "not_found".
std::string_view ErrorCodeName(ErrorCode code);

/// One failure. `message` is a sentence for a person, `hint` says what to do about it (may be
/// empty), `sys_errno` is the errno it came from, or 0.
///
///   return Err(ErrorCode::kNotFound, "workspace 'alice' does not exist",
///              "create it with: cofferdam workspace create alice");
///
/// Neither text may hold a secret or unbounded foreign bytes.
struct Error {
  ErrorCode code = ErrorCode::kInternal;
  std::string message;
  std::string hint;
  int sys_errno = 0;

  /// The same error with `context` put before the message: "opening x: no such file".
  Error With(std::string_view context) const;

  /// "not_found: workspace 'alice' does not exist (create it with: …)".
  std::string ToString() const;
};

template <typename T>
using Result = std::expected<T, Error>;
using Status = Result<void>;

}  // namespace cofferdam
