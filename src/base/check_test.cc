#include "base/check.h"

#include <gtest/gtest.h>

namespace {

TEST(Check, EndsTheProcessAndNamesTheBrokenInvariant) {
  EXPECT_DEATH(CHECK(1 + 1 == 3), "broken invariant: 1 \\+ 1 == 3 at .*check_test.cc:");
}

TEST(Check, PassesWhenTrue) { CHECK(1 + 1 == 2); }

}  // namespace
