#include "cli/terminal.h"

#include <gtest/gtest.h>

#include "cli/exit_codes.h"

namespace cofferdam::cli {
namespace {

TEST(ForTerminal, LeavesTextAndTakesCommandsOut) {
  EXPECT_EQ(ForTerminal("a\tb\né 日本"), "a\tb\né 日本");
  EXPECT_EQ(ForTerminal("\x1b[2J\a\r\x7f"), "\uFFFD[2J\uFFFD\uFFFD\uFFFD");
  // U+009B is the one-character form of ESC [; U+00A0 is a blank.
  EXPECT_EQ(ForTerminal("\xC2\x9B\xC2\xA0"), "\uFFFD\xC2\xA0");
}

TEST(OneLine, CutsBetweenCharacters) {
  EXPECT_EQ(OneLine("a\nb", 10), "a b");
  EXPECT_EQ(OneLine("0123456789", 10), "0123456789");
  EXPECT_EQ(OneLine("0123456789x", 10), "0123456...");
  EXPECT_EQ(OneLine("012345éabcd", 10), "012345...");
}

TEST(Duration, HasAUnitThatFits) {
  EXPECT_EQ(Duration(0.44), "0.4 ms");
  EXPECT_EQ(Duration(9.97), "10 ms");
  EXPECT_EQ(Duration(999.6), "1.0 s");
  EXPECT_EQ(Duration(3'440), "3.4 s");
  EXPECT_EQ(Duration(125'000), "2 min 5 s");
}

TEST(ExitCodeFor, TellsUsageSandboxCancelAndTheRestApart) {
  EXPECT_EQ(ExitCodeFor(Err(ErrorCode::kConfig, "").error()), 2);
  EXPECT_EQ(ExitCodeFor(Err(ErrorCode::kInvalidArgument, "").error()), 2);
  EXPECT_EQ(ExitCodeFor(Err(ErrorCode::kLayerMissing, "").error()), 3);
  EXPECT_EQ(ExitCodeFor(Err(ErrorCode::kMountRefused, "").error()), 3);
  EXPECT_EQ(ExitCodeFor(Err(ErrorCode::kCancelled, "").error()), 130);
  EXPECT_EQ(ExitCodeFor(Err(ErrorCode::kModelServer, "").error()), 1);
}

}  // namespace
}  // namespace cofferdam::cli
