#include "net/http_transfer.h"

namespace cofferdam::net::internal {

void HttpTransfer::SetHead(Head head) {
  const std::scoped_lock lock(mutex_);
  head_ = std::move(head);
  changed_.notify_all();
}

HttpTransfer::Append HttpTransfer::AppendBody(std::string_view bytes) {
  const std::scoped_lock lock(mutex_);
  if (bytes.size() > max_body_bytes_ - received_bytes_) return Append::kTooLarge;
  // A piece that alone is too large is taken when there is nothing else, or it would never be.
  if (!buffer_.empty() && buffer_.size() + bytes.size() > max_buffered_bytes_) {
    full_ = true;
    return Append::kFull;
  }
  received_bytes_ += bytes.size();
  buffer_.append(bytes);
  changed_.notify_all();
  return Append::kTaken;
}

void HttpTransfer::Finish(Status outcome) {
  const std::scoped_lock lock(mutex_);
  if (outcome_) return;
  outcome_ = std::move(outcome);
  changed_.notify_all();
}

template <typename Predicate>
Status HttpTransfer::Wait(std::unique_lock<std::mutex>& lock, Deadline deadline,
                          std::stop_token stop, Predicate ready) {
  if (stop.stop_requested()) return Err(ErrorCode::kCancelled, "the HTTP request was cancelled");
  const bool is_ready = deadline.is_never()
                            ? changed_.wait(lock, stop, ready)
                            : changed_.wait_for(lock, stop, deadline.Remaining(), ready);
  if (is_ready) return {};
  if (stop.stop_requested()) return Err(ErrorCode::kCancelled, "the HTTP request was cancelled");
  return Err(ErrorCode::kTimeout, "the HTTP response did not come in time");
}

Result<HttpTransfer::Head> HttpTransfer::WaitForHead(Deadline deadline, std::stop_token stop) {
  std::unique_lock lock(mutex_);
  RETURN_IF_ERROR(Wait(lock, deadline, stop, [this] { return head_ || outcome_; }));
  if (head_) return std::move(*head_);
  RETURN_IF_ERROR(*outcome_);
  return Err(ErrorCode::kConnection, "the server sent no HTTP response");
}

Result<HttpTransfer::TakeResult> HttpTransfer::Take(Deadline deadline, std::stop_token stop) {
  std::unique_lock lock(mutex_);
  RETURN_IF_ERROR(Wait(lock, deadline, stop, [this] { return !buffer_.empty() || outcome_; }));
  if (buffer_.empty()) RETURN_IF_ERROR(*outcome_);
  return TakeResult{.bytes = std::exchange(buffer_, {}), .resume = std::exchange(full_, false)};
}

}  // namespace cofferdam::net::internal
