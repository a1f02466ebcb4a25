#include "model/anthropic.h"

#include <utility>
#include <vector>

#include "base/utf8.h"
#include "json/json.h"
#include "model/anthropic_wire.h"
#include "net/sse.h"

namespace cofferdam::model {
namespace {

using std::chrono::milliseconds;

constexpr std::string_view kVersion = "2023-06-01";
constexpr std::size_t kMaxErrorTextBytes = 1000;
constexpr std::size_t kMaxErrorBodyBytes = 256 << 10;
constexpr std::uint64_t kMaxStreamBytes = 256 << 20;
constexpr milliseconds kTotalTimeout = std::chrono::hours(24);  // the caller's deadline decides

void ReplaceAll(std::string& text, std::string_view from, std::string_view to) {
  for (std::size_t at = text.find(from); at != std::string::npos;
       at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
}

std::string Seconds(milliseconds duration) {
  return std::to_string(std::chrono::ceil<std::chrono::seconds>(duration).count()) + " s";
}

}  // namespace

AnthropicProvider::AnthropicProvider(AnthropicOptions options, net::HttpClient& client,
                                     const Clock& clock)
    : options_(std::move(options)), client_(client), clock_(clock) {}

Result<Response> AnthropicProvider::Stream(const Request& request, const EventSink& sink,
                                           Deadline deadline, std::stop_token stop) {
  const json::Json document = AnthropicRequestBody(request);
  if (document["messages"].empty())
    return Err(ErrorCode::kModelInvalidRequest, "the conversation holds nothing to answer");
  const std::string body = json::Dump(document);
  bool delivered = false;
  const EventSink watched_sink = [&delivered, &sink](const StreamEvent& event) {
    delivered = true;
    sink(event);
  };
  for (int retry = 0;; ++retry) {
    Attempt attempt = Try(body, watched_sink, deadline, stop);
    if (attempt) return std::move(*attempt);
    const Failure& failure = attempt.error();
    const bool too_long = failure.retry_after > options_.retry.max_retry_after;
    if (delivered || !failure.retryable || too_long || retry >= options_.retry.max_retries)
      return std::unexpected(Presentable(failure.error));
    const Status waited =
        options_.retry.wait(RetryDelay(options_.retry, retry, failure.retry_after), deadline, stop);
    if (waited) continue;
    // With too little time for another try, the last one's error says more than "timeout".
    const bool cancelled = waited.error().code == ErrorCode::kCancelled;
    return std::unexpected(cancelled ? waited.error() : Presentable(failure.error));
  }
}

AnthropicProvider::Attempt AnthropicProvider::Try(const std::string& body, const EventSink& sink,
                                                  Deadline deadline, std::stop_token stop) {
  std::string url = options_.base_url;
  while (url.ends_with('/')) url.pop_back();
  net::HttpRequest request{.method = "POST",
                           .url = url + "/v1/messages",
                           .headers = {{"content-type", "application/json"},
                                       {"accept", "text/event-stream"},
                                       {"anthropic-version", std::string(kVersion)}},
                           .body = body,
                           .first_byte_timeout = options_.first_byte_timeout,
                           .idle_timeout = options_.idle_timeout,
                           .total_timeout = kTotalTimeout,
                           .max_body_bytes = kMaxStreamBytes};
  if (!options_.api_key.empty())
    request.headers.push_back({"x-api-key", std::string(options_.api_key.Reveal())});
  auto response = client_.Send(std::move(request), deadline, stop);
  if (!response) return std::unexpected(Broken(std::move(response).error(), deadline));
  if (response->status() != 200) return std::unexpected(Refused(*response, deadline, stop));
  return Read(*response, sink, deadline, stop);
}

AnthropicProvider::Attempt AnthropicProvider::Read(net::HttpResponse& response,
                                                   const EventSink& sink, Deadline deadline,
                                                   std::stop_token stop) {
  if (!response.FindHeader("content-type").value_or("").starts_with("text/event-stream"))
    return std::unexpected(
        Failure{{ErrorCode::kProtocol, "the model provider's answer is not an event stream",
                 "check the base URL of this provider"}});
  net::SseDecoder sse;
  AnthropicDecoder decoder;
  std::vector<net::SseEvent> events;
  while (!decoder.done()) {
    auto bytes = response.Read(deadline, stop);
    if (!bytes) return std::unexpected(Broken(std::move(bytes).error(), deadline));
    if (bytes->empty()) break;
    events.clear();
    const Status fed = sse.Feed(*bytes, events);
    for (const net::SseEvent& event : events)
      if (Status taken = decoder.Take(event, sink); !taken)
        return std::unexpected(Broken(std::move(taken).error(), deadline));
    if (!fed) return std::unexpected(Failure{fed.error()});
  }
  auto answer = decoder.Finish();
  if (!answer) return std::unexpected(Broken(std::move(answer).error(), deadline));
  return std::move(*answer);
}

AnthropicProvider::Failure AnthropicProvider::Refused(net::HttpResponse& response,
                                                      Deadline deadline, std::stop_token stop) {
  auto body = response.ReadAll(kMaxErrorBodyBytes, deadline, stop);
  if (!body && (stop.stop_requested() || deadline.Expired())) return {std::move(body).error()};
  // A body that does not come takes nothing from what the status says.
  Failure failure{AnthropicError(response.status(), body.value_or(""))};
  failure.retry_after = RetryAfter(response.headers(), clock_.UnixMillis());
  if (failure.retry_after && failure.error.hint.empty())
    failure.error.hint = "retry after " + Seconds(*failure.retry_after);
  // A spend limit can come as a 429; no patience helps.
  failure.retryable = failure.error.code != ErrorCode::kModelBilling &&
                      IsRetryable(response.status(), response.headers());
  return failure;
}

AnthropicProvider::Failure AnthropicProvider::Broken(Error error, Deadline deadline) const {
  Failure failure{std::move(error)};
  switch (failure.error.code) {
    case ErrorCode::kConnection:
    case ErrorCode::kModelOverloaded:
    case ErrorCode::kModelServer:
      failure.retryable = true;
      break;
    case ErrorCode::kTimeout:
      failure.retryable = !deadline.Expired();  // it was one of the request's own
      break;
    default:
      break;
  }
  return failure;
}

Error AnthropicProvider::Presentable(Error error) const {
  // A server may repeat the key that it refuses. Cut afterwards, so that no half of it stays.
  if (!options_.api_key.empty()) ReplaceAll(error.message, options_.api_key.Reveal(), "[key]");
  error.message = Utf8Prefix(ToValidUtf8(error.message), kMaxErrorTextBytes);
  return error;
}

}  // namespace cofferdam::model
