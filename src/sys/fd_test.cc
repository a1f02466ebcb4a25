#include "sys/fd.h"

#include <fcntl.h>

#include <gtest/gtest.h>

namespace cofferdam::sys {
namespace {

bool IsOpen(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

TEST(UniqueFd, ClosesWhatItOwnsAndMovesOwnership) {
  int raw = -1;
  {
    Pipe pipe = *NewPipe();
    raw = pipe.read_end.get();
    const UniqueFd moved = std::move(pipe.read_end);
    EXPECT_FALSE(pipe.read_end.valid());  // NOLINT(bugprone-use-after-move): that is the question
    EXPECT_TRUE(IsOpen(raw));
  }
  EXPECT_FALSE(IsOpen(raw));
}

TEST(Pipe, ReadAllReturnsWhatWasWrittenAndRefusesMoreThanTheLimit) {
  Pipe pipe = *NewPipe();
  ASSERT_TRUE(WriteAll(pipe.write_end.get(), "12345"));
  pipe.write_end.Reset();
  EXPECT_EQ(*ReadAll(pipe.read_end.get(), 5), "12345");

  Pipe second = *NewPipe();
  ASSERT_TRUE(WriteAll(second.write_end.get(), "123456"));
  second.write_end.Reset();
  EXPECT_EQ(ReadAll(second.read_end.get(), 5).error().code, ErrorCode::kTooLarge);
}

TEST(Pipe, IsCloseOnExec) {
  const Pipe pipe = *NewPipe();
  EXPECT_EQ(::fcntl(pipe.read_end.get(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
}

}  // namespace
}  // namespace cofferdam::sys
