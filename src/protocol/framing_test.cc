#include "protocol/framing.h"

#include <gtest/gtest.h>

#include "protocol/control.pb.h"

namespace cofferdam::protocol {
namespace {

TEST(FrameDecoder, ReturnsFramesHoweverTheBytesAreSplit) {
  const std::string bytes = EncodeFrame("one") + EncodeFrame("two") + EncodeFrame("three");
  for (std::size_t step = 1; step <= bytes.size(); ++step) {
    FrameDecoder decoder;
    std::string seen;
    for (std::size_t at = 0; at < bytes.size(); at += step) {
      ASSERT_TRUE(decoder.Feed(std::string_view(bytes).substr(at, step)));
      while (auto frame = decoder.Next()) seen += *frame + ",";
    }
    EXPECT_EQ(seen, "one,two,three,") << "step " << step;
  }
}

TEST(FrameDecoder, RefusesALengthAboveTheLimitBeforeItsBytesCome) {
  FrameDecoder decoder(16);
  EXPECT_TRUE(decoder.Feed(std::string("\0\0\0\x10", 4)));
  FrameDecoder strict(16);
  EXPECT_EQ(strict.Feed(std::string("\0\0\0\x11", 4)).error().code, ErrorCode::kProtocol);
  FrameDecoder huge;
  EXPECT_FALSE(huge.Feed("\xff\xff\xff\xff"));
}

TEST(FrameDecoder, RefusesAnEmptyFrame) {
  FrameDecoder decoder;
  EXPECT_EQ(decoder.Feed(std::string(4, '\0')).error().code, ErrorCode::kProtocol);
}

TEST(FrameDecoder, RefusesABadLengthBehindGoodFramesHoweverTheBytesAreSplit) {
  const std::string bytes = EncodeFrame("good") + EncodeFrame("too") + std::string("\1\0\0\0", 4);
  for (std::size_t step = 1; step <= bytes.size(); ++step) {
    FrameDecoder decoder(16);
    Status fed;
    for (std::size_t at = 0; at < bytes.size() && fed; at += step)
      fed = decoder.Feed(std::string_view(bytes).substr(at, step));
    EXPECT_FALSE(fed) << "step " << step;
    EXPECT_EQ(decoder.Next(), "good");
    EXPECT_EQ(decoder.Next(), "too");
    EXPECT_EQ(decoder.Next(), std::nullopt);
  }
}

TEST(FrameDecoder, CountsWhatWasNotTaken) {
  FrameDecoder decoder;
  ASSERT_TRUE(decoder.Feed(EncodeFrame("abc")));
  EXPECT_EQ(decoder.pending_bytes(), 7u);
  ASSERT_TRUE(decoder.Feed(std::string(1, '\0')));
  ASSERT_TRUE(decoder.Next());
  EXPECT_EQ(decoder.pending_bytes(), 1u);
}

TEST(ControlProto, HasTheFieldNumbersOfTheWireFormat) {
  v1::ControlRequest request;
  request.set_request_id("r");
  request.mutable_op_start()->mutable_exec()->add_command("a");
  // 0a 01 72: field 1; fa 01: field 31, length-delimited; 0a: OpStart.exec; 0a:
  // ExecRequest.command.
  EXPECT_EQ(request.SerializeAsString(),
            std::string("\x0a\x01r\xfa\x01\x05\x0a\x03\x0a\x01\x61", 11));
}

}  // namespace
}  // namespace cofferdam::protocol
