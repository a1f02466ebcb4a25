#include "agent/bash_tool.h"

#include <gmock/gmock.h>

namespace cofferdam::agent {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;

std::string Describe(const sandbox::ExecResult& result) {
  return DescribeEnd(result, {.memory_bytes = 512 << 20, .max_processes = 100}, milliseconds(1500));
}

TEST(DescribeEnd, SaysNothingOfAPlainSuccess) { EXPECT_EQ(Describe({}), ""); }

TEST(DescribeEnd, SaysHowACommandFailed) {
  EXPECT_EQ(Describe({.exit_code = 2}), "[exit code 2]\n");
  EXPECT_EQ(Describe({.exit_code = 139, .signal = 11}),
            "[ended by signal 11, Segmentation fault]\n");
  EXPECT_EQ(Describe({.exit_code = 137, .signal = 9, .timed_out = true}),
            "[killed after 1.5 s, its timeout; all its processes are gone]\n");
  EXPECT_EQ(Describe({.exit_code = 137, .signal = 9, .cancelled = true}),
            "[cancelled; all its processes are gone]\n");
}

TEST(DescribeEnd, NamesTheLimitThatWasReachedAlsoWhenTheCommandSucceeded) {
  EXPECT_THAT(
      Describe({.out_of_memory = true}),
      HasSubstr("ran out of memory and processes were killed for it; the limit is 512 MiB"));
  EXPECT_THAT(Describe({.exit_code = 1, .out_of_processes = true}),
              HasSubstr("[exit code 1]\n[the sandbox's process limit was reached and new processes "
                        "were refused; the limit is 100]"));
  EXPECT_EQ(DescribeEnd({.out_of_memory = true}, {}, {}),
            "[the sandbox ran out of memory and processes were killed for it]\n");
}

TEST(ResultPath, KeepsAnIdThatIsAPlainName) {
  EXPECT_EQ(ResultPath("run-1", "toolu_01"), "/home/agent/.cofferdam/results/run-1/toolu_01.txt");
}

TEST(ResultPath, NoIdLeadsOutOfItsDirectory) {
  for (const char* id : {"..", "../../etc/passwd", "a/b", "", "a b", "x.y"})
    EXPECT_THAT(ResultPath("run", id),
                testing::MatchesRegex("/home/agent/.cofferdam/results/run/id-[0-9a-f]+\\.txt"));
  EXPECT_NE(ResultPath("run", "a/b"), ResultPath("run", "a b"));
}

}  // namespace
}  // namespace cofferdam::agent
