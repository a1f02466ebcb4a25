#include "base/error.h"

#include <cerrno>

#include <gtest/gtest.h>

namespace cofferdam {
namespace {

Result<int> Half(int n) {
  if (n % 2 != 0) return Err(ErrorCode::kInvalidArgument, "odd number", "give an even one");
  return n / 2;
}

Result<int> Quarter(int n) {
  ASSIGN_OR_RETURN(const int half, Half(n));
  ASSIGN_OR_RETURN(const int quarter, Half(half));
  return quarter;
}

Status Check4(int n) {
  RETURN_IF_ERROR(Quarter(n));
  return {};
}

TEST(Error, PrintsCodeSentenceAndHint) {
  EXPECT_EQ(Half(3).error().ToString(), "invalid_argument: odd number (give an even one)");
}

TEST(Error, MacrosPassValuesAndErrorsOn) {
  EXPECT_EQ(*Quarter(12), 3);
  EXPECT_EQ(Quarter(6).error().code, ErrorCode::kInvalidArgument);
  EXPECT_TRUE(Check4(8));
  EXPECT_FALSE(Check4(9));
}

TEST(Error, ContextStandsBeforeTheMessageAndKeepsTheCode) {
  const Error error = Half(3).error().With("splitting the bill");
  EXPECT_EQ(error.message, "splitting the bill: odd number");
  EXPECT_EQ(error.code, ErrorCode::kInvalidArgument);
}

TEST(Error, ErrnoChoosesTheCodeAndIsKept) {
  const Error error = ErrnoError(ENOENT, "opening x").error();
  EXPECT_EQ(error.code, ErrorCode::kNotFound);
  EXPECT_EQ(error.sys_errno, ENOENT);
  EXPECT_EQ(error.message, "opening x: No such file or directory");
  EXPECT_EQ(ErrnoError(EPERM, "x").error().code, ErrorCode::kPermissionDenied);
  EXPECT_EQ(ErrnoError(ENOSPC, "x").error().code, ErrorCode::kOs);
}

}  // namespace
}  // namespace cofferdam
