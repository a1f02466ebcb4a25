// Where tests with random work begin: always at the same seed, so that a run says the same twice;
// COFFERDAM_PROPERTY_SEED begins elsewhere, to look for more.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <string>

namespace cofferdam::projects {

inline std::uint64_t PropertySeed() {
  const char* seed = std::getenv("COFFERDAM_PROPERTY_SEED");
  return seed == nullptr ? 1 : std::stoull(seed);
}

}  // namespace cofferdam::projects
