#include "record/chain.h"

#include <functional>
#include <limits>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/check.h"
#include "json/canonical.h"
#include "record/verify.h"
#include "sys/file.h"

namespace cofferdam::record {
namespace {

using json::Json;
using testing::HasSubstr;

// The text of the fenced blocks of a language in docs/formats/events.md, in order.
std::vector<std::string> DocumentedBlocks(const std::string& language) {
  const std::string text = *sys::ReadFile(COFFERDAM_SOURCE_DIR "/docs/formats/events.md");
  const std::string fence = "```" + language + "\n";
  std::vector<std::string> blocks;
  for (std::size_t at = text.find(fence); at != std::string::npos; at = text.find(fence, at)) {
    at += fence.size();
    const std::size_t end = text.find("```", at);
    CHECK(end != std::string::npos);
    blocks.push_back(text.substr(at, end - at));
    at = end + 3;
  }
  return blocks;
}

TEST(EventsFormat, TheDocumentedExampleIsARecord) {
  const std::string example = DocumentedBlocks("jsonl").at(0);
  const auto chain = VerifyChain(storage::TextSource(example), TornTail::kRefuse);
  ASSERT_TRUE(chain) << chain.error().ToString();
  EXPECT_EQ(chain->events, 3u);
  EXPECT_TRUE(chain->complete);
  EXPECT_EQ(chain->header.workspace, "alice");
  EXPECT_THAT(DocumentedBlocks("text"), testing::Contains(chain->head + "\n"));
}

TEST(EventsFormat, TheDocumentedTextIsWhatTheFirstHashCovers) {
  const std::string example = DocumentedBlocks("jsonl").at(0);
  const std::size_t second = example.find('\n') + 1;
  const std::string line = example.substr(second, example.find('\n', second) - second);
  std::string hashed = DocumentedBlocks("json").at(0);
  hashed.pop_back();
  // HeaderHash is the SHA-256 of a text.
  EXPECT_EQ(ParseEventLine(line)->hash, HeaderHash(hashed));
}

RunHeader Header() {
  return {.platform = "p",
          .workspace = "w",
          .session = "s",
          .run = "r",
          .time = "2026-11-21T07:15:02.123Z"};
}

TEST(HeaderLine, IsReadBackAndNothingElseIs) {
  const std::string line = *HeaderLine(Header());
  EXPECT_EQ(*ParseHeaderLine(line), Header());
  for (const std::string& other :
       {line + " ", " " + line, line.substr(0, line.size() - 1) + ",\"x\":1}",
        std::string(R"({"schema":"cofferdam.events/1"})"), std::string("[]"), std::string("")})
    EXPECT_EQ(ParseHeaderLine(other).error().code, ErrorCode::kMalformed) << other;
  std::string next_version = line;
  next_version.replace(next_version.find("events/1"), 8, "events/2");
  EXPECT_THAT(ParseHeaderLine(next_version).error().message, HasSubstr("schema"));
  RunHeader not_text = Header();
  not_text.session = "\xFF";
  EXPECT_EQ(HeaderLine(not_text).error().code, ErrorCode::kInvalidArgument);
}

TEST(EventLine, IsReadBackAndNothingElseIs) {
  Event event{.seq = 7, .time = "t", .type = "x", .data = {{"a", 1}}, .prev = "p", .hash = "h"};
  const std::string line = *EventLine(event);
  EXPECT_EQ(line, R"({"data":{"a":1},"hash":"h","prev":"p","seq":7,"time":"t","type":"x"})");
  const Event read = *ParseEventLine(line);
  EXPECT_EQ(*EventLine(read), line);
  for (const char* other :
       {R"({"hash":"h","data":{"a":1},"prev":"p","seq":7,"time":"t","type":"x"})",
        R"({"data":{"a": 1},"hash":"h","prev":"p","seq":7,"time":"t","type":"x"})",
        R"({"data":{"a":1.0},"hash":"h","prev":"p","seq":7,"time":"t","type":"x"})",
        R"({"data":{"a":1},"extra":1,"hash":"h","prev":"p","seq":7,"time":"t","type":"x"})",
        R"({"data":[],"hash":"h","prev":"p","seq":7,"time":"t","type":"x"})",
        R"({"data":{},"hash":"h","prev":"p","seq":-1,"time":"t","type":"x"})",
        R"({"data":{},"hash":"h","prev":"p","seq":7,"time":"t"})"})
    EXPECT_EQ(ParseEventLine(other).error().code, ErrorCode::kMalformed) << other;
}

TEST(EventHash, CoversEveryFieldButItself) {
  const Event event{
      .seq = 1, .time = "t", .type = "x", .data = {{"a", 1}}, .prev = "p", .hash = ""};
  const std::string hash = *EventHash(event);
  Event other = event;
  other.hash = "anything";
  EXPECT_EQ(*EventHash(other), hash);
  for (const auto& change : std::vector<std::function<void(Event&)>>{
           [](Event& e) { e.seq = 2; }, [](Event& e) { e.time = "u"; },
           [](Event& e) { e.type = "y"; }, [](Event& e) { e.data["a"] = 2; },
           [](Event& e) { e.prev = "q"; }}) {
    other = event;
    change(other);
    EXPECT_NE(*EventHash(other), hash);
  }
}

TEST(MakePortable, WritesLargeIntegersAsStringsAndRepairsText) {
  Json data = {{"max", json::kMaxExactInteger},
               {"big", json::kMaxExactInteger + 1},
               {"negative", -json::kMaxExactInteger - 1},
               {"unsigned", std::numeric_limits<std::uint64_t>::max()},
               {"list", {1e17, 1.5, 1e22, "a\xFF"}}};
  ASSERT_TRUE(MakePortable(data));
  EXPECT_EQ(data, (Json{{"max", json::kMaxExactInteger},
                        {"big", "9007199254740993"},
                        {"negative", "-9007199254740993"},
                        {"unsigned", "18446744073709551615"},
                        {"list", {"100000000000000000", 1.5, 1e22, "a\uFFFD"}}}));
  EXPECT_TRUE(json::Canonical(data));
}

}  // namespace
}  // namespace cofferdam::record
