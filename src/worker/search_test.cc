#include "worker/search.h"

#include <re2/re2.h>

#include <gtest/gtest.h>

namespace cofferdam::worker {
namespace {

bool Fits(const std::string& glob, const std::string& path) {
  return RE2::FullMatch(path, GlobToRegex(glob));
}

TEST(Glob, StarAndQuestionMarkStayWithinOneName) {
  EXPECT_TRUE(Fits("*.cc", "a.cc"));
  EXPECT_FALSE(Fits("*.cc", "d/a.cc"));
  EXPECT_TRUE(Fits("a?c", "abc"));
  EXPECT_FALSE(Fits("a?c", "a/c"));
}

TEST(Glob, DoubleStarCrossesDirectoriesAndNone) {
  EXPECT_TRUE(Fits("**/*.h", "x.h"));
  EXPECT_TRUE(Fits("**/*.h", "a/b/x.h"));
  EXPECT_TRUE(Fits("src/**", "src/a/b"));
  EXPECT_FALSE(Fits("src/**/x", "other/x"));
}

TEST(Glob, SetsAndAlternatives) {
  EXPECT_TRUE(Fits("[a-c].{cc,h}", "b.h"));
  EXPECT_FALSE(Fits("[!a-c].h", "b.h"));
  EXPECT_TRUE(Fits("[!a-c].h", "d.h"));
}

TEST(Glob, EverythingElseIsItself) {
  EXPECT_TRUE(Fits("a.b+c(d)", "a.b+c(d)"));
  EXPECT_FALSE(Fits("a.b", "axb"));
  EXPECT_TRUE(Fits("a{b", "a{b"));
  EXPECT_TRUE(Fits("a[b", "a[b"));
  EXPECT_TRUE(Fits("a\nb*", "a\nbc"));
}

}  // namespace
}  // namespace cofferdam::worker
