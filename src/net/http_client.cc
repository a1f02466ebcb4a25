#include "net/http_client.h"

#include <curl/curl.h>

#include <algorithm>
#include <utility>

#include "net/http_engine.h"
#include "net/http_transfer.h"

namespace cofferdam::net {
namespace {

constexpr std::string_view kTokenPunctuation = "!#$%&'*+-.^_`|~";

// RFC 9110 section 5.6.2.
bool IsToken(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           kTokenPunctuation.contains(c);
  });
}

Status CheckRequest(const HttpRequest& request) {
  if (!request.url.starts_with("http://") && !request.url.starts_with("https://"))
    return Err(ErrorCode::kInvalidArgument, "the URL begins with neither http:// nor https://");
  if (!IsToken(request.method))
    return Err(ErrorCode::kInvalidArgument, "the HTTP method is not a word");
  for (const Header& header : request.headers) {
    if (!IsToken(header.name))
      return Err(ErrorCode::kInvalidArgument, "a header's name is not a word");
    // The value may be a secret and is not repeated.
    if (header.value.find_first_of(std::string_view("\r\n\0", 3)) != std::string::npos)
      return Err(ErrorCode::kInvalidArgument,
                 "the value of header " + header.name + " has a line break or NUL");
  }
  return {};
}

}  // namespace

HttpResponse::HttpResponse(std::shared_ptr<internal::HttpEngine> engine,
                           std::shared_ptr<internal::HttpTransfer> transfer)
    : engine_(std::move(engine)), transfer_(std::move(transfer)) {}

HttpResponse::HttpResponse(HttpResponse&&) noexcept = default;

HttpResponse& HttpResponse::operator=(HttpResponse&& other) noexcept {
  if (this == &other) return *this;
  if (transfer_) engine_->Cancel(std::move(transfer_));
  engine_ = std::move(other.engine_);
  transfer_ = std::move(other.transfer_);
  status_ = other.status_;
  headers_ = std::move(other.headers_);
  return *this;
}

HttpResponse::~HttpResponse() {
  if (transfer_) engine_->Cancel(std::move(transfer_));
}

std::optional<std::string_view> HttpResponse::FindHeader(std::string_view name) const {
  const auto found = std::ranges::find(headers_, name, &Header::name);
  if (found == headers_.end()) return std::nullopt;
  return found->value;
}

Result<std::string> HttpResponse::Read(Deadline deadline, std::stop_token stop) {
  ASSIGN_OR_RETURN(internal::HttpTransfer::TakeResult taken,
                   transfer_->Take(deadline, std::move(stop)));
  if (taken.resume) engine_->Resume(transfer_);
  return std::move(taken.bytes);
}

Result<std::string> HttpResponse::ReadAll(std::size_t max_bytes, Deadline deadline,
                                          std::stop_token stop) {
  std::string body;
  while (true) {
    ASSIGN_OR_RETURN(const std::string bytes, Read(deadline, stop));
    if (bytes.empty()) return body;
    if (bytes.size() > max_bytes - body.size())
      return Err(ErrorCode::kTooLarge,
                 "the HTTP response has more than " + std::to_string(max_bytes) + " bytes");
    body += bytes;
  }
}

Result<std::unique_ptr<HttpClient>> HttpClient::Create(HttpClientOptions options) {
  ASSIGN_OR_RETURN(auto engine, internal::HttpEngine::Create(std::move(options)));
  return std::unique_ptr<HttpClient>(new HttpClient(std::move(engine)));
}

HttpClient::HttpClient(std::shared_ptr<internal::HttpEngine> engine) : engine_(std::move(engine)) {}

HttpClient::~HttpClient() { engine_->Stop(); }

Result<HttpResponse> HttpClient::Send(HttpRequest request, Deadline deadline,
                                      std::stop_token stop) {
  RETURN_IF_ERROR(CheckRequest(request));
  ASSIGN_OR_RETURN(auto transfer, engine_->Start(std::move(request)));
  // Made before the wait, so that an early return cancels the transfer.
  HttpResponse response(engine_, std::move(transfer));
  ASSIGN_OR_RETURN(internal::HttpTransfer::Head head,
                   response.transfer_->WaitForHead(deadline, std::move(stop)));
  response.status_ = head.status;
  response.headers_ = std::move(head.headers);
  return response;
}

std::optional<std::int64_t> ParseHttpDate(std::string_view text) {
  // curl_getdate also takes other forms, all of them dates.
  const std::time_t seconds = curl_getdate(std::string(text).c_str(), nullptr);
  if (seconds < 0) return std::nullopt;
  return static_cast<std::int64_t>(seconds);
}

}  // namespace cofferdam::net
