// What a worker's grep or find answers: a stream of framed records, chosen by the worker.
#pragma once

#include <string_view>
#include <vector>

#include "base/error.h"
#include "protocol/control.pb.h"
#include "protocol/framing.h"

namespace cofferdam::sandbox {

/// Takes the stream apart; bounded in bytes and records.
class SearchResults {
 public:
  /// kTooLarge above the bounds, kProtocol for what is no record. Of no use after an error.
  Status Feed(std::string_view bytes);

  const std::vector<protocol::v1::SearchRecord>& records() const { return records_; }
  /// There was more than was asked for.
  bool truncated() const { return truncated_; }

 private:
  static constexpr std::size_t kMaxRecordBytes = 64 * 1024;
  protocol::FrameDecoder frames_{kMaxRecordBytes};
  std::vector<protocol::v1::SearchRecord> records_;
  std::size_t total_bytes_ = 0;
  bool truncated_ = false;
};

}  // namespace cofferdam::sandbox
