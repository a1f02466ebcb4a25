#include "base/split.h"

#include <gtest/gtest.h>

namespace cofferdam {
namespace {

using Parts = std::vector<std::string_view>;

TEST(Split, KeepsEmptyParts) {
  EXPECT_EQ(Split("a,,b", ','), (Parts{"a", "", "b"}));
  EXPECT_EQ(Split("a,", ','), (Parts{"a", ""}));
  EXPECT_EQ(Split("", ','), (Parts{""}));
}

TEST(SplitNonEmpty, LeavesThemOut) {
  EXPECT_EQ(SplitNonEmpty(" a  b ", ' '), (Parts{"a", "b"}));
  EXPECT_EQ(SplitNonEmpty("", ' '), Parts{});
}

}  // namespace
}  // namespace cofferdam
