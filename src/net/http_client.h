// HTTP requests to the outside: model providers, MCP servers, web hooks. One thread owns all
// connections; callers block on their own response only.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/deadline.h"
#include "base/error.h"

namespace cofferdam::net {

struct Header {
  std::string name;
  std::string value;
};

/// One request. The object with its secrets is gone when the transfer is.
struct HttpRequest {
  std::string method = "GET";
  /// http:// or https://, without a user name.
  std::string url = {};
  std::vector<Header> headers = {};
  std::string body = {};

  /// Until a connection stands, TLS included.
  std::chrono::milliseconds connect_timeout{10'000};
  /// From the start of the request to the first byte of the response.
  std::chrono::milliseconds first_byte_timeout{60'000};
  /// Between two pieces of the body, not counting the time in which the reader left it waiting.
  std::chrono::milliseconds idle_timeout{60'000};
  /// For all of it.
  std::chrono::milliseconds total_timeout{600'000};
  /// A longer body is kTooLarge, after the bytes before it.
  std::uint64_t max_body_bytes = 64 << 20;
};

struct HttpClientOptions {
  /// What one response holds unread before its connection is told to wait.
  std::size_t max_buffered_bytes = 256 << 10;
  /// Requests in flight; one more is kBusy.
  std::size_t max_transfers = 1024;
  /// An HTTP proxy URL; empty for none. Proxy variables of the environment are not looked at.
  std::string proxy = {};
  /// A PEM file of the authorities to trust; empty for the system's.
  std::string ca_file = {};
};

namespace internal {
class HttpEngine;
class HttpTransfer;
}  // namespace internal

/// The answer to one request: its head, and its body as it comes. Destroying it before the end
/// cancels the transfer. Belongs to one thread; may outlive the client, which ends it.
class HttpResponse {
 public:
  HttpResponse(HttpResponse&&) noexcept;
  HttpResponse& operator=(HttpResponse&&) noexcept;
  ~HttpResponse();

  int status() const { return status_; }
  /// In the order received, names in lower case.
  const std::vector<Header>& headers() const { return headers_; }
  /// The first header of that (lower-case) name.
  std::optional<std::string_view> FindHeader(std::string_view name) const;

  /// Waits for more of the body and returns what there is; an empty string is its end. An error is
  /// final, but for kTimeout of `deadline` and kCancelled of `stop`, after which the transfer goes
  /// on and may be read again. A body that ends before its Content-Length or last chunk is
  /// kConnection.
  Result<std::string> Read(Deadline deadline, std::stop_token stop);

  /// All that is left of the body; more than `max_bytes` is kTooLarge.
  Result<std::string> ReadAll(std::size_t max_bytes, Deadline deadline, std::stop_token stop);

 private:
  friend class HttpClient;
  HttpResponse(std::shared_ptr<internal::HttpEngine> engine,
               std::shared_ptr<internal::HttpTransfer> transfer);

  std::shared_ptr<internal::HttpEngine> engine_;
  std::shared_ptr<internal::HttpTransfer> transfer_;
  int status_ = 0;
  std::vector<Header> headers_;
};

/// Thread-safe. Redirects are not followed, cookies and .netrc not used, server certificates always
/// checked.
///
///   ASSIGN_OR_RETURN(auto client, HttpClient::Create({}));
///   ASSIGN_OR_RETURN(auto response, client->Send({.url = url}, deadline, stop));
///   ASSIGN_OR_RETURN(std::string body, response.ReadAll(1 << 20, deadline, stop));
class HttpClient {
 public:
  static Result<std::unique_ptr<HttpClient>> Create(HttpClientOptions options);
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;
  /// Ends every transfer with kCancelled and waits for the thread.
  ~HttpClient();

  /// Sends the request and waits for the head of the response. Any status is a success here.
  ///   kInvalidArgument  URL, method or headers are not ones we send
  ///   kBusy             too many requests in flight
  ///   kTimeout          `deadline` or one of the request's timeouts
  ///   kCancelled        `stop`, or the client's end
  ///   kConnection       no name, no connection, no valid certificate, or cut
  ///   kTooLarge         more than 256 headers or 256 KiB of them
  Result<HttpResponse> Send(HttpRequest request, Deadline deadline, std::stop_token stop);

 private:
  explicit HttpClient(std::shared_ptr<internal::HttpEngine> engine);

  std::shared_ptr<internal::HttpEngine> engine_;
};

/// A date as in a Retry-After header, in seconds since 1970-01-01T00:00:00Z (RFC 9110
/// section 5.6.7).
std::optional<std::int64_t> ParseHttpDate(std::string_view text);

}  // namespace cofferdam::net
