#include "cli/patch_view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cofferdam::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr std::string_view kPatch =
    "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-old\n+new\n same\n";

TEST(PatchForTerminal, IsThePatchWhereNothingIsHostile) {
  EXPECT_EQ(PatchForTerminal(kPatch, false), kPatch);
}

TEST(PatchForTerminal, ColoursWhatWasAddedAndRemoved) {
  const std::string text = PatchForTerminal(kPatch, true);
  EXPECT_THAT(text, HasSubstr("\x1b[32m+new\x1b[m\n"));
  EXPECT_THAT(text, HasSubstr("\x1b[31m-old\x1b[m\n"));
  EXPECT_THAT(text, HasSubstr("\n same\n"));
}

TEST(PatchForTerminal, NothingInAPatchReachesTheTerminalAsACommand) {
  const std::string text = PatchForTerminal("+\x1b]0;title\x07\x9b[2J\xc2\x9b[2J\r\xff\n", false);
  for (const char* forbidden : {"\x1b", "\x07", "\x9b[", "\xc2\x9b", "\r", "\xff"})
    EXPECT_THAT(text, Not(HasSubstr(forbidden)));
  EXPECT_THAT(text, HasSubstr("]0;title"));
}

}  // namespace
}  // namespace cofferdam::cli
