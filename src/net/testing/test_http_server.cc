#include "net/testing/test_http_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <charconv>
#include <utility>

#include "base/check.h"

namespace cofferdam::net {
namespace {

constexpr std::size_t kMaxHeadBytes = 64 << 10;
constexpr std::size_t kMaxBodyBytes = 64 << 20;

bool SendAll(int socket, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

std::string Head(int status, const TestExchange::Headers& headers) {
  std::string head = "HTTP/1.1 " + std::to_string(status) + " Status\r\n";
  for (const auto& [name, value] : headers) head += name + ": " + value + "\r\n";
  return head;
}

// Reads requests off a connection, which may hold the next one's bytes already.
class RequestReader {
 public:
  explicit RequestReader(int socket) : socket_(socket) {}

  std::optional<TestRequest> Next() {
    std::size_t end;
    while ((end = buffer_.find("\r\n\r\n")) == std::string::npos)
      if (buffer_.size() > kMaxHeadBytes || !Fill()) return std::nullopt;
    TestRequest request = ParseHead(std::string_view(buffer_).substr(0, end + 2));
    buffer_.erase(0, end + 4);
    std::size_t length = 0;
    if (const auto found = request.headers.find("content-length"); found != request.headers.end())
      std::from_chars(found->second.data(), found->second.data() + found->second.size(), length);
    while (buffer_.size() < length)
      if (length > kMaxBodyBytes || !Fill()) return std::nullopt;
    request.body = buffer_.substr(0, length);
    buffer_.erase(0, length);
    return request;
  }

 private:
  bool Fill() {
    char bytes[16 << 10];
    ssize_t got;
    do {
      got = ::recv(socket_, bytes, sizeof(bytes), 0);
    } while (got < 0 && errno == EINTR);
    if (got <= 0) return false;
    buffer_.append(bytes, static_cast<std::size_t>(got));
    return true;
  }

  static TestRequest ParseHead(std::string_view head) {
    TestRequest request;
    bool first = true;
    while (!head.empty()) {
      const std::size_t end = head.find("\r\n");
      std::string_view line = head.substr(0, end);
      head.remove_prefix(end + 2);
      if (std::exchange(first, false)) {
        request.method = line.substr(0, line.find(' '));
        line.remove_prefix(request.method.size() + 1);
        request.target = line.substr(0, line.find(' '));
        continue;
      }
      const std::size_t colon = line.find(':');
      if (colon == std::string_view::npos) continue;
      std::string name(line.substr(0, colon));
      for (char& c : name) c = static_cast<char>(::tolower(c));
      line.remove_prefix(colon + 1);
      while (line.starts_with(' ')) line.remove_prefix(1);
      request.headers[name] = line;
    }
    return request;
  }

  int socket_;
  std::string buffer_;
};

}  // namespace

bool TestExchange::Respond(int status, const Headers& headers, std::string_view body) {
  keeps_alive_ = true;
  std::string response = Head(status, headers);
  response += "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n";
  if (request_.method != "HEAD") response += body;
  return SendAll(socket_, response);
}

bool TestExchange::StartChunks(int status, const Headers& headers) {
  return SendAll(socket_, Head(status, headers) + "Transfer-Encoding: chunked\r\n\r\n");
}

bool TestExchange::SendChunk(std::string_view bytes) {
  CHECK(!bytes.empty());  // an empty chunk is the end
  char size[16];
  const auto end = std::to_chars(size, size + sizeof(size), bytes.size(), 16).ptr;
  std::string chunk(size, end);
  chunk += "\r\n";
  chunk += bytes;
  chunk += "\r\n";
  return SendAll(socket_, chunk);
}

bool TestExchange::EndChunks() {
  keeps_alive_ = true;
  return SendAll(socket_, "0\r\n\r\n");
}

bool TestExchange::SendRaw(std::string_view bytes) {
  keeps_alive_ = false;
  return SendAll(socket_, bytes);
}

void TestExchange::Cut() {
  keeps_alive_ = false;
  ::shutdown(socket_, SHUT_RDWR);
}

void TestExchange::WaitForHangUp() {
  keeps_alive_ = false;
  char byte;
  while (::recv(socket_, &byte, 1, 0) > 0) {
  }
}

TestHttpServer::TestHttpServer(Handler handler)
    : handler_(std::move(handler)), listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  CHECK(listener_.valid());
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = ::htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  auto* const raw = reinterpret_cast<sockaddr*>(&address);
  CHECK(::bind(listener_.get(), raw, length) == 0);
  CHECK(::listen(listener_.get(), 64) == 0);
  CHECK(::getsockname(listener_.get(), raw, &length) == 0);
  port_ = ::ntohs(address.sin_port);
  acceptor_ = std::thread([this] { AcceptLoop(); });
}

TestHttpServer::~TestHttpServer() {
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
    for (const Connection& connection : connections_)
      ::shutdown(connection.socket.get(), SHUT_RDWR);
  }
  ::shutdown(listener_.get(), SHUT_RDWR);
  acceptor_.join();
  // Nobody adds to the list any more.
  for (Connection& connection : connections_) connection.thread.join();
}

std::string TestHttpServer::Url(std::string_view path) const {
  return "http://127.0.0.1:" + std::to_string(port_) + std::string(path);
}

std::vector<TestRequest> TestHttpServer::requests() const {
  const std::scoped_lock lock(mutex_);
  return requests_;
}

void TestHttpServer::AcceptLoop() {
  while (true) {
    sys::UniqueFd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!socket.valid() && errno == EINTR) continue;
    const std::scoped_lock lock(mutex_);
    if (stopping_ || !socket.valid()) return;
    const int on = 1;
    ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    const int number = socket.get();
    connections_.push_back({std::move(socket), std::thread([this, number] { Serve(number); })});
  }
}

void TestHttpServer::Serve(int socket) {
  RequestReader reader(socket);
  while (auto request = reader.Next()) {
    {
      const std::scoped_lock lock(mutex_);
      requests_.push_back(*request);
    }
    TestExchange exchange(socket, std::move(*request));
    handler_(exchange);
    if (!exchange.keeps_alive()) break;
  }
  ::shutdown(socket, SHUT_RDWR);
}

}  // namespace cofferdam::net
