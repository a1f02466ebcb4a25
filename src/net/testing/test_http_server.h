// A small HTTP/1.1 server for tests, on a loopback port of its own. Whoever tests says byte by byte
// what it answers, odd cuts and broken connections included.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "sys/fd.h"

namespace cofferdam::net {

/// What a client asked.
struct TestRequest {
  std::string method;
  /// Path and query.
  std::string target;
  /// Names in lower case; of several with one name, the last.
  std::map<std::string, std::string> headers;
  std::string body;
};

/// One request and the way to answer it. Used by a handler, on its connection's thread. Every
/// method returns false when the client is gone.
class TestExchange {
 public:
  using Headers = std::vector<std::pair<std::string, std::string>>;

  TestExchange(int socket, TestRequest request) : socket_(socket), request_(std::move(request)) {}

  const TestRequest& request() const { return request_; }

  /// A whole response with a Content-Length.
  bool Respond(int status, const Headers& headers, std::string_view body);

  /// A response in pieces: each SendChunk is one chunk on the wire.
  bool StartChunks(int status, const Headers& headers);
  bool SendChunk(std::string_view bytes);
  bool EndChunks();

  /// Bytes as they are. The connection is closed after the handler.
  bool SendRaw(std::string_view bytes);
  /// Ends the connection now, in the middle of whatever it was.
  void Cut();
  /// Blocks until the client closes the connection or the server is destroyed.
  void WaitForHangUp();

  /// True when another request may follow on this connection.
  bool keeps_alive() const { return keeps_alive_; }

 private:
  int socket_;
  TestRequest request_;
  bool keeps_alive_ = false;
};

/// Calls `handler` for every request, each connection on a thread of its own, so the handler must
/// be safe to call from several. The destructor ends all connections and waits for their threads.
///
///   TestHttpServer server([](TestExchange& exchange) { exchange.Respond(200, {}, "hello"); });
///   client->Send({.url = server.Url("/")}, …);
class TestHttpServer {
 public:
  using Handler = std::function<void(TestExchange&)>;

  explicit TestHttpServer(Handler handler);
  ~TestHttpServer();
  TestHttpServer(const TestHttpServer&) = delete;
  TestHttpServer& operator=(const TestHttpServer&) = delete;

  std::uint16_t port() const { return port_; }
  /// "http://127.0.0.1:<port><path>".
  std::string Url(std::string_view path = "") const;

  /// Every request so far, in the order in which they were read.
  std::vector<TestRequest> requests() const;

 private:
  struct Connection {
    sys::UniqueFd socket;
    std::thread thread;
  };

  void AcceptLoop();
  void Serve(int socket);

  Handler handler_;
  sys::UniqueFd listener_;
  std::uint16_t port_ = 0;
  mutable std::mutex mutex_;
  // Guarded by mutex_. A connection's socket stays open until the end, so that its number is not
  // given to another while the destructor shuts it down.
  std::list<Connection> connections_;
  std::vector<TestRequest> requests_;
  bool stopping_ = false;
  std::thread acceptor_;
};

}  // namespace cofferdam::net
