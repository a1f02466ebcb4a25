// Making errors and passing them on. What an error is stands with the public promises.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include <cofferdam/error.h>

namespace cofferdam {

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
