// Invariants of our own code. A failed CHECK is a bug of ours and ends the process, also in
// release; what the world can cause is a Result (result.h). Safe after fork and in a static
// program: no allocation, no lock, stderr only.
#pragma once

namespace cofferdam::internal {
[[noreturn]] void CheckFailed(const char* expression, const char* file, int line) noexcept;
}  // namespace cofferdam::internal

#define CHECK(condition)                             \
  (__builtin_expect(static_cast<bool>(condition), 1) \
       ? static_cast<void>(0)                        \
       : ::cofferdam::internal::CheckFailed(#condition, __FILE__, __LINE__))
