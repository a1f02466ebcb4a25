// One HTTP transfer as its two sides see it: the client's thread fills it, the caller's thread
// reads it. Private to net/.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/deadline.h"
#include "base/error.h"
#include "net/http_client.h"

namespace cofferdam::net::internal {

/// A bounded queue of body bytes behind a response head. Thread-safe.
class HttpTransfer {
 public:
  enum class Append {
    kTaken,
    kFull,      // nothing was taken; TakeResult::resume will ask for it again
    kTooLarge,  // the body is longer than the request allows
  };
  struct Head {
    int status = 0;
    std::vector<Header> headers;
  };
  struct TakeResult {
    /// Empty at the end of the body.
    std::string bytes;
    /// The filling side was told kFull, and there is room now.
    bool resume = false;
  };

  HttpTransfer(std::size_t max_buffered_bytes, std::uint64_t max_body_bytes)
      : max_buffered_bytes_(max_buffered_bytes), max_body_bytes_(max_body_bytes) {}

  // The filling side.
  void SetHead(Head head);
  Append AppendBody(std::string_view bytes);
  /// The transfer is over: success, or why not. Later calls change nothing.
  void Finish(Status outcome);

  // The reading side.
  Result<Head> WaitForHead(Deadline deadline, std::stop_token stop);
  Result<TakeResult> Take(Deadline deadline, std::stop_token stop);

 private:
  template <typename Predicate>
  Status Wait(std::unique_lock<std::mutex>& lock, Deadline deadline, std::stop_token stop,
              Predicate ready);

  const std::size_t max_buffered_bytes_;
  const std::uint64_t max_body_bytes_;

  std::mutex mutex_;
  std::condition_variable_any changed_;
  // Below: guarded by mutex_.
  std::optional<Head> head_;
  std::string buffer_;
  std::uint64_t received_bytes_ = 0;
  bool full_ = false;
  std::optional<Status> outcome_;
};

}  // namespace cofferdam::net::internal
