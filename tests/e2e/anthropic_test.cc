// The real program against a server that speaks the Anthropic wire format on loopback: whole
// conversations with tools, odd cuts, and every way in which a model can fail.
#include <atomic>
#include <fstream>

#include <gmock/gmock.h>

#include "json/json.h"
#include "net/testing/test_http_server.h"
#include "program.h"
#include "sys/testing/temp_dir.h"

namespace cofferdam::e2e {
namespace {

using json::Json;
using net::TestExchange;
using net::TestHttpServer;
using testing::HasSubstr;

std::string Event(const Json& data) {
  return "event: " + data.at("type").get<std::string>() + "\ndata: " + data.dump() + "\n\n";
}

std::string Start() {
  return Event({{"type", "message_start"},
                {"message",
                 {{"id", "msg_1"},
                  {"type", "message"},
                  {"role", "assistant"},
                  {"model", "claude-test"},
                  {"content", Json::array()},
                  {"usage", {{"input_tokens", 10}, {"output_tokens", 1}}}}}});
}

std::string Block(int index, const Json& block, const std::vector<Json>& deltas) {
  std::string text =
      Event({{"type", "content_block_start"}, {"index", index}, {"content_block", block}});
  for (const Json& delta : deltas)
    text += Event({{"type", "content_block_delta"}, {"index", index}, {"delta", delta}});
  return text + Event({{"type", "content_block_stop"}, {"index", index}});
}

std::string TextBlock(int index, const std::vector<std::string>& pieces) {
  std::vector<Json> deltas;
  for (const std::string& piece : pieces)
    deltas.push_back({{"type", "text_delta"}, {"text", piece}});
  return Block(index, {{"type", "text"}, {"text", ""}}, deltas);
}

std::string Stop(const char* reason) {
  return Event({{"type", "message_delta"},
                {"delta", {{"stop_reason", reason}, {"stop_sequence", nullptr}}},
                {"usage", {{"output_tokens", 20}}}}) +
         Event({{"type", "message_stop"}});
}

/// Sends an event stream in pieces of `piece` bytes, whatever they cut.
void Stream(TestExchange& exchange, const std::string& events, std::size_t piece) {
  exchange.StartChunks(200, {{"content-type", "text/event-stream"}});
  for (std::size_t at = 0; at < events.size(); at += piece)
    if (!exchange.SendChunk(std::string_view(events).substr(at, piece))) return;
  exchange.EndChunks();
}

class AnthropicTest : public testing::Test {
 protected:
  ProgramResult Run(const TestHttpServer& server, const std::string& message = "go") {
    return RunCofferdam(
        {.arguments = {"run", "-m", message, "--json", "--session", "s", "--provider", "anthropic",
                       "--model", "claude-test", "--base-url", server.Url()},
         .environment = {{"HOME", temp_.path()},
                         {"COFFERDAM_STATE_DIR", temp_ / "state"},
                         {"ANTHROPIC_API_KEY", "sk-test"}}});
  }

  static Json Result(const ProgramResult& run) {
    const std::size_t end = run.out.find_last_not_of('\n');
    return *json::Parse(run.out.substr(run.out.rfind('\n', end) + 1));
  }

  /// The code of the error with which a run against this handler ends.
  std::string ErrorOf(const TestHttpServer::Handler& handler) {
    const TestHttpServer server(handler);
    const ProgramResult run = Run(server);
    EXPECT_EQ(run.exit_code, 1);
    return Result(run).at("error").at("code");
  }

