// The wire format of Anthropic's Messages API, without the wire: a request as JSON, a stream of
// server-sent events as an answer, an error as one of ours. Format: spec/open-formats 2.5, after
// anthropic-sdk-python and platform.claude.com/docs (version 2023-06-01).
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "base/error.h"
#include "json/json.h"
#include "model/message.h"
#include "model/provider.h"
#include "net/sse.h"

namespace cofferdam::model {

/// The body of POST /v1/messages with "stream": true. What this API would refuse is left out: blank
/// text, empty messages, another provider's thinking. Tool results stand before other blocks of
/// their message, and ids have only characters that it takes. Cache breakpoints are set behind the
/// system prompt (which has the tools before it) and behind the last message.
json::Json AnthropicRequestBody(const Request& request);

/// An error answer, as our error. `status` is 0 for an error event in a stream; `body` is the JSON
/// document, or anything else that stood in its place. The message repeats the server's words
/// whole; the caller cuts them to size after it has taken secrets out.
Error AnthropicError(int status, std::string_view body);

/// Puts one answer together. Pure: feed it the events of a stream, then take the response. Belongs
/// to one thread.
class AnthropicDecoder {
 public:
  /// All text of an answer; more is kTooLarge.
  static constexpr std::size_t kMaxAnswerBytes = 8 << 20;
  static constexpr std::size_t kMaxBlocks = 4096;

  /// Takes one event and tells `sink` what is new. Unknown events, blocks and deltas are ignored,
  /// as the format demands. An "error" event gives its error, a stream against the format
  /// kProtocol; the decoder is then useless.
  Status Take(const net::SseEvent& event, const EventSink& sink);

  /// message_stop has come; whatever follows is ignored.
  bool done() const { return done_; }

  /// The answer. Without message_stop it is kConnection: the stream ended early. Called once, last.
  Result<Response> Finish();

 private:
  struct Ignored {};
  struct Block {
    std::variant<Ignored, Text, Thinking, ToolCall> content;
    std::string partial_json = {};  // of a tool call's arguments
    bool open = true;
  };

  Status Dispatch(const json::Json& event, const EventSink& sink);
  Status StartMessage(const json::Json& event, const EventSink& sink);
  Status StartBlock(const json::Json& event, const EventSink& sink);
  Status AddDelta(const json::Json& event, const EventSink& sink);
  Status StopBlock(const json::Json& event, const EventSink& sink);
  Status ChangeMessage(const json::Json& event, const EventSink& sink);
  Status StopMessage();
  Result<Block*> OpenBlock(const json::Json& event);
  Status TakeUsage(const json::Json& holder, const EventSink& sink);
  Status Count(std::size_t bytes);

  bool started_ = false;
  bool done_ = false;
  std::map<std::int64_t, Block> blocks_;
  std::size_t answer_bytes_ = 0;
  std::optional<std::string> stop_reason_;
  Response response_;
};

}  // namespace cofferdam::model
