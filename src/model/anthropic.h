// Anthropic's Messages API, and whoever else speaks it.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "crypto/secret.h"
#include "model/provider.h"
#include "model/retry.h"
#include "net/http_client.h"

namespace cofferdam::model {

struct AnthropicOptions {
  /// What stands before "/v1/messages"; a slash at its end does not matter.
  std::string base_url = "https://api.anthropic.com";
  /// Sent as x-api-key; not sent when empty. It is in no error and no event.
  crypto::SecretString api_key = {};
  RetryPolicy retry = {};
  std::chrono::milliseconds first_byte_timeout = std::chrono::minutes(10);
  /// Between two pieces of an answer; the service sends pings while it is at work.
  std::chrono::milliseconds idle_timeout = std::chrono::minutes(5);
};

/// Thread-safe. Sends a request again by RetryPolicy's rule, but only while nothing of an answer
/// has been given to the sink. A prompt cache is used: see AnthropicRequestBody.
class AnthropicProvider final : public Provider {
 public:
  /// `client` and `clock` are borrowed and outlive the provider.
  AnthropicProvider(AnthropicOptions options, net::HttpClient& client, const Clock& clock);

  std::string_view name() const override { return "anthropic"; }
  Result<Response> Stream(const Request& request, const EventSink& sink, Deadline deadline,
                          std::stop_token stop) override;

 private:
  // What came of one try that failed.
  struct Failure {
    Error error;
    bool retryable = false;
    std::optional<std::chrono::milliseconds> retry_after = std::nullopt;
  };
  using Attempt = std::expected<Response, Failure>;

  Attempt Try(const std::string& body, const EventSink& sink, Deadline deadline,
              std::stop_token stop);
  Attempt Read(net::HttpResponse& response, const EventSink& sink, Deadline deadline,
               std::stop_token stop);
  Failure Refused(net::HttpResponse& response, Deadline deadline, std::stop_token stop);
  Failure Broken(Error error, Deadline deadline) const;
  // Without the key, and of bounded length.
  Error Presentable(Error error) const;

  const AnthropicOptions options_;
  net::HttpClient& client_;
  const Clock& clock_;
};

}  // namespace cofferdam::model
