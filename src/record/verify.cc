#include "record/verify.h"

#include <fcntl.h>

#include <optional>
#include <utility>

#include "record/events.h"
#include "sys/file.h"

namespace cofferdam::record {
namespace {

std::unexpected<Error> Wrong(std::string_view what) {
  return Err(ErrorCode::kCorrupt, std::string(what));
}

std::unexpected<Error> Wrong(const Error& error) { return Wrong(error.message); }

Status AcceptHeader(std::string_view line, ChainSummary& chain) {
  auto header = ParseHeaderLine(line);
  if (!header) return Wrong(header.error());
  chain.header = std::move(*header);
  chain.head = HeaderHash(line);
  return {};
}

Status AcceptEvent(std::string_view line, ChainSummary& chain) {
  const auto event = ParseEventLine(line);
  if (!event) return Wrong(event.error());
  if (chain.complete) return Wrong("an event after the end of the run");
  if (event->seq != chain.events)
    return Wrong("event " + std::to_string(event->seq) + " where event " +
                 std::to_string(chain.events) + " should be");
  if (event->prev != chain.head) return Wrong("not bound to the line before");
  const auto hash = EventHash(*event);
  if (!hash) return Wrong(hash.error());
  if (event->hash != *hash) return Wrong("the hash does not match the event");
  chain.head = event->hash;
  chain.complete = event->type == kRunEnded;
  ++chain.events;
  return {};
}

}  // namespace

Result<ChainSummary> VerifyChain(storage::ByteSource source, TornTail torn_tail) {
  storage::LineReader reader(std::move(source), kMaxLineBytes);
  ChainSummary chain;
  bool has_header = false;
  for (;;) {
    auto next = reader.Next();
    if (!next && next.error().code == ErrorCode::kTooLarge) return Wrong(next.error());
    ASSIGN_OR_RETURN(const std::optional<storage::Line> line, std::move(next));
    if (!line || (!line->complete && torn_tail == TornTail::kIgnore)) break;
    const std::string number = "line " + std::to_string(line->number);
    if (!line->complete) return Wrong(number + ": cut off");
    const Status accepted = std::exchange(has_header, true) ? AcceptEvent(line->text, chain)
                                                            : AcceptHeader(line->text, chain);
    if (!accepted) return std::unexpected(accepted.error().With(number));
  }
  if (!has_header && torn_tail == TornTail::kIgnore)
    return Err(ErrorCode::kNotFound, "the record has no header yet");
  if (!has_header) return Wrong("line 1: no header");
  return chain;
}

Result<ChainSummary> VerifyChain(const std::string& path) {
  ASSIGN_OR_RETURN(const sys::UniqueFd fd, sys::Open(path, O_RDONLY));
  return VerifyChain(storage::FileSource(fd.get()), TornTail::kRefuse);
}

}  // namespace cofferdam::record
