#include "sandbox/control_channel.h"

#include <sys/socket.h>

#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sandbox/testing/scripted_worker.h"

namespace cofferdam::sandbox {
namespace {

namespace v1 = protocol::v1;

class ControlChannelTest : public testing::Test {
 protected:
  ControlChannelTest() : channel_(*ControlChannel::Over(peer_.TakeHostEnd())) {}

  ErrorCode ReceiveError() {
    const auto frame = channel_.Receive(Deadline::Never(), {});
    EXPECT_FALSE(frame);
    return frame ? ErrorCode::kInternal : frame.error().code;
  }

  ScriptedWorker peer_;
  ControlChannel channel_;
};

TEST_F(ControlChannelTest, ReceivesMessagesInOrderHoweverTheyAreCut) {
  const std::string bytes =
      protocol::EncodeFrame(ScriptedWorker::Started("a").SerializeAsString()) +
      protocol::EncodeFrame(ScriptedWorker::Exit("b", 1, 0).SerializeAsString());
  std::jthread peer([&] {
    for (const char c : bytes) peer_.SendRaw({&c, 1});
  });
  EXPECT_EQ(channel_.Receive(Deadline::Never(), {})->response().request_id(), "a");
  EXPECT_EQ(channel_.Receive(Deadline::Never(), {})->frame().op_id(), "b");
}

TEST_F(ControlChannelTest, RefusesAFrameOfFourGigabytesAtItsLength) {
  peer_.SendRaw(std::string("\xff\xff\xff\xff", 4));
  EXPECT_EQ(ReceiveError(), ErrorCode::kProtocol);
}

TEST_F(ControlChannelTest, RefusesAnEmptyFrame) {
  peer_.SendRaw(std::string(4, '\0'));
  EXPECT_EQ(ReceiveError(), ErrorCode::kProtocol);
}

TEST_F(ControlChannelTest, RefusesBytesThatAreNoMessage) {
  peer_.SendRaw(protocol::EncodeFrame("\xff\xff"));
  EXPECT_EQ(ReceiveError(), ErrorCode::kProtocol);
}

TEST_F(ControlChannelTest, IsLostWhenThePeerGoesInTheMiddleOfAFrame) {
  peer_.SendRaw(std::string("\0\0\0\x10half", 8));
  peer_.Close();
  EXPECT_EQ(ReceiveError(), ErrorCode::kSandboxLost);
}

TEST_F(ControlChannelTest, IsLostAtTheEndOfTheStreamForBothDirections) {
  peer_.Close();
  EXPECT_EQ(ReceiveError(), ErrorCode::kSandboxLost);
  v1::HostFrame frame;
  frame.mutable_ack()->set_op_id("x");
  EXPECT_EQ(channel_.Send(frame, Deadline::Never()).error().code, ErrorCode::kSandboxLost);
}

TEST_F(ControlChannelTest, TakesAListenerBeforeEverythingElse) {
  sys::Pipe pipe = *sys::NewPipe();
  const int fds[] = {pipe.write_end.get()};
  ASSERT_TRUE(sys::SendMessage(peer_.fd(), {&kListenerMessage, 1}, fds));
  peer_.Send(ScriptedWorker::Started("a"));
  auto listener = channel_.ReceiveListener(Deadline::Never());
  ASSERT_TRUE(listener) << listener.error().ToString();
  pipe.write_end.Reset();
  ASSERT_TRUE(sys::WriteAll(listener->get(), "x"));
  EXPECT_EQ(channel_.Receive(Deadline::Never(), {})->response().request_id(), "a");
}

TEST_F(ControlChannelTest, TakesThatThereIsNoListener) {
  peer_.SendRaw({&kListenerMessage, 1});
  const auto listener = channel_.ReceiveListener(Deadline::Never());
  ASSERT_TRUE(listener) << listener.error().ToString();
  EXPECT_FALSE(listener->valid());
}

TEST_F(ControlChannelTest, RefusesWhatIsNoListener) {
  peer_.SendRaw("?");
  EXPECT_EQ(channel_.ReceiveListener(Deadline::Never()).error().code, ErrorCode::kProtocol);
  const int fds[] = {peer_.fd(), peer_.fd()};
  ASSERT_TRUE(sys::SendMessage(peer_.fd(), {&kListenerMessage, 1}, fds));
  EXPECT_EQ(channel_.ReceiveListener(Deadline::Never()).error().code, ErrorCode::kProtocol);
  peer_.Close();
  EXPECT_EQ(channel_.ReceiveListener(Deadline::Never()).error().code, ErrorCode::kSandboxLost);
}

TEST_F(ControlChannelTest, DoesNotWaitLongerThanItsDeadline) {
  const auto frame = channel_.Receive(Deadline::After(std::chrono::milliseconds(1)), {});
  ASSERT_FALSE(frame);
  EXPECT_EQ(frame.error().code, ErrorCode::kTimeout);
  peer_.Send(ScriptedWorker::Started("a"));
  EXPECT_TRUE(channel_.Receive(Deadline::Never(), {})) << "a timeout breaks nothing";
}

TEST_F(ControlChannelTest, GivesAPeerThatTalksNoMoreTimeThanASilentOne) {
  peer_.Send(ScriptedWorker::Started("a"));
  const auto frame = channel_.Receive(Deadline::After(std::chrono::milliseconds(0)), {});
  ASSERT_FALSE(frame) << "something to read is no reason to go on for ever";
  EXPECT_EQ(frame.error().code, ErrorCode::kTimeout);
  EXPECT_TRUE(channel_.Receive(Deadline::Never(), {}));
}

TEST_F(ControlChannelTest, IsCancelledFromAnotherThreadAndGoesOn) {
  std::stop_source stop;
  std::jthread canceller([&] { stop.request_stop(); });
  const auto frame = channel_.Receive(Deadline::Never(), stop.get_token());
  ASSERT_FALSE(frame);
  EXPECT_EQ(frame.error().code, ErrorCode::kCancelled);
  EXPECT_EQ(channel_.Receive(Deadline::Never(), stop.get_token()).error().code,
            ErrorCode::kCancelled);
  peer_.Send(ScriptedWorker::Started("a"));
  std::stop_source another;
  EXPECT_TRUE(channel_.Receive(Deadline::Never(), another.get_token()));
}

TEST_F(ControlChannelTest, SendsWhileThePeerSendsAndBothBuffersAreFull) {
  constexpr int kFrames = 200;
  const std::string filler(60'000, 'x');
  v1::HostFrame frame;
  frame.mutable_request()->mutable_write_chunk()->set_bytes(filler);
  std::jthread peer([&] {
    // First it only talks, and would do so for ever with a host that only talks too.
    for (int i = 1; i <= kFrames; ++i) peer_.Send(ScriptedWorker::Data("op", i, filler));
    for (int i = 0; i < kFrames; ++i) peer_.Receive();
  });
  for (int i = 0; i < kFrames; ++i) ASSERT_TRUE(channel_.Send(frame, Deadline::Never()));
  for (std::uint64_t i = 1; i <= kFrames; ++i)
    ASSERT_EQ(channel_.Receive(Deadline::Never(), {})->frame().seq(), i);
}

TEST_F(ControlChannelTest, KeepsOnlySoMuchOfAPeerThatTakesNothing) {
  const std::string filler(60'000, 'x');
  std::jthread peer([&] {
    constexpr std::uint64_t kFarTooMany = 3000;
    for (std::uint64_t i = 1; i < kFarTooMany; ++i)
      if (!peer_.Send(ScriptedWorker::Data("op", i, filler))) return;
  });
  v1::HostFrame frame;
  frame.mutable_request()->mutable_write_chunk()->set_bytes(filler);
  Status sent;
  while (sent) sent = channel_.Send(frame, Deadline::After(std::chrono::seconds(10)));
  EXPECT_EQ(sent.error().code, ErrorCode::kProtocol);
  ::shutdown(peer_.fd(), SHUT_RDWR);
}

TEST_F(ControlChannelTest, DoesNotSendLongerThanItsDeadlineToAPeerThatTakesNothing) {
  v1::HostFrame frame;
  frame.mutable_request()->mutable_write_chunk()->set_bytes(std::string(900'000, 'x'));
  Status sent;
  while (sent) sent = channel_.Send(frame, Deadline::After(std::chrono::milliseconds(1)));
  EXPECT_EQ(sent.error().code, ErrorCode::kTimeout);
}

TEST_F(ControlChannelTest, TakesTheStartReportBeforeTheFrames) {
  StartReport report{};
  report.magic = StartReport::kMagic;
  report.landlock_abi = 3;
  const std::string bytes(reinterpret_cast<const char*>(&report), sizeof(report));
  peer_.SendRaw(bytes + protocol::EncodeFrame(ScriptedWorker::Started("a").SerializeAsString()));
  EXPECT_EQ(channel_.ReceiveStartReport(Deadline::Never())->landlock_abi, 3);
  EXPECT_TRUE(channel_.Receive(Deadline::Never(), {}));
}

TEST_F(ControlChannelTest, RefusesAStartReportThatIsNoneOrNeverComplete) {
  peer_.SendRaw(std::string(sizeof(StartReport), 'x'));
  EXPECT_EQ(channel_.ReceiveStartReport(Deadline::Never()).error().code, ErrorCode::kProtocol);
  peer_.SendRaw("half");
  EXPECT_EQ(channel_.ReceiveStartReport(Deadline::After(std::chrono::milliseconds(1))).error().code,
            ErrorCode::kTimeout);
  peer_.Close();
  EXPECT_EQ(channel_.ReceiveStartReport(Deadline::Never()).error().code, ErrorCode::kSandboxLost);
}

}  // namespace
}  // namespace cofferdam::sandbox
