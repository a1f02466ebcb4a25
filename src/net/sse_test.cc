#include "net/sse.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cofferdam::net {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

SseEvent Event(std::string data, std::string type = "", std::string id = "") {
  return {.type = std::move(type), .data = std::move(data), .id = std::move(id)};
}

std::vector<SseEvent> DecodeInPieces(std::string_view bytes, std::size_t piece) {
  SseDecoder decoder;
  std::vector<SseEvent> events;
  for (std::size_t at = 0; at < bytes.size(); at += piece)
    EXPECT_TRUE(decoder.Feed(bytes.substr(at, piece), events));
  return events;
}

std::vector<SseEvent> Decode(std::string_view bytes) { return DecodeInPieces(bytes, bytes.size()); }

TEST(SseDecoder, JoinsDataLinesAndNamesTheType) {
  EXPECT_THAT(Decode("event: delta\ndata: one\ndata: two\n\ndata:three\n\n"),
              ElementsAre(Event("one\ntwo", "delta"), Event("three")));
}

TEST(SseDecoder, TakesAllThreeLineEndings) {
  EXPECT_THAT(Decode("data: a\r\rdata: b\n\ndata: c\r\n\r\ndata: d\r\n\n"),
              ElementsAre(Event("a"), Event("b"), Event("c"), Event("d")));
}

TEST(SseDecoder, DispatchesAtACarriageReturnWithoutWaitingForTheNextByte) {
  EXPECT_THAT(Decode("data: a\r\r"), ElementsAre(Event("a")));
}

TEST(SseDecoder, RemovesOneSpaceAfterTheColonOnly) {
  EXPECT_THAT(Decode("data:  x \n\n"), ElementsAre(Event(" x ")));
}

TEST(SseDecoder, TakesAFieldWithoutColonAsEmpty) {
  EXPECT_THAT(Decode("data\ndata\n\n"), ElementsAre(Event("\n")));
  EXPECT_THAT(Decode("data\n\n"), ElementsAre(Event("")));
}

TEST(SseDecoder, IgnoresCommentsUnknownFieldsAndEventsWithoutData) {
  EXPECT_THAT(Decode(": ping\n\nevent: lost\n\nfoo: bar\ndata: x\n\n"), ElementsAre(Event("x")));
}

TEST(SseDecoder, KeepsTheIdForLaterEvents) {
  using std::string_view_literals::operator""sv;
  EXPECT_THAT(
      Decode("id: 7\ndata: a\n\ndata: b\n\nid: 8\0\ndata: c\n\nid\ndata: d\n\n"sv),
      ElementsAre(Event("a", "", "7"), Event("b", "", "7"), Event("c", "", "7"), Event("d")));
}

TEST(SseDecoder, TakesRetryOnlyWhenItIsDigits) {
  SseDecoder decoder;
  std::vector<SseEvent> events;
  ASSERT_TRUE(
      decoder.Feed("retry: 1500\nretry: 2s\nretry: -1\nretry:\nretry: 99999999999\n", events));
  EXPECT_EQ(decoder.retry_millis(), 1500u);
}

TEST(SseDecoder, SkipsAByteOrderMarkAtTheStartOnly) {
  EXPECT_THAT(Decode("\xEF\xBB\xBF"
                     "data: a\n\n\xEF\xBB\xBF"
                     "data: b\n\n"),
              ElementsAre(Event("a")));
}

TEST(SseDecoder, ReplacesIllFormedUtf8) {
  EXPECT_THAT(Decode("data: a\xFF"
                     "b\n\n"),
              ElementsAre(Event("a\xEF\xBF\xBD"
                                "b")));
}

TEST(SseDecoder, DropsAnEventThatTheEndCutsOff) { EXPECT_THAT(Decode("data: a\n"), IsEmpty()); }

TEST(SseDecoder, GivesTheSameForEveryCut) {
  constexpr std::string_view kStream =
      "\xEF\xBB\xBF: hi\r\nid: 1\r\nevent: grüße\r\ndata: {\"x\":\"日本\"}\r\ndata: 🙂\r\n\r\n"
      "data: b\n\ndata: c\r\rretry: 5\rdata\r\r";
  const auto whole = Decode(kStream);
  ASSERT_EQ(whole.size(), 4u);
  EXPECT_EQ(whole[0], Event("{\"x\":\"日本\"}\n🙂", "grüße", "1"));
  for (std::size_t piece = 1; piece < kStream.size(); ++piece)
    EXPECT_EQ(DecodeInPieces(kStream, piece), whole) << "pieces of " << piece;
}

TEST(SseDecoder, RefusesAnEventAboveItsLimitAndStaysRefusing) {
  SseDecoder decoder(16);
  std::vector<SseEvent> events;
  ASSERT_TRUE(decoder.Feed("data: 0123456789\n\n", events));  // a line of 16 bytes
  EXPECT_EQ(decoder.Feed("data: 01234567890\n\n", events).error().code, ErrorCode::kTooLarge);
  EXPECT_FALSE(decoder.Feed("\n\ndata: a\n\n", events));
  EXPECT_THAT(events, ElementsAre(Event("0123456789")));
}

TEST(SseDecoder, BoundsTheSumOfManyShortLines) {
  SseDecoder decoder(64);
  std::vector<SseEvent> events;
  Status status;
  for (int i = 0; i < 64 && status; ++i) status = decoder.Feed("data: x\n", events);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ErrorCode::kTooLarge);
}

}  // namespace
}  // namespace cofferdam::net
