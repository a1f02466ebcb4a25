// Errors as values: what the world can cause, said so that a program can branch on it and a person
// can act on it. Values; safe to copy and to send between threads.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace cofferdam {

enum class ErrorCode : std::uint16_t {
#define COFFERDAM_ERROR_CODE(identifier, text) identifier,
#include "base/error_codes.inc"
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

[[nodiscard]] std::unexpected<Error> Err(ErrorCode code, std::string message,
                                         std::string hint = {});

/// An error from errno: the code is chosen by the number (ENOENT gives kNotFound, EACCES and EPERM
/// kPermissionDenied, EEXIST kAlreadyExists, ENOSPC and others kOs). `what` is what was tried.
[[nodiscard]] std::unexpected<Error> ErrnoError(int error_number, std::string_view what,
                                                std::string hint = {});

#define COFFERDAM_CONCAT_INNER(a, b) a##b
#define COFFERDAM_CONCAT(a, b) COFFERDAM_CONCAT_INNER(a, b)

/// Returns the error of a Status or Result expression from the enclosing function.
#define RETURN_IF_ERROR(expression)                                          \
  do {                                                                       \
    if (auto return_if_error_status = (expression); !return_if_error_status) \
      return std::unexpected(std::move(return_if_error_status).error());     \
  } while (false)

/// `ASSIGN_OR_RETURN(auto x, F())`: x is the value, or the enclosing function returns the error.
#define ASSIGN_OR_RETURN(declaration, expression) \
  ASSIGN_OR_RETURN_INNER(COFFERDAM_CONCAT(assign_or_return_, __LINE__), declaration, expression)
#define ASSIGN_OR_RETURN_INNER(temporary, declaration, expression)      \
  auto temporary = (expression);                                        \
  if (!temporary) return std::unexpected(std::move(temporary).error()); \
  declaration = std::move(*temporary)

}  // namespace cofferdam
