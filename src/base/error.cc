#include "base/error.h"

#include <cerrno>
#include <cstring>

#include "base/check.h"

namespace cofferdam {

std::string_view ErrorCodeName(ErrorCode code) {
  switch (code) {
#define COFFERDAM_ERROR_CODE(identifier, text) \
  case ErrorCode::identifier:                  \
    return text;
#include <cofferdam/error_codes.inc>
#undef COFFERDAM_ERROR_CODE
  }
  CHECK(false && "an error code without a name");
}

Error Error::With(std::string_view context) const {
  Error copy = *this;
  copy.message = std::string(context) + ": " + message;
  return copy;
}

std::string Error::ToString() const {
  std::string text(ErrorCodeName(code));
  text += ": ";
  text += message;
  if (!hint.empty()) {
    text += " (";
    text += hint;
    text += ")";
  }
  return text;
}

std::unexpected<Error> Err(ErrorCode code, std::string message, std::string hint) {
  return std::unexpected(Error{code, std::move(message), std::move(hint), 0});
}

namespace {

ErrorCode CodeForErrno(int error_number) {
  switch (error_number) {
    case ENOENT:
    case ENOTDIR:
      return ErrorCode::kNotFound;
    case EEXIST:
      return ErrorCode::kAlreadyExists;
    case EACCES:
    case EPERM:
    case EROFS:
      return ErrorCode::kPermissionDenied;
    case ETIMEDOUT:
      return ErrorCode::kTimeout;
    case EINVAL:
    case ENAMETOOLONG:
    case ELOOP:
      return ErrorCode::kInvalidArgument;
    case EBUSY:
      return ErrorCode::kBusy;
    case EFBIG:
      return ErrorCode::kTooLarge;
    default:
      return ErrorCode::kOs;
  }
}

}  // namespace

std::unexpected<Error> ErrnoError(int error_number, std::string_view what, std::string hint) {
  std::string message(what);
  message += ": ";
  // strerrordesc_np needs no locale and no buffer, unlike strerror.
  const char* description = ::strerrordesc_np(error_number);
  message += description != nullptr ? description : "unknown error";
  return std::unexpected(
      Error{CodeForErrno(error_number), std::move(message), std::move(hint), error_number});
}

}  // namespace cofferdam
