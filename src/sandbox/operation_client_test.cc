// The host against a worker that says anything at all.
#include "sandbox/operation_client.h"

#include <sys/socket.h>

#include <algorithm>
#include <functional>
#include <future>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sandbox/testing/scripted_worker.h"

namespace cofferdam::sandbox {
namespace {

namespace v1 = protocol::v1;
using testing::HasSubstr;
using Worker = ScriptedWorker;

v1::OpStart Command(bool with_input = false) {
  v1::OpStart start;
  start.mutable_exec()->add_command("true");
  start.mutable_exec()->set_stdin_follows(with_input);
  return start;
}

class OperationClientTest : public testing::Test {
 protected:
  explicit OperationClientTest(std::chrono::milliseconds answer_timeout = kAnswerTimeout)
      : client_(*ControlChannel::Over(worker_.TakeHostEnd()), answer_timeout) {}

  // Plays `script` as the worker while the operation runs.
  Result<v1::OpExit> Run(const std::function<void(const std::string& id)>& script,
                         v1::OpStart start = Command(), std::string_view input = {},
                         std::stop_token stop = {}) {
    std::jthread worker([&] {
      const auto first = worker_.Receive();
      if (!first) return;
      script(first->request().request_id());
    });
    auto exit = client_.Run(
        std::move(start), input,
        [this](v1::OpChannel, std::string_view bytes) {
          output_ += bytes;
          if (on_output_) on_output_();
        },
        patience_, stop);
    // A worker that is not listened to any more stops talking.
    if (client_.broken()) ::shutdown(worker_.fd(), SHUT_RDWR);
    return exit;
  }

  // The operation fails with `message` and nothing works afterwards.
  void ExpectBroken(const Result<v1::OpExit>& exit, const std::string& message) {
    ASSERT_FALSE(exit);
    EXPECT_THAT(exit.error().message, HasSubstr(message));
    EXPECT_TRUE(client_.broken());
    EXPECT_EQ(client_.Ping(Deadline::Never()).error().code, ErrorCode::kSandboxLost);
  }

  // An exchange that shows that the conversation is in step.
  void ExpectInStep() {
    EXPECT_FALSE(client_.broken());
    std::jthread worker([&] {
      const auto frame = worker_.Receive();
      v1::WorkerFrame answer;
      answer.mutable_response()->set_request_id(frame->request().request_id());
      answer.mutable_response()->mutable_ping()->set_nonce(frame->request().ping().nonce());
      worker_.Send(answer);
    });
    EXPECT_TRUE(client_.Ping(Deadline::Never()));
  }

