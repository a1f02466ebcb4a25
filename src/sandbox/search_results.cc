#include "sandbox/search_results.h"

#include <utility>

namespace cofferdam::sandbox {
namespace {

constexpr std::size_t kMaxBytes = 8 << 20;
// A record of a few bytes takes a hundred here.
constexpr std::size_t kMaxRecords = 200'000;

}  // namespace

Status SearchResults::Feed(std::string_view bytes) {
  total_bytes_ += bytes.size();
  if (total_bytes_ > kMaxBytes)
    return Err(ErrorCode::kTooLarge, "the search found too much for one answer", "search for less");
  RETURN_IF_ERROR(frames_.Feed(bytes));
  while (const auto frame = frames_.Next()) {
    protocol::v1::SearchRecord record;
    if (!record.ParseFromString(*frame))
      return Err(ErrorCode::kProtocol, "a search result does not parse");
    if (records_.size() >= kMaxRecords)
      return Err(ErrorCode::kTooLarge, "the search found too much for one answer",
                 "search for less");
    if (record.truncated())
      truncated_ = true;
    else
      records_.push_back(std::move(record));
  }
  return {};
}

}  // namespace cofferdam::sandbox
