// A stream of Anthropic's format, as bytes off the wire. What was streamed adds up to the answer;
// an answer can be kept in a transcript and sent back.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "json/json.h"
#include "model/anthropic_wire.h"
#include "model/message.h"
#include "net/sse.h"

namespace {

using namespace cofferdam;

struct Streamed {
  std::size_t text_bytes = 0;
  std::size_t thinking_bytes = 0;
  std::size_t started = 0;
  std::vector<model::ToolCall> calls;
};

void Count(const model::StreamEvent& event, Streamed& streamed) {
  if (const auto* text = std::get_if<model::TextDelta>(&event))
    streamed.text_bytes += text->text.size();
  if (const auto* thinking = std::get_if<model::ThinkingDelta>(&event))
    streamed.thinking_bytes += thinking->text.size();
  if (std::holds_alternative<model::ToolCallStarted>(event)) ++streamed.started;
  if (const auto* call = std::get_if<model::ToolCallCompleted>(&event))
    streamed.calls.push_back(call->call);
}

void CheckResponse(const model::Response& response, const Streamed& streamed) {
  std::size_t text_bytes = 0;
  std::size_t thinking_bytes = 0;
  for (const model::ContentBlock& block : response.message.content) {
    if (const auto* text = std::get_if<model::Text>(&block)) text_bytes += text->text.size();
    if (const auto* thinking = std::get_if<model::Thinking>(&block))
      thinking_bytes += thinking->text.size();
  }
  CHECK(text_bytes == streamed.text_bytes);
  CHECK(thinking_bytes == streamed.thinking_bytes);
  CHECK(model::ToolCallsOf(response.message).size() == streamed.calls.size());
  CHECK(streamed.started == streamed.calls.size());
  const auto transcript = json::Parse(json::Dump(model::ToJson(response.message)));
  CHECK(transcript && model::MessageFromJson(*transcript) == response.message);
  CHECK(model::UsageFromJson(model::ToJson(response.usage)) == response.usage);
  CHECK(json::Parse(json::Dump(model::AnthropicRequestBody({.messages = {response.message}}))));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  static_cast<void>(model::AnthropicError(0, bytes));
  net::SseDecoder sse;
  std::vector<net::SseEvent> events;
  static_cast<void>(sse.Feed(bytes, events));
  model::AnthropicDecoder decoder;
  Streamed streamed;
  const model::EventSink sink = [&streamed](const model::StreamEvent& event) {
    Count(event, streamed);
  };
  for (const net::SseEvent& event : events)
    if (!decoder.Take(event, sink)) return 0;
  const auto response = decoder.Finish();
  if (response) CheckResponse(*response, streamed);
  return 0;
}