  sys::TempDir temp_;
};

TEST_F(AnthropicTest, AConversationWithToolsWhateverTheCuts) {
  for (const std::size_t piece : {1, 7, 100000}) {
    std::atomic<int> calls = 0;
    const TestHttpServer server([&calls, piece](TestExchange& exchange) {
      if (calls++ == 0)
        Stream(exchange,
               Start() + TextBlock(0, {"Ich sc", "hreibe: \xC3\xA9."}) + Event({{"type", "ping"}}) +
                   Block(1,
                         {{"type", "tool_use"},
                          {"id", "toolu_1"},
                          {"name", "bash"},
                          {"input", Json::object()}},
                         {{{"type", "input_json_delta"}, {"partial_json", "{\"comm"}},
                          {{"type", "input_json_delta"},
                           {"partial_json", "and\":\"echo from $HOME\"}"}}}) +
                   Stop("tool_use"),
               piece);
      else
        Stream(exchange, Start() + TextBlock(0, {"Fertig."}) + Stop("end_turn"), piece);
    });
    const ProgramResult run = Run(server);
    ASSERT_EQ(run.exit_code, 0) << run.out << run.err;
    EXPECT_EQ(Result(run).at("text"), "Fertig.");
    EXPECT_EQ(Result(run).at("usage").at("input_tokens"), 20);
    EXPECT_THAT(run.out, HasSubstr("\xC3\xA9"));
    const auto requests = server.requests();
    ASSERT_EQ(requests.size(), 2U);
    EXPECT_EQ(requests[0].headers.at("x-api-key"), "sk-test");
    const Json messages = json::Parse(requests[1].body)->at("messages");
    const Json result = messages.back().at("content").at(0);
    EXPECT_EQ(result.at("type"), "tool_result");
    EXPECT_EQ(result.at("tool_use_id"), "toolu_1");
    EXPECT_THAT(result.dump(), HasSubstr("from /home/agent"));
  }
}

TEST_F(AnthropicTest, AConnectionThatIsCutIsAnErrorAndNotAShortAnswer) {
  const std::string code = ErrorOf([](TestExchange& exchange) {
    exchange.StartChunks(200, {{"content-type", "text/event-stream"}});
    exchange.SendChunk(Start() + Event({{"type", "content_block_start"},
                                        {"index", 0},
                                        {"content_block", {{"type", "text"}, {"text", ""}}}}));
    exchange.SendChunk(Event({{"type", "content_block_delta"},
                              {"index", 0},
                              {"delta", {{"type", "text_delta"}, {"text", "half an ans"}}}}));
    exchange.Cut();
  });
  EXPECT_EQ(code, "connection_failed");
}

TEST_F(AnthropicTest, AnErrorInTheMiddleOfTheStreamIsTheRunsError) {
  EXPECT_EQ(ErrorOf([](TestExchange& exchange) {
              Stream(
                  exchange,
                  Start() + TextBlock(0, {"I begin"}) +
                      Event({{"type", "error"},
                             {"error", {{"type", "overloaded_error"}, {"message", "Overloaded"}}}}),
                  64);
            }),
            "model_overloaded");
}

TEST_F(AnthropicTest, ARefusedKeyIsSaidAtOnce) {
  std::atomic<int> calls = 0;
  EXPECT_EQ(ErrorOf([&calls](TestExchange& exchange) {
              ++calls;
              exchange.Respond(401, {{"content-type", "application/json"}},
                               R"({"type":"error","error":{"type":"authentication_error",)"
                               R"("message":"invalid x-api-key"}})");
            }),
            "model_authentication");
  EXPECT_EQ(calls, 1);
}

TEST_F(AnthropicTest, AfterAFailureTheSessionGoesOn) {
  ErrorOf([](TestExchange& exchange) { exchange.Respond(400, {}, "{}"); });
  const TestHttpServer server([](TestExchange& exchange) {
    Stream(exchange, Start() + TextBlock(0, {"Here I am."}) + Stop("end_turn"), 50);
  });
  const ProgramResult run = Run(server, "again");
  EXPECT_EQ(run.exit_code, 0) << run.out;
  const auto request = json::Parse(server.requests().front().body);
  EXPECT_THAT(request->at("messages").dump(), HasSubstr("again"));
}

}  // namespace
}  // namespace cofferdam::e2e
