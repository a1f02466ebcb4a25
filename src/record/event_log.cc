#include "record/event_log.h"

#include <fcntl.h>

#include <algorithm>
#include <utility>

#include "record/verify.h"
#include "sys/file.h"

namespace cofferdam::record {
namespace {

Status CheckNewEvent(const NewEvent& event) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_';
  };
  if (event.type.empty() || event.type.size() > 64 || !std::ranges::all_of(event.type, allowed))
    return Err(ErrorCode::kInvalidArgument, "not a type of an event");
  if (!event.data.is_object())
    return Err(ErrorCode::kInvalidArgument, "the data of an event is not an object");
  return {};
}

// The event that follows `head`, which is moved on to it.
Result<Event> Chain(NewEvent fresh, std::string time, EventLog::Head& head) {
  RETURN_IF_ERROR(CheckNewEvent(fresh));
  if (head.complete) return Err(ErrorCode::kInvalidArgument, "an event after the end of the run");
  RETURN_IF_ERROR(MakePortable(fresh.data));
  Event event{.seq = head.events,
              .time = std::move(time),
              .type = std::move(fresh.type),
              .data = std::move(fresh.data),
              .prev = head.hash,
              .hash = ""};
  ASSIGN_OR_RETURN(event.hash, EventHash(event));
  head = {.events = event.seq + 1, .hash = event.hash, .complete = event.type == kRunEnded};
  return event;
}

}  // namespace

EventLog::EventLog(storage::AppendLog log, RunHeader header, Head head, const Clock& clock)
    : header_(std::move(header)),
      torn_bytes_(log.torn_bytes()),
      clock_(clock),
      log_(std::move(log)),
      head_(std::move(head)) {}

Result<std::unique_ptr<EventLog>> EventLog::Create(int directory, const std::string& name,
                                                   const RunHeader& header, const Clock& clock) {
  ASSIGN_OR_RETURN(std::string line, HeaderLine(header));
  ASSIGN_OR_RETURN(storage::AppendLog log, storage::AppendLog::Open(directory, name));
  if (log.size() > 0) return Err(ErrorCode::kAlreadyExists, "'" + name + "' is a record already");
  Head head{.events = 0, .hash = HeaderHash(line), .complete = false};
  RETURN_IF_ERROR(log.AppendLines({std::move(line)}));
  return std::unique_ptr<EventLog>(new EventLog(std::move(log), header, std::move(head), clock));
}

Result<std::unique_ptr<EventLog>> EventLog::Resume(int directory, const std::string& name,
                                                   const Clock& clock) {
  ASSIGN_OR_RETURN(const sys::UniqueFd fd, sys::OpenAt(directory, name, O_RDONLY | O_NOFOLLOW));
  ASSIGN_OR_RETURN(ChainSummary chain,
                   VerifyChain(storage::FileSource(fd.get()), TornTail::kIgnore));
  ASSIGN_OR_RETURN(storage::AppendLog log, storage::AppendLog::Open(directory, name));
  Head head{.events = chain.events, .hash = std::move(chain.head), .complete = chain.complete};
  return std::unique_ptr<EventLog>(
      new EventLog(std::move(log), std::move(chain.header), std::move(head), clock));
}

Result<Event> EventLog::Append(NewEvent event) {
  std::vector<NewEvent> group;
  group.push_back(std::move(event));
  ASSIGN_OR_RETURN(std::vector<Event> events, AppendGroup(std::move(group)));
  return std::move(events.front());
}

Result<std::vector<Event>> EventLog::AppendGroup(std::vector<NewEvent> events) {
  const std::lock_guard lock(mutex_);
  const std::string time = FormatUtc(clock_.UnixMillis());
  Head head = head_;
  std::vector<Event> chained;
  std::vector<std::string> lines;
  for (NewEvent& fresh : events) {
    ASSIGN_OR_RETURN(Event event, Chain(std::move(fresh), time, head));
    ASSIGN_OR_RETURN(std::string line, EventLine(event));
    if (line.size() > kMaxLineBytes)
      return Err(ErrorCode::kTooLarge,
                 "an event beyond " + std::to_string(kMaxLineBytes) + " bytes");
    lines.push_back(std::move(line));
    chained.push_back(std::move(event));
  }
  RETURN_IF_ERROR(log_.AppendLines(lines));
  head_ = std::move(head);
  for (const Event& event : chained)
    for (const auto& [number, observer] : observers_) observer(event);
  return chained;
}

EventLog::Head EventLog::head() const {
  const std::lock_guard lock(mutex_);
  return head_;
}

std::uint64_t EventLog::AddObserver(Observer observer) {
  const std::lock_guard lock(mutex_);
  observers_.emplace(++last_observer_, std::move(observer));
  return last_observer_;
}

void EventLog::RemoveObserver(std::uint64_t number) {
  const std::lock_guard lock(mutex_);
  observers_.erase(number);
}

}  // namespace cofferdam::record