  Worker worker_;
  OperationClient client_;
  std::string output_;
  std::function<void()> on_output_;
  // Only a test that has failed waits so long.
  std::optional<std::chrono::milliseconds> patience_ = std::chrono::seconds(30);
};

TEST_F(OperationClientTest, GivesOutputAndExit) {
  const auto exit = Run([&](const std::string& id) {
    worker_.Send(Worker::Started(id));
    worker_.Send(Worker::Data(id, 1, "one "));
    worker_.Send(Worker::Data(id, 2, "two"));
    worker_.Send(Worker::Exit(id, 3, 7));
  });
  ASSERT_TRUE(exit) << exit.error().ToString();
  EXPECT_EQ(exit->exit_code(), 7);
  EXPECT_EQ(output_, "one two");
  ExpectInStep();
}

TEST_F(OperationClientTest, SendsInputOneChunkAtATimeAndTheEndWithTheLast) {
  const std::string input(150'000, 'x');
  std::string received;
  const auto exit = Run(
      [&](const std::string& id) {
        worker_.Send(Worker::Started(id));
        for (bool last = false; !last;) {
          const auto request = worker_.Receive()->request();
          received += request.write_chunk().bytes();
          last = request.write_chunk().last();
          EXPECT_EQ(last, received.size() == input.size());
          worker_.Send(Worker::Took(request.request_id()));
        }
        worker_.Send(Worker::Exit(id, 1, 0));
      },
      Command(true), input);
  ASSERT_TRUE(exit) << exit.error().ToString();
  EXPECT_EQ(received, input);
  ExpectInStep();
}

TEST_F(OperationClientTest, WaitsForTheAnswerToAChunkThatCameTooLate) {
  const auto exit = Run(
      [&](const std::string& id) {
        worker_.Send(Worker::Started(id));
        const std::string chunk = worker_.Receive()->request().request_id();
        worker_.Send(Worker::Exit(id, 1, 3));
        worker_.Send(Worker::Failure(chunk, v1::ERROR_NOT_FOUND));
      },
      Command(true), std::string(150'000, 'x'));
  ASSERT_TRUE(exit) << exit.error().ToString();
  EXPECT_EQ(exit->exit_code(), 3);
  ExpectInStep();
}

TEST_F(OperationClientTest, SendsNoMoreInputAfterARefusedChunk) {
  const auto exit = Run(
      [&](const std::string& id) {
        worker_.Send(Worker::Started(id));
        const std::string chunk = worker_.Receive()->request().request_id();
        worker_.Send(Worker::Failure(chunk, v1::ERROR_PROTOCOL));
        worker_.Send(Worker::Exit(id, 1, 3));
      },
      Command(true), std::string(150'000, 'x'));
  ASSERT_TRUE(exit) << exit.error().ToString();
  ExpectInStep();
}

TEST_F(OperationClientTest, IsInStepAfterARefusalOfAnOperationWithInput) {
  const auto exit = Run(
      [&](const std::string& id) {
        const std::string chunk = worker_.Receive()->request().request_id();
        worker_.Send(Worker::Failure(id, v1::ERROR_DRAINING, "too many"));
        worker_.Send(Worker::Failure(chunk, v1::ERROR_NOT_FOUND));
      },
      Command(true), "input");
  ASSERT_FALSE(exit);
  EXPECT_EQ(exit.error().code, ErrorCode::kBusy);
  ExpectInStep();
}

TEST_F(OperationClientTest, GrantsAsMuchAsItHasTaken) {
  const std::string part(protocol::kMaxDataBytes, 'x');
  constexpr std::uint64_t kParts = 64;
  const auto exit = Run([&](const std::string& id) {
    worker_.Send(Worker::Started(id));
    std::uint64_t credit = protocol::kDefaultWindowBytes;
    for (std::uint64_t i = 0; i < kParts; ++i) {
      while ((i + 1) * part.size() > credit) credit = worker_.Receive()->ack().credit_bytes();
      worker_.Send(Worker::Data(id, i + 1, part));
    }
    worker_.Send(Worker::Exit(id, kParts + 1, 0));
  });
  ASSERT_TRUE(exit) << exit.error().ToString();
  EXPECT_EQ(output_.size(), kParts * part.size());
}

TEST_F(OperationClientTest, RefusesOutputBeyondTheCredit) {
  const auto exit = Run([&](const std::string& id) {
    worker_.Send(Worker::Started(id));
    // The first leaves more than half of the window, at which the host grants no more yet.
    worker_.Send(Worker::Data(id, 1, std::string(500'000, 'x')));
    worker_.Send(Worker::Data(id, 2, std::string(900'000, 'x')));
  });
  ExpectBroken(exit, "more than it may");
  EXPECT_EQ(output_.size(), 500'000u);
}

TEST_F(OperationClientTest, RefusesOutputOutOfOrderAndOfAnother) {
  ExpectBroken(Run([&](const std::string& id) {
                 worker_.Send(Worker::Started(id));
                 worker_.Send(Worker::Data(id, 2, "x"));
               }),
               "out of order");
  EXPECT_EQ(output_, "");
}

// In any other order they break the conversation, and nothing of the output comes out of turn.
TEST(OperationClientOrder, TakesFramesInTheirOneOrderOnly) {
  const std::string id = "op-1";
  const std::vector<v1::WorkerFrame> honest = {Worker::Started(id), Worker::Data(id, 1, "a"),
                                               Worker::Data(id, 2, "b"), Worker::Data(id, 3, "c"),
                                               Worker::Exit(id, 4, 0)};
  std::vector<std::size_t> order = {0, 1, 2, 3, 4};
  do {
    Worker worker;
    OperationClient client(*ControlChannel::Over(worker.TakeHostEnd()));
    for (const std::size_t i : order) ASSERT_TRUE(worker.Send(honest[i]));
    ASSERT_EQ(::shutdown(worker.fd(), SHUT_WR), 0);
    std::string output;
    const auto exit =
        client.Run(Command(), {}, [&](v1::OpChannel, std::string_view bytes) { output += bytes; },
                   std::chrono::seconds(30), {});
    // The word that it has started is the answer to a request, which may come at any time.
    std::vector<std::size_t> frames = order;
    std::erase(frames, 0u);
    const bool in_order = std::ranges::is_sorted(frames);
    EXPECT_EQ(exit.has_value(), in_order) << testing::PrintToString(order);
    EXPECT_TRUE(std::string_view("abc").starts_with(output)) << testing::PrintToString(order);
    EXPECT_EQ(client.broken(), !in_order) << testing::PrintToString(order);
  } while (std::ranges::next_permutation(order).found);
}

TEST_F(OperationClientTest, GivesUpOnAWorkerThatStopsInTheMiddleOfAFrame) {
  patience_ = std::chrono::milliseconds(20);
  const std::string whole =
      protocol::EncodeFrame(Worker::Data("op-1", 1, "output").SerializeAsString());
  const auto exit = Run([&](const std::string& id) {
    worker_.Send(Worker::Started(id));
    worker_.SendRaw(std::string_view(whole).substr(0, whole.size() - 1));
  });
  ASSERT_FALSE(exit);
  EXPECT_EQ(exit.error().code, ErrorCode::kTimeout);
  EXPECT_EQ(output_, "");
  EXPECT_TRUE(client_.broken());
}

TEST_F(OperationClientTest, RefusesAFrameOfFourGigabytesInTheMiddleOfAnOperation) {
  ExpectBroken(Run([&](const std::string& id) {
                 worker_.Send(Worker::Started(id));
                 worker_.Send(Worker::Data(id, 1, "before"));
                 worker_.SendRaw(std::string("\xff\xff\xff\xffmore", 8));
               }),
               "frame");
  EXPECT_TRUE(output_.empty() || output_ == "before") << output_;
}

// Answers that cost the worker little and would cost a host that keeps them much.
TEST_F(OperationClientTest, EndsAFloodOfAnswersAtTheFirst) {
  const auto exit = Run([&](const std::string& id) {
    worker_.Send(Worker::Started(id));
    for (int i = 0; worker_.Send(Worker::Started("op-" + std::to_string(i + 2))); ++i) {
    }
  });
  ExpectBroken(exit, "not made");
}

TEST_F(OperationClientTest, RefusesTheExitOfAnotherOperation) {
  ExpectBroken(Run([&](const std::string&) { worker_.Send(Worker::Exit("op-999", 1, 0)); }),
               "another operation");
}

TEST_F(OperationClientTest, RefusesOutputAfterTheExit) {
  ExpectBroken(Run([&](const std::string& id) {
                 worker_.Send(Worker::Exit(id, 1, 0));
                 worker_.Send(Worker::Data(id, 2, "late"));
               }),
               "out of order");
}

TEST_F(OperationClientTest, RefusesAnOperationThatTheWorkerSaysItKnows) {
  ExpectBroken(Run([&](const std::string& id) {
                 v1::WorkerFrame frame = Worker::Started(id);
                 frame.mutable_response()->mutable_op_started()->set_accepted(false);
                 worker_.Send(frame);
               }),
               "never started");
}

TEST_F(OperationClientTest, RefusesAnswersThatNobodyAskedFor) {
  ExpectBroken(Run([&](const std::string&) { worker_.Send(Worker::Started("op-999")); }),
               "not made");
}

TEST_F(OperationClientTest, RefusesAnAnswerWithoutAName) {
  ExpectBroken(Run([&](const std::string&) { worker_.Send(Worker::Took("")); }), "not made");
}

TEST_F(OperationClientTest, RefusesASecondAnswerToOneRequest) {
  ExpectBroken(Run([&](const std::string& id) {
                 worker_.Send(Worker::Started(id));
                 worker_.Send(Worker::Started(id));
               }),
               "not made");
}

TEST_F(OperationClientTest, RefusesASecondAcknowledgementOfOneChunk) {
  ExpectBroken(Run(
                   [&](const std::string& id) {
                     worker_.Send(Worker::Started(id));
                     const std::string chunk = worker_.Receive()->request().request_id();
                     worker_.Send(Worker::Took(chunk));
                     worker_.Send(Worker::Took(chunk));
                   },
                   Command(true), "input"),
               "not made");
}

TEST_F(OperationClientTest, RefusesFramesThatCarryNothing) {
  ExpectBroken(Run([&](const std::string& id) {
                 worker_.Send(Worker::Started(id));
                 worker_.Send(Worker::Data(id, 1, ""));
               }),
               "without output");
}

TEST_F(OperationClientTest, RefusesAMessageOfNoKind) {
  // A field that nobody knows: a message, but none that means something.
  ExpectBroken(Run([&](const std::string&) {
                 worker_.SendRaw(protocol::EncodeFrame(std::string("\x08\x01", 2)));
               }),
               "another operation");
}

TEST_F(OperationClientTest, TellsAWorkersLastWordInBounds) {
  ExpectBroken(Run([&](const std::string&) {
                 v1::WorkerFrame frame;
                 frame.mutable_farewell()->set_reason("it is over " + std::string(100'000, 'x'));
                 worker_.Send(frame);
               }),
               "the sandbox was ended: it is over");
}

TEST_F(OperationClientTest, BoundsWhatAWorkerSaysInAnError) {
  const auto exit = Run([&](const std::string& id) {
    worker_.Send(Worker::Failure(id, v1::ERROR_PROTOCOL, std::string(500'000, 'x')));
  });
  ASSERT_FALSE(exit);
  EXPECT_EQ(exit.error().code, ErrorCode::kInvalidArgument);
  EXPECT_LT(exit.error().message.size(), 4096u);
  ExpectInStep();
}

TEST_F(OperationClientTest, IsBrokenWhenTheStreamEnds) {
  ExpectBroken(Run([&](const std::string& id) {
                 worker_.Send(Worker::Started(id));
                 ::shutdown(worker_.fd(), SHUT_RDWR);
               }),
               "ended");
}

TEST_F(OperationClientTest, CancelsAndWaitsForTheEnd) {
  std::stop_source stop;
  on_output_ = [&] { stop.request_stop(); };
  const auto exit = Run(
      [&](const std::string& id) {
        worker_.Send(Worker::Started(id));
        worker_.Send(Worker::Data(id, 1, "running"));
        const auto cancel = worker_.Receive()->request();
        EXPECT_EQ(cancel.op_cancel().op_id(), id);
        v1::WorkerFrame end = Worker::Exit(id, 2, 137);
        end.mutable_frame()->mutable_exit()->set_cancelled(true);
        worker_.Send(end);
        // An honest worker answers first; either order is in step.
        v1::WorkerFrame answer;
        answer.mutable_response()->set_request_id(cancel.request_id());
        answer.mutable_response()->mutable_op_status();
        worker_.Send(answer);
      },
      Command(), {}, stop.get_token());
  ASSERT_TRUE(exit) << exit.error().ToString();
  EXPECT_TRUE(exit->cancelled());
  ExpectInStep();
}

TEST_F(OperationClientTest, RunsNothingThatWasCancelledBefore) {
  std::stop_source stop;
  stop.request_stop();
  const auto exit = client_.Run(Command(), {}, {}, {}, stop.get_token());
  ASSERT_FALSE(exit);
  EXPECT_EQ(exit.error().code, ErrorCode::kCancelled);
  ExpectInStep();
}

class ImpatientOperationClientTest : public OperationClientTest {
 protected:
  ImpatientOperationClientTest() : OperationClientTest(std::chrono::milliseconds(20)) {}
};

TEST_F(ImpatientOperationClientTest, GivesUpOnAWorkerThatIgnoresACancel) {
  std::stop_source stop;
  on_output_ = [&] { stop.request_stop(); };
  const auto exit = Run(
      [&](const std::string& id) {
        worker_.Send(Worker::Started(id));
        worker_.Send(Worker::Data(id, 1, "running"));
        while (worker_.Receive()) {
        }
      },
      Command(), {}, stop.get_token());
  ASSERT_FALSE(exit);
  EXPECT_EQ(exit.error().code, ErrorCode::kTimeout);
  EXPECT_TRUE(client_.broken());
}

TEST_F(OperationClientTest, GivesUpOnAWorkerThatNeverAnswers) {
  patience_ = std::chrono::milliseconds(20);
  const auto exit = Run([&](const std::string& id) { worker_.Send(Worker::Started(id)); });
  ASSERT_FALSE(exit);
  EXPECT_EQ(exit.error().code, ErrorCode::kTimeout);
  EXPECT_TRUE(client_.broken());
}

TEST_F(OperationClientTest, GivesUpOnAWorkerThatTalksBeyondItsTime) {
  patience_ = std::chrono::milliseconds(50);
  const auto exit = Run([&](const std::string& id) {
    worker_.Send(Worker::Started(id));
    for (std::uint64_t seq = 1; worker_.Send(Worker::Data(id, seq, "x")); ++seq) {
    }
  });
  ASSERT_FALSE(exit);
  EXPECT_EQ(exit.error().code, ErrorCode::kTimeout);
}

TEST_F(OperationClientTest, DoesNotChargeAWorkerForTheTimeOfOurOwnSink) {
  patience_ = std::chrono::seconds(1);
  std::promise<void> taken;
  on_output_ = [&] {
    if (output_ != "one") return;
    // A sink that takes longer than the worker has.
    const Deadline until = Deadline::After(2 * *patience_);
    while (!until.Expired()) {
    }
    taken.set_value();
  };
  const auto exit = Run([&](const std::string& id) {
    worker_.Send(Worker::Started(id));
    worker_.Send(Worker::Data(id, 1, "one"));
    taken.get_future().wait();
    worker_.Send(Worker::Data(id, 2, "two"));
    worker_.Send(Worker::Exit(id, 3, 0));
  });
  EXPECT_TRUE(exit) << exit.error().ToString();
}

TEST_F(OperationClientTest, SendsNothingThatAFrameCannotHoldOrThatIsNoText) {
  v1::OpStart start;
  start.mutable_exec()->add_command(std::string(2 << 20, 'x'));
  EXPECT_EQ(client_.Run(start, {}, {}, {}, {}).error().code, ErrorCode::kTooLarge);
  start.mutable_exec()->set_command(0, "\xff");
  EXPECT_EQ(client_.Run(start, {}, {}, {}, {}).error().code, ErrorCode::kInvalidArgument);
  v1::ControlRequest request;
  request.mutable_fs_stat()->set_path("\xc3");
  EXPECT_EQ(client_.Unary(request, Deadline::Never()).error().code, ErrorCode::kInvalidArgument);
  ExpectInStep();
}

// ---- Requests with one answer

TEST_F(OperationClientTest, GivesARequestsAnswerOrItsError) {
  std::jthread worker([&] {
    v1::WorkerFrame frame;
    frame.mutable_response()->set_request_id(worker_.Receive()->request().request_id());
    frame.mutable_response()->mutable_fs_stat()->set_exists(true);
    worker_.Send(frame);
    worker_.Send(Worker::Failure(worker_.Receive()->request().request_id(), v1::ERROR_NOT_FOUND));
  });
  v1::ControlRequest request;
  request.mutable_fs_stat()->set_path("x");
  EXPECT_TRUE(client_.Unary(request, Deadline::Never())->fs_stat().exists());
  EXPECT_EQ(client_.Unary(request, Deadline::Never()).error().code, ErrorCode::kNotFound);
  worker.join();
  ExpectInStep();
}

TEST_F(OperationClientTest, IsBrokenByTheAnswerToAnotherRequest) {
  worker_.Send(Worker::Started("op-999"));
  EXPECT_EQ(client_.Ping(Deadline::Never()).error().code, ErrorCode::kProtocol);
  EXPECT_TRUE(client_.broken());
}

TEST_F(OperationClientTest, IsBrokenByAPingWithAnotherNonce) {
  std::jthread worker([&] {
    v1::WorkerFrame frame;
    frame.mutable_response()->set_request_id(worker_.Receive()->request().request_id());
    frame.mutable_response()->mutable_ping()->set_nonce(999);
    worker_.Send(frame);
  });
  EXPECT_EQ(client_.Ping(Deadline::Never()).error().code, ErrorCode::kProtocol);
  EXPECT_TRUE(client_.broken());
}

TEST_F(OperationClientTest, IsBrokenByAPingThatIsNotAnswered) {
  EXPECT_EQ(client_.Ping(Deadline::After(std::chrono::milliseconds(1))).error().code,
            ErrorCode::kTimeout);
  EXPECT_TRUE(client_.broken());
}

}  // namespace
}  // namespace cofferdam::sandbox
