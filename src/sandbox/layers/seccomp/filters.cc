#include "sandbox/layers/seccomp/filters.h"

namespace cofferdam::sandbox::seccomp {
namespace {
#include "seccomp_filters.inc"
}  // namespace

std::span<const sock_filter> ToolFilterX86_64() { return kToolFilterX86_64; }
std::span<const sock_filter> ToolFilterAarch64() { return kToolFilterAarch64; }

std::span<const sock_filter> NativeToolFilter() {
#if defined(__x86_64__)
  return ToolFilterX86_64();
#elif defined(__aarch64__)
  return ToolFilterAarch64();
#else
#error "Cofferdam's sandbox supports x86-64 and arm64"
#endif
}

}  // namespace cofferdam::sandbox::seccomp
