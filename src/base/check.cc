#include "base/check.h"

#include <unistd.h>

#include <cstdlib>
#include <cstring>

namespace cofferdam::internal {
namespace {

void WriteRaw(const char* text) noexcept {
  [[maybe_unused]] const ssize_t ignored = ::write(STDERR_FILENO, text, std::strlen(text));
}

}  // namespace

void CheckFailed(const char* expression, const char* file, int line) noexcept {
  char digits[16];
  int at = sizeof(digits) - 1;
  digits[at] = '\0';
  do {
    digits[--at] = static_cast<char>('0' + line % 10);
    line /= 10;
  } while (line > 0 && at > 0);
  WriteRaw("cofferdam: broken invariant: ");
  WriteRaw(expression);
  WriteRaw(" at ");
  WriteRaw(file);
  WriteRaw(":");
  WriteRaw(&digits[at]);
  WriteRaw("\n");
  std::abort();
}

}  // namespace cofferdam::internal
