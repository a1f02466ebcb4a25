#include "sys/process.h"

#include <fcntl.h>

#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>

#include <gtest/gtest.h>

#include "sys/file.h"
#include "sys/message.h"

namespace cofferdam::sys {
namespace {

TEST(Pidfd, NamesTheProcessAndTellsItsEnd) {
  auto child = *CloneProcess(0);
  if (child.pid == 0) {
    ::pause();
    ::_exit(0);
  }
  EXPECT_EQ(*PidOf(child.pidfd.get()), child.pid);
  EXPECT_EQ(
      WaitForEnd(child.pidfd.get(), Deadline::After(std::chrono::milliseconds(0))).error().code,
      ErrorCode::kTimeout);
  EXPECT_TRUE(SendSignal(child.pidfd.get(), SIGKILL));
  EXPECT_TRUE(WaitForEnd(child.pidfd.get(), Deadline::Never()));
  EXPECT_EQ(WTERMSIG(*Reap(child.pid)), SIGKILL);
  EXPECT_TRUE(SendSignal(child.pidfd.get(), SIGKILL)) << "a process that is gone is success";
  EXPECT_EQ(PidOf(child.pidfd.get()).error().code, ErrorCode::kNotFound);
}

TEST(Children, ListsExactlyTheChildren) {
  const UniqueFd proc = *Open("/proc", O_PATH | O_DIRECTORY);
  EXPECT_TRUE(Children(proc.get())->empty());
  auto child = *CloneProcess(0);
  if (child.pid == 0) {
    ::pause();
    ::_exit(0);
  }
  EXPECT_EQ(*Children(proc.get()), std::vector<pid_t>{child.pid});
  ASSERT_TRUE(SendSignal(child.pidfd.get(), SIGKILL));
  ASSERT_TRUE(Reap(child.pid));
}

TEST(Message, CarriesBytesAndDescriptors) {
  const SocketPair pair = *NewSocketPair(SOCK_SEQPACKET);
  const Pipe pipe = *NewPipe();
  const int passed[] = {pipe.write_end.get()};
  ASSERT_TRUE(SendMessage(pair.first.get(), std::string("hello"), passed));
  char buffer[16];
  const ReceivedMessage received = *ReceiveMessage(pair.second.get(), buffer);
  EXPECT_EQ(std::string_view(buffer, received.size), "hello");
  ASSERT_EQ(received.fds.size(), 1u);
  ASSERT_TRUE(WriteAll(received.fds[0].get(), "x"));
  char byte;
  EXPECT_EQ(*Read(pipe.read_end.get(), std::span(&byte, 1)), 1u);
}

TEST(Message, RefusesOneThatDoesNotFitAndSeesThePeerGo) {
  SocketPair pair = *NewSocketPair(SOCK_SEQPACKET);
  ASSERT_TRUE(SendMessage(pair.first.get(), std::string("too long"), {}));
  char buffer[4];
  EXPECT_EQ(ReceiveMessage(pair.second.get(), buffer).error().code, ErrorCode::kProtocol);
  pair.first.Reset();
  EXPECT_EQ(ReceiveMessage(pair.second.get(), buffer)->size, 0u);
}

TEST(SpawnImage, RunsAProgramFromMemoryWithAnEmptyEnvironmentAndOnlyItsSocket) {
  const std::string image = *ReadFile("/bin/sh", 16 << 20);
  SocketPair pair = *NewSocketPair(SOCK_STREAM);
  // A shell named "sh" reads commands from its standard input, which is /dev/null: it ends at once.
  auto child = SpawnImage(image, "sh", pair.second.get());
  ASSERT_TRUE(child);
  EXPECT_EQ(WEXITSTATUS(*Reap(child->pid)), 0);
}

TEST(CloseAllExcept, LeavesOnlyWhatWasNamed) {
  auto child = *CloneProcess(0);
  if (child.pid == 0) {
    const int keep[] = {5, 2};
    ::dup2(2, 5);
    CloseAllExcept(keep);
    const bool right = ::fcntl(5, F_GETFD) >= 0 && ::fcntl(2, F_GETFD) >= 0 &&
                       ::fcntl(1, F_GETFD) < 0 && ::fcntl(3, F_GETFD) < 0 &&
                       ::fcntl(6, F_GETFD) < 0;
    ::_exit(right ? 0 : 1);
  }
  EXPECT_EQ(WEXITSTATUS(*Reap(child.pid)), 0);
}

}  // namespace
}  // namespace cofferdam::sys
