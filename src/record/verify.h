// Checking a record that may have been tampered with, cut or damaged.
#pragma once

#include <cstdint>
#include <string>

#include "base/error.h"
#include "record/chain.h"
#include "storage/line_reader.h"

namespace cofferdam::record {

/// What a chain that holds together says about itself.
struct ChainSummary {
  RunHeader header;
  std::uint64_t events = 0;
  /// The hash of the last event; of the header when there is none. Whoever knows it from elsewhere
  /// (a receipt) knows that no event was removed from the end, which the chain alone cannot show.
  std::string head;
  /// Whether the last event is run.ended.
  bool complete = false;
};

/// Whether bytes after the last '\n' are an error or, as after a crash, count as never written.
enum class TornTail { kRefuse, kIgnore };

/// Reads the whole record, line by line and with bounded memory, and checks that every byte is what
/// its writer wrote: canonical lines, sequence numbers without gaps, each event bound to the one
/// before, every hash right, nothing after run.ended. ErrorCode::kCorrupt, with the number of the
/// line and what is wrong with it, when not; the source's own error when it cannot be read. With
/// TornTail::kIgnore a record without a whole line is ErrorCode::kNotFound: its writer died before
/// it had begun.
Result<ChainSummary> VerifyChain(storage::ByteSource source, TornTail torn_tail);

/// The same for the file at `path`, with TornTail::kRefuse.
Result<ChainSummary> VerifyChain(const std::string& path);

}  // namespace cofferdam::record
