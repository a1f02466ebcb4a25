// The compiled filters that ship, for every supported architecture, so that tests can read the very
// bytes of one that they do not run on.
#pragma once

#include <linux/filter.h>

#include <span>

namespace cofferdam::sandbox::seccomp {

std::span<const sock_filter> ToolFilterX86_64();
std::span<const sock_filter> ToolFilterAarch64();

/// The one for the architecture that this is built for.
std::span<const sock_filter> NativeToolFilter();

}  // namespace cofferdam::sandbox::seccomp
