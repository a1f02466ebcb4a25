// The worker program as it was built, part of this library: no path to find, no version to
// mismatch.
#pragma once

#include <span>

namespace cofferdam::sandbox {

std::span<const char> WorkerImage();

}  // namespace cofferdam::sandbox
