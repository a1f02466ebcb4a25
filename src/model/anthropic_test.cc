#include "model/anthropic.h"

#include <atomic>
#include <mutex>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/check.h"
#include "base/testing/fake_clock.h"
#include "net/testing/test_http_server.h"

namespace cofferdam::model {
namespace {

using net::TestExchange;
using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr std::string_view kKey = "sk-ant-test-0123456789";

constexpr std::string_view kAnswer =
    "event: message_start\r\n"
    "data: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"model\":\"claude-x-1\","
    "\"usage\":{\"input_tokens\":10,\"output_tokens\":1}}}\r\n\r\n"
    ": a comment\n\n"
    "event: content_block_start\n"
    "data: {\"type\":\"content_block_start\",\"index\":0,"
    "\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n"
    "event: ping\ndata: {\"type\": \"ping\"}\n\n"
    "event: content_block_delta\n"
    "data: {\"type\":\"content_block_delta\",\"index\":0,"
    "\"delta\":{\"type\":\"text_delta\",\"text\":\"Grüße 日本 🙂\"}}\n\n"
    "data: {\"type\":\"content_block_stop\",\"index\":0}\n\n"
    "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},"
    "\"usage\":{\"output_tokens\":7}}\n\n"
    "data: {\"type\":\"message_stop\"}\n\n";

const TestExchange::Headers kEventStream = {{"Content-Type", "text/event-stream; charset=utf-8"}};

void Answer(TestExchange& exchange) { exchange.Respond(200, kEventStream, kAnswer); }

void AnswerInPieces(TestExchange& exchange, std::size_t piece) {
  exchange.StartChunks(200, kEventStream);
  for (std::size_t at = 0; at < kAnswer.size(); at += piece)
    exchange.SendChunk(kAnswer.substr(at, piece));
  exchange.EndChunks();
}

// A server that answers each request by the next of its handlers, the last one for all that follow;
// and a provider that talks to it and never really waits.
class AnthropicTest : public testing::Test {
 protected:
  using Handler = net::TestHttpServer::Handler;

  void Serve(std::vector<Handler> handlers) {
    served_ = 0;
    server_ = std::make_unique<net::TestHttpServer>([this, handlers](TestExchange& exchange) {
      const std::size_t number = served_++;
      handlers[std::min(number, handlers.size() - 1)](exchange);
    });
    auto client = net::HttpClient::Create({});
    CHECK(client);
    client_ = std::move(*client);
    AnthropicOptions options;
    options.base_url = server_->Url("/");
    options.api_key = crypto::SecretString(kKey);
    options.retry.wait = [this](milliseconds duration, Deadline, std::stop_token) -> Status {
      waits_.push_back(duration);
      if (wait_error_) return std::unexpected(*wait_error_);
      return {};
    };
    options.first_byte_timeout = first_byte_timeout_;
    provider_ = std::make_unique<AnthropicProvider>(std::move(options), *client_, clock_);
  }

  Result<Response> Ask(std::stop_token stop = {}) {
    auto response = provider_->Stream(
        {.model = "claude-x", .messages = {UserText("hi")}},
        [this](const StreamEvent& event) {
          if (const auto* text = std::get_if<TextDelta>(&event)) text_ += text->text;
        },
        Deadline::After(std::chrono::seconds(30)), std::move(stop));
    if (!response) {
      EXPECT_THAT(response.error().ToString(), Not(HasSubstr(kKey)));
    }
    return response;
  }

  static Handler Refuse(int status, TestExchange::Headers headers = {},
                        std::string message = "no") {
    return [=](TestExchange& exchange) {
      exchange.Respond(status, headers,
                       json::Dump({{"type", "error"},
                                   {"error", {{"type", "some_error"}, {"message", message}}}}));
    };
  }

