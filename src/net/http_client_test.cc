#include "net/http_client.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <atomic>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/check.h"
#include "net/testing/test_http_server.h"
#include "sys/file.h"

namespace cofferdam::net {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t kMegabyte = 1 << 20;

std::unique_ptr<HttpClient> NewClient(HttpClientOptions options = {}) {
  auto client = HttpClient::Create(std::move(options));
  CHECK(client);
  return std::move(*client);
}

// A test that hangs is a failure, not a stopped machine.
Deadline Patience() { return Deadline::After(std::chrono::seconds(30)); }

Result<std::string> Get(HttpClient& client, HttpRequest request) {
  ASSIGN_OR_RETURN(HttpResponse response, client.Send(std::move(request), Patience(), {}));
  return response.ReadAll(64 * kMegabyte, Patience(), {});
}

TEST(HttpClient, SendsMethodHeadersAndBodyAndReadsTheAnswer) {
  TestHttpServer server([](TestExchange& exchange) {
    exchange.Respond(201, {{"X-Answer", " 42 "}, {"X-Empty", ""}}, "made");
  });
  auto client = NewClient();
  auto response = client->Send({.method = "POST",
                                .url = server.Url("/things?a=b"),
                                .headers = {{"Content-Type", "text/x"}, {"X-None", ""}},
                                .body = "hello"},
                               Patience(), {});
  ASSERT_TRUE(response) << response.error().ToString();
  EXPECT_EQ(response->status(), 201);
  EXPECT_EQ(response->FindHeader("x-answer"), "42");
  EXPECT_EQ(response->FindHeader("x-empty"), "");
  EXPECT_EQ(response->FindHeader("x-other"), std::nullopt);
  EXPECT_EQ(*response->ReadAll(100, Patience(), {}), "made");
  const TestRequest request = server.requests().at(0);
  EXPECT_EQ(request.method, "POST");
  EXPECT_EQ(request.target, "/things?a=b");
  EXPECT_EQ(request.headers.at("content-type"), "text/x");
  EXPECT_EQ(request.headers.at("x-none"), "");
  EXPECT_EQ(request.body, "hello");
}

TEST(HttpClient, SendsEveryMethodWithAndWithoutABody) {
  TestHttpServer server([](TestExchange& exchange) { exchange.Respond(200, {}, "ok"); });
  auto client = NewClient();
  for (const std::string method : {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"}) {
    const auto body = Get(*client, {.method = method, .url = server.Url("/")});
    ASSERT_TRUE(body) << method << body.error().ToString();
    EXPECT_EQ(*body, method == "HEAD" ? "" : "ok");
    EXPECT_EQ(server.requests().back().method, method);
  }
  ASSERT_TRUE(Get(*client, {.method = "DELETE", .url = server.Url("/"), .body = "why"}));
  EXPECT_EQ(server.requests().back().method, "DELETE");
  EXPECT_EQ(server.requests().back().body, "why");
  EXPECT_FALSE(server.requests().back().headers.contains("content-type"));
}

TEST(HttpClient, AnErrorStatusIsAnAnswer) {
  TestHttpServer server([](TestExchange& exchange) { exchange.Respond(503, {}, "later"); });
  auto client = NewClient();
  auto response = client->Send({.url = server.Url("/")}, Patience(), {});
  ASSERT_TRUE(response);
  EXPECT_EQ(response->status(), 503);
  EXPECT_EQ(*response->ReadAll(100, Patience(), {}), "later");
}

TEST(HttpClient, DoesNotFollowARedirect) {
  TestHttpServer server(
      [](TestExchange& exchange) { exchange.Respond(302, {{"Location", "/elsewhere"}}, ""); });
  auto client = NewClient();
  auto response = client->Send({.url = server.Url("/")}, Patience(), {});
  ASSERT_TRUE(response);
  EXPECT_EQ(response->status(), 302);
  EXPECT_EQ(server.requests().size(), 1u);
}

TEST(HttpClient, SkipsInformationalResponses) {
  TestHttpServer server([](TestExchange& exchange) {
    exchange.SendRaw(
        "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  });
  auto client = NewClient();
  auto response = client->Send({.url = server.Url("/")}, Patience(), {});
  ASSERT_TRUE(response);
  EXPECT_EQ(response->status(), 200);
  EXPECT_EQ(response->FindHeader("link"), std::nullopt);
  EXPECT_EQ(*response->ReadAll(100, Patience(), {}), "ok");
}

TEST(HttpClient, GivesTheHeadBeforeTheBodyAndEachPieceAsItComes) {
  std::atomic<int> reads = 0;
  TestHttpServer server([&reads](TestExchange& exchange) {
    exchange.StartChunks(200, {});
    for (int i = 0; i < 3; ++i) {
      exchange.SendChunk(std::string(1, static_cast<char>('a' + i)));
      reads.wait(i);  // the client has the piece, although more is to come
    }
    exchange.EndChunks();
  });
  auto client = NewClient();
  auto response = client->Send({.url = server.Url("/")}, Patience(), {});
  ASSERT_TRUE(response);
  for (const std::string piece : {"a", "b", "c"}) {
    EXPECT_EQ(*response->Read(Patience(), {}), piece);
    ++reads;
    reads.notify_all();
  }
  EXPECT_EQ(*response->Read(Patience(), {}), "");
}

TEST(HttpClient, HoldsNoMoreThanItsBufferWhateverTheServerSends) {
  constexpr std::size_t kBuffer = 64 << 10;
  constexpr std::size_t kTotal = 16 * kMegabyte;
  TestHttpServer server([](TestExchange& exchange) {
    exchange.StartChunks(200, {});
    std::string chunk(100'000, 'x');
    for (std::size_t sent = 0; sent < kTotal; sent += chunk.size())
      if (!exchange.SendChunk(std::string_view(chunk).substr(0, kTotal - sent))) return;
    exchange.EndChunks();
  });
  auto client = NewClient({.max_buffered_bytes = kBuffer});
  auto response = client->Send({.url = server.Url("/")}, Patience(), {});
  ASSERT_TRUE(response);
  std::size_t total = 0;
  while (true) {
    const auto piece = response->Read(Patience(), {});
    ASSERT_TRUE(piece) << piece.error().ToString();
    if (piece->empty()) break;
    EXPECT_LE(piece->size(), kBuffer);
    total += piece->size();
  }
  EXPECT_EQ(total, kTotal);
}

TEST(HttpClient, AReaderThatWaitsIsNotTakenForAServerThatDoes) {
  TestHttpServer server(
      [](TestExchange& exchange) { exchange.Respond(200, {}, std::string(8 * kMegabyte, 'x')); });
  TestHttpServer slow([](TestExchange& exchange) { exchange.WaitForHangUp(); });
  auto client = NewClient({.max_buffered_bytes = 64 << 10});
  auto response =
      client->Send({.url = server.Url("/"), .idle_timeout = milliseconds(20)}, Patience(), {});
  ASSERT_TRUE(response);
  // Passes the time: twenty idle timeouts of the response that nobody reads.
  const auto other =
      client->Send({.url = slow.Url("/"), .first_byte_timeout = milliseconds(400)}, Patience(), {});
  EXPECT_EQ(other.error().code, ErrorCode::kTimeout);
  const auto body = response->ReadAll(16 * kMegabyte, Patience(), {});
  ASSERT_TRUE(body) << body.error().ToString();
  EXPECT_EQ(body->size(), 8 * kMegabyte);
}

TEST(HttpClient, ABodyCutBeforeItsContentLengthIsAConnectionError) {
  TestHttpServer server([](TestExchange& exchange) {
    exchange.SendRaw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
    exchange.Cut();
  });
  auto client = NewClient();
  auto response = client->Send({.url = server.Url("/")}, Patience(), {});
  ASSERT_TRUE(response);
  EXPECT_EQ(*response->Read(Patience(), {}), "half");
  EXPECT_EQ(response->Read(Patience(), {}).error().code, ErrorCode::kConnection);
  EXPECT_EQ(response->Read(Patience(), {}).error().code, ErrorCode::kConnection);
}

TEST(HttpClient, ABodyCutBeforeItsLastChunkIsAConnectionError) {
  TestHttpServer server([](TestExchange& exchange) {
    exchange.StartChunks(200, {});
    exchange.SendChunk("half");
    exchange.Cut();
  });
  auto client = NewClient();
  EXPECT_EQ(Get(*client, {.url = server.Url("/")}).error().code, ErrorCode::kConnection);
}

TEST(HttpClient, AConnectionCutBeforeTheHeadIsAConnectionError) {
  TestHttpServer server([](TestExchange& exchange) { exchange.Cut(); });
  auto client = NewClient();
  EXPECT_EQ(Get(*client, {.url = server.Url("/")}).error().code, ErrorCode::kConnection);
}

TEST(HttpClient, AnAnswerThatIsNotHttpIsAConnectionError) {
  TestHttpServer server([](TestExchange& exchange) { exchange.SendRaw("SSH-2.0-x\r\n"); });
  auto client = NewClient();
  EXPECT_EQ(Get(*client, {.url = server.Url("/")}).error().code, ErrorCode::kConnection);
}

TEST(HttpClient, ARefusedConnectionIsAConnectionError) {
  std::string url;
  {
    url = TestHttpServer([](TestExchange&) {}).Url("/");
  }
  auto client = NewClient();
  EXPECT_EQ(Get(*client, {.url = url}).error().code, ErrorCode::kConnection);
}

TEST(HttpClient, TimesOutWhenNoAnswerBegins) {
  TestHttpServer server([](TestExchange& exchange) { exchange.WaitForHangUp(); });
  auto client = NewClient();
  const auto answer =
      Get(*client, {.url = server.Url("/"), .first_byte_timeout = milliseconds(20)});
  EXPECT_EQ(answer.error().code, ErrorCode::kTimeout);
  EXPECT_EQ(answer.error().message, "the server did not answer in time");
}

TEST(HttpClient, TimesOutWhenTheBodyStops) {
  TestHttpServer server([](TestExchange& exchange) {
    exchange.StartChunks(200, {});
    exchange.SendChunk("x");
    exchange.WaitForHangUp();
  });
  auto client = NewClient();
  const auto answer = Get(*client, {.url = server.Url("/"), .idle_timeout = milliseconds(20)});
  EXPECT_EQ(answer.error().code, ErrorCode::kTimeout);
  EXPECT_EQ(answer.error().message, "the HTTP response stopped coming");
}

TEST(HttpClient, TimesOutInAllWhateverComes) {
  TestHttpServer server([](TestExchange& exchange) {
    exchange.StartChunks(200, {});
    while (exchange.SendChunk(std::string(1000, 'x'))) {
    }
  });
  auto client = NewClient();
  const auto answer = Get(
      *client,
      {.url = server.Url("/"), .total_timeout = milliseconds(50), .max_body_bytes = UINT64_MAX});
  EXPECT_TRUE(answer.error().code == ErrorCode::kTimeout ||
              answer.error().code == ErrorCode::kTooLarge);
}

TEST(HttpClient, ADeadlineEndsTheWaitForTheHead) {
  TestHttpServer server([](TestExchange& exchange) { exchange.WaitForHangUp(); });
  auto client = NewClient();
  const auto answer = client->Send({.url = server.Url("/")}, Deadline::After(milliseconds(20)), {});
  EXPECT_EQ(answer.error().code, ErrorCode::kTimeout);
}

TEST(HttpClient, AfterADeadlineInTheBodyReadingGoesOn) {
  std::atomic<bool> go = false;
  TestHttpServer server([&go](TestExchange& exchange) {
    exchange.StartChunks(200, {});
    go.wait(false);
    exchange.SendChunk("x");
    exchange.EndChunks();
  });
  auto client = NewClient();
  auto response = client->Send({.url = server.Url("/")}, Patience(), {});
  ASSERT_TRUE(response);
  EXPECT_EQ(response->Read(Deadline::After(milliseconds(10)), {}).error().code,
            ErrorCode::kTimeout);
  go = true;
  go.notify_all();
  EXPECT_EQ(*response->Read(Patience(), {}), "x");
}

TEST(HttpClient, AStopRequestEndsTheWaitForTheHeadAndHangsUp) {
  std::stop_source stop;
  std::atomic<bool> hung_up = false;
  TestHttpServer server([&](TestExchange& exchange) {
    stop.request_stop();
    exchange.WaitForHangUp();
    hung_up = true;
    hung_up.notify_all();
  });
  auto client = NewClient();
  const auto answer = client->Send({.url = server.Url("/")}, Deadline::Never(), stop.get_token());
  EXPECT_EQ(answer.error().code, ErrorCode::kCancelled);
  hung_up.wait(false);  // while the client lives: the transfer's end was the cancellation's doing
}

TEST(HttpClient, AStopRequestEndsAReadEvenWhenBytesAreThere) {
  TestHttpServer server([](TestExchange& exchange) { exchange.Respond(200, {}, "body"); });
  auto client = NewClient();
  std::stop_source stop;
  auto response = client->Send({.url = server.Url("/")}, Patience(), stop.get_token());
  ASSERT_TRUE(response);
  stop.request_stop();
  EXPECT_EQ(response->Read(Deadline::Never(), stop.get_token()).error().code,
            ErrorCode::kCancelled);
}

TEST(HttpClient, AStopRequestWakesAReadThatWaits) {
  std::stop_source stop;
  TestHttpServer server([&stop](TestExchange& exchange) {
    exchange.StartChunks(200, {});
    stop.request_stop();
    exchange.WaitForHangUp();
  });
  auto client = NewClient();
  auto response = client->Send({.url = server.Url("/")}, Patience(), {});
  ASSERT_TRUE(response);
  EXPECT_EQ(response->Read(Deadline::Never(), stop.get_token()).error().code,
            ErrorCode::kCancelled);
}

TEST(HttpClient, DestroyingAResponseHangsUp) {
  std::atomic<bool> hung_up = false;
  TestHttpServer server([&hung_up](TestExchange& exchange) {
    exchange.StartChunks(200, {});
    exchange.WaitForHangUp();
    hung_up = true;
    hung_up.notify_all();
  });
  auto client = NewClient();
  {
    ASSERT_TRUE(client->Send({.url = server.Url("/")}, Patience(), {}));
  }
  hung_up.wait(false);
}

TEST(HttpClient, DestroyingTheClientEndsWhatIsUnderWay) {
  TestHttpServer server([](TestExchange& exchange) {
    exchange.StartChunks(200, {});
    exchange.WaitForHangUp();
  });
  auto client = NewClient();
  auto response = client->Send({.url = server.Url("/")}, Patience(), {});
  ASSERT_TRUE(response);
  client.reset();
  EXPECT_EQ(response->Read(Deadline::Never(), {}).error().code, ErrorCode::kCancelled);
}

TEST(HttpClient, ABodyAtItsLimitPassesAndOneByteMoreDoesNot) {
  TestHttpServer server(
      [](TestExchange& exchange) { exchange.Respond(200, {}, std::string(1000, 'x')); });
  auto client = NewClient();
  EXPECT_EQ(Get(*client, {.url = server.Url("/"), .max_body_bytes = 1000})->size(), 1000u);
  EXPECT_EQ(Get(*client, {.url = server.Url("/"), .max_body_bytes = 999}).error().code,
            ErrorCode::kTooLarge);
  auto response = client->Send({.url = server.Url("/")}, Patience(), {});
  EXPECT_EQ(response->ReadAll(999, Patience(), {}).error().code, ErrorCode::kTooLarge);
}

TEST(HttpClient, RefusesAHeadWithTooManyHeaders) {
  std::atomic<int> count = 255;
  TestHttpServer server([&count](TestExchange& exchange) {
    const TestExchange::Headers headers(static_cast<std::size_t>(count.load()), {"X", "y"});
    exchange.Respond(200, headers, "");  // and its Content-Length
  });
  auto client = NewClient();
  EXPECT_TRUE(Get(*client, {.url = server.Url("/")}));
  count = 256;
  EXPECT_EQ(Get(*client, {.url = server.Url("/")}).error().code, ErrorCode::kTooLarge);
}

TEST(HttpClient, RefusesMoreTransfersThanAllowedUntilOneEnds) {
  TestHttpServer server([](TestExchange& exchange) {
    exchange.StartChunks(200, {});
    if (exchange.request().target == "/long") exchange.WaitForHangUp();
    exchange.EndChunks();
  });
  auto client = NewClient({.max_transfers = 1});
  {
    auto first = client->Send({.url = server.Url("/long")}, Patience(), {});
    ASSERT_TRUE(first);
    EXPECT_EQ(client->Send({.url = server.Url("/")}, Patience(), {}).error().code,
              ErrorCode::kBusy);
  }
  // The end of the first is on its way; nothing else can be in this client's place then.
  Result<std::string> second = Err(ErrorCode::kBusy, "");
  while (!second && second.error().code == ErrorCode::kBusy)
    second = Get(*client, {.url = server.Url("/")});
  EXPECT_TRUE(second);
}

TEST(HttpClient, RefusesWhatIsNotAPlainHttpRequest) {
  auto client = NewClient();
  const auto code = [&client](HttpRequest request) {
    return client->Send(std::move(request), Patience(), {}).error().code;
  };
  EXPECT_EQ(code({.url = "file:///etc/passwd"}), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code({.url = "localhost:80"}), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code({.url = "http://"}), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code({.method = "GET /x", .url = "http://127.0.0.1"}), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code({.method = "", .url = "http://127.0.0.1"}), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code({.url = "http://127.0.0.1", .headers = {{"A B", "c"}}}),
            ErrorCode::kInvalidArgument);
}

TEST(HttpClient, RefusesAHeaderValueWithALineBreakAndDoesNotRepeatIt) {
  auto client = NewClient();
  for (const std::string& value :
       std::vector<std::string>{"secret\r\nX: y", "secret\n", {"secret\0", 7}}) {
    const auto answer = client->Send({.url = "http://127.0.0.1", .headers = {{"x-api-key", value}}},
                                     Patience(), {});
    EXPECT_EQ(answer.error().code, ErrorCode::kInvalidArgument);
    EXPECT_THAT(answer.error().ToString(), testing::Not(testing::HasSubstr("secret")));
  }
}

TEST(HttpClient, ItsSocketsAreNotInheritedByPrograms) {
  TestHttpServer server([](TestExchange& exchange) {
    exchange.StartChunks(200, {});
    exchange.WaitForHangUp();
  });
  auto client = NewClient();
  auto response = client->Send({.url = server.Url("/")}, Patience(), {});
  ASSERT_TRUE(response);
  auto directory = sys::Open("/proc/self/fd", O_RDONLY | O_DIRECTORY);
  ASSERT_TRUE(directory);
  const auto names = sys::ListDirectory(directory->get());
  ASSERT_TRUE(names);
  int sockets = 0;
  for (const std::string& name : *names) {
    const int fd = std::stoi(name);
    int domain = 0;
    socklen_t length = sizeof(domain);
    if (::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) != 0 || domain != AF_INET)
      continue;
    ++sockets;
    EXPECT_TRUE(::fcntl(fd, F_GETFD) & FD_CLOEXEC) << fd;
  }
  EXPECT_EQ(sockets, 3);  // the server's two and the client's one
}

TEST(HttpClient, ServesManyThreadsAtOnce) {
  TestHttpServer server([](TestExchange& exchange) {
    exchange.StartChunks(200, {});
    for (const char c : exchange.request().target) exchange.SendChunk(std::string(1, c));
    exchange.EndChunks();
  });
  auto client = NewClient();
  std::vector<std::thread> threads;
  std::atomic<int> right = 0;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&, i] {
      for (int j = 0; j < 10; ++j) {
        const std::string target = "/" + std::to_string(i * 100 + j);
        if (Get(*client, {.url = server.Url(target)}) == target) ++right;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right, 80);
}

TEST(HttpDate, TakesTheFormsOfRfc9110) {
  EXPECT_EQ(ParseHttpDate("Sun, 06 Nov 1994 08:49:37 GMT"), 784111777);
  EXPECT_EQ(ParseHttpDate("Sunday, 06-Nov-94 08:49:37 GMT"), 784111777);
  EXPECT_EQ(ParseHttpDate("Sun Nov  6 08:49:37 1994"), 784111777);
  EXPECT_EQ(ParseHttpDate("soon"), std::nullopt);
}

}  // namespace
}  // namespace cofferdam::net