  milliseconds first_byte_timeout_ = std::chrono::seconds(30);
  FakeClock clock_{784111777'000};  // Sun, 06 Nov 1994 08:49:37 GMT
  std::optional<Error> wait_error_;
  std::vector<milliseconds> waits_;
  std::string text_;
  std::unique_ptr<net::TestHttpServer> server_;
  std::unique_ptr<net::HttpClient> client_;
  std::unique_ptr<AnthropicProvider> provider_;

 private:
  std::atomic<std::size_t> served_ = 0;
};

TEST_F(AnthropicTest, SendsTheHeadersOfTheApiAndReadsTheAnswer) {
  Serve({Answer});
  const auto response = Ask();
  ASSERT_TRUE(response) << response.error().ToString();
  EXPECT_EQ(response->message, AssistantText("Grüße 日本 🙂"));
  EXPECT_EQ(response->usage, (Usage{.input_tokens = 10, .output_tokens = 7}));
  EXPECT_EQ(response->stop_reason, StopReason::kEndTurn);
  EXPECT_EQ(text_, "Grüße 日本 🙂");
  const net::TestRequest request = server_->requests().at(0);
  EXPECT_EQ(request.method, "POST");
  EXPECT_EQ(request.target, "/v1/messages");
  EXPECT_EQ(request.headers.at("x-api-key"), kKey);
  EXPECT_EQ(request.headers.at("anthropic-version"), "2023-06-01");
  EXPECT_EQ(request.headers.at("content-type"), "application/json");
  const auto body = json::Parse(request.body);
  ASSERT_TRUE(body);
  EXPECT_EQ((*body)["model"], "claude-x");
  EXPECT_EQ((*body)["stream"], true);
}

TEST_F(AnthropicTest, ReadsTheSameHoweverTheStreamIsCut) {
  std::vector<Handler> handlers;
  for (const std::size_t piece : {1, 2, 3, 7, 64, 1000})
    handlers.push_back([piece](TestExchange& exchange) { AnswerInPieces(exchange, piece); });
  Serve(handlers);
  for (std::size_t i = 0; i < handlers.size(); ++i) {
    const auto response = Ask();
    ASSERT_TRUE(response) << response.error().ToString();
    EXPECT_EQ(response->message, AssistantText("Grüße 日本 🙂"));
  }
}

TEST_F(AnthropicTest, TriesAgainAfterOverloadAndRateLimitUntilSuccess) {
  Serve({Refuse(529), Refuse(429, {{"Retry-After", "3"}}), Answer});
  ASSERT_TRUE(Ask());
  ASSERT_EQ(waits_.size(), 2u);
  EXPECT_LE(waits_[0], milliseconds(500));
  EXPECT_GE(waits_[0], milliseconds(375));
  EXPECT_EQ(waits_[1], milliseconds(3000));
}

TEST_F(AnthropicTest, ReadsRetryAfterAsADateOnItsClock) {
  Serve({Refuse(429, {{"Retry-After", "Sun, 06 Nov 1994 08:49:40 GMT"}}), Answer});
  ASSERT_TRUE(Ask());
  EXPECT_THAT(waits_, ElementsAre(milliseconds(3000)));
}

TEST_F(AnthropicTest, GivesUpAfterTwoRetriesAndSaysWhenToComeBack) {
  Serve({Refuse(429, {{"Retry-After", "12"}})});
  const auto response = Ask();
  EXPECT_EQ(response.error().code, ErrorCode::kModelRateLimit);
  EXPECT_EQ(response.error().hint, "retry after 12 s");
  EXPECT_EQ(server_->requests().size(), 3u);
}

TEST_F(AnthropicTest, DoesNotWaitLongerThanItsPolicyAllows) {
  Serve({Refuse(429, {{"Retry-After", "3600"}})});
  const auto response = Ask();
  EXPECT_EQ(response.error().code, ErrorCode::kModelRateLimit);
  EXPECT_EQ(response.error().hint, "retry after 3600 s");
  EXPECT_THAT(waits_, IsEmpty());
}

TEST_F(AnthropicTest, DoesNotRepeatWhatCannotSucceed) {
  const std::vector<std::pair<Handler, ErrorCode>> cases = {
      {Refuse(400), ErrorCode::kModelInvalidRequest},
      {Refuse(400, {}, "prompt is too long: 9 > 8"), ErrorCode::kModelContextOverflow},
      {Refuse(401), ErrorCode::kModelAuthentication},
      {Refuse(402), ErrorCode::kModelBilling},
      {Refuse(429, {}, "monthly spend limit reached"), ErrorCode::kModelBilling},
      {Refuse(529, {{"x-should-retry", "false"}}), ErrorCode::kModelOverloaded},
  };
  for (const auto& [handler, code] : cases) {
    Serve({handler});
    EXPECT_EQ(Ask().error().code, code);
    EXPECT_EQ(server_->requests().size(), 1u) << ErrorCodeName(code);
  }
}

TEST_F(AnthropicTest, NeverRepeatsAKeyThatTheServerRepeats) {
  Serve({Refuse(401, {}, "the key " + std::string(kKey) + " is not valid"),
         Refuse(401, {}, std::string(985, 'x') + std::string(kKey))});
  EXPECT_THAT(Ask().error().message, HasSubstr("the key [key] is not valid"));
  // Where the text is cut, too; Ask() looks for the whole key, so look for its beginning.
  const std::string message = Ask().error().message;
  EXPECT_THAT(message, Not(HasSubstr(kKey.substr(0, 6))));
  EXPECT_LE(message.size(), 1000u);
}

TEST_F(AnthropicTest, ACutBeforeTheFirstEventIsTriedAgain) {
  Serve({[](TestExchange& exchange) { exchange.Cut(); },
         [](TestExchange& exchange) {
           exchange.StartChunks(200, kEventStream);
           exchange.SendChunk(": hello\n\n");
           exchange.Cut();
         },
         Answer});
  ASSERT_TRUE(Ask());
  EXPECT_EQ(waits_.size(), 2u);
}

TEST_F(AnthropicTest, ACutAfterTheFirstEventIsAConnectionErrorAndNotTriedAgain) {
  Serve({[](TestExchange& exchange) {
    exchange.StartChunks(200, kEventStream);
    exchange.SendChunk(kAnswer.substr(0, kAnswer.find("data: {\"type\":\"message_delta\"")));
    exchange.Cut();
  }});
  EXPECT_EQ(Ask().error().code, ErrorCode::kConnection);
  EXPECT_EQ(text_, "Grüße 日本 🙂");
  EXPECT_THAT(waits_, IsEmpty());
}

TEST_F(AnthropicTest, AnAnswerWithoutItsLastEventIsAConnectionErrorAlthoughHttpIsDone) {
  Serve({[](TestExchange& exchange) {
    exchange.Respond(200, kEventStream,
                     kAnswer.substr(0, kAnswer.find("data: {\"type\":\"message_stop")));
  }});
  const auto response = Ask();
  EXPECT_EQ(response.error().code, ErrorCode::kConnection);
  EXPECT_THAT(response.error().message, HasSubstr("ended early"));
}

TEST_F(AnthropicTest, AnErrorEventAfterTheFirstEventEndsTheAnswer) {
  Serve({[](TestExchange& exchange) {
    std::string stream(kAnswer.substr(0, kAnswer.find("event: ping")));
    stream +=
        "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\","
        "\"message\":\"Overloaded\"}}\n\n";
    exchange.Respond(200, kEventStream, stream);
  }});
  EXPECT_EQ(Ask().error().code, ErrorCode::kModelOverloaded);
  EXPECT_EQ(server_->requests().size(), 1u);
}

TEST_F(AnthropicTest, AnErrorEventBeforeAnyOtherIsTriedAgain) {
  Serve({[](TestExchange& exchange) {
           exchange.Respond(200, kEventStream,
                            "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":"
                            "\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n");
         },
         Answer});
  EXPECT_TRUE(Ask());
}

TEST_F(AnthropicTest, AnAnswerThatIsNoEventStreamIsAProtocolError) {
  Serve({[](TestExchange& exchange) {
    exchange.Respond(200, {{"Content-Type", "text/html"}}, "<h1>Log in to the hotel</h1>");
  }});
  EXPECT_EQ(Ask().error().code, ErrorCode::kProtocol);
}

TEST_F(AnthropicTest, ASilentServerIsTriedAgainAndThenATimeout) {
  first_byte_timeout_ = milliseconds(20);
  Serve({[](TestExchange& exchange) { exchange.WaitForHangUp(); }});
  EXPECT_EQ(Ask().error().code, ErrorCode::kTimeout);
  EXPECT_EQ(server_->requests().size(), 3u);
}

TEST_F(AnthropicTest, AStopRequestEndsTheStream) {
  std::stop_source stop;
  Serve({[&stop](TestExchange& exchange) {
    exchange.StartChunks(200, kEventStream);
    exchange.SendChunk(kAnswer.substr(0, 300));
    stop.request_stop();
    exchange.WaitForHangUp();
  }});
  EXPECT_EQ(Ask(stop.get_token()).error().code, ErrorCode::kCancelled);
  EXPECT_EQ(server_->requests().size(), 1u);
}

TEST_F(AnthropicTest, AStopRequestDuringTheWaitIsACancellation) {
  wait_error_ = Error{ErrorCode::kCancelled, "stopped", "", 0};
  Serve({Refuse(529)});
  EXPECT_EQ(Ask().error().code, ErrorCode::kCancelled);
}

TEST_F(AnthropicTest, WithoutTimeForAnotherTryTheLastErrorStands) {
  wait_error_ = Error{ErrorCode::kTimeout, "no time", "", 0};
  Serve({Refuse(529)});
  EXPECT_EQ(Ask().error().code, ErrorCode::kModelOverloaded);
}

TEST_F(AnthropicTest, AnEmptyConversationIsNotSent) {
  Serve({Answer});
  const auto response = provider_->Stream({.model = "m", .messages = {UserText(" ")}},
                                          [](const StreamEvent&) {}, Deadline::Never(), {});
  EXPECT_EQ(response.error().code, ErrorCode::kModelInvalidRequest);
  EXPECT_THAT(server_->requests(), IsEmpty());
}

}  // namespace
}  // namespace cofferdam::model
