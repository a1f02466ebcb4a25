#include "crypto/hex.h"

#include <gtest/gtest.h>

namespace cofferdam::crypto {
namespace {

using Bytes = std::vector<std::uint8_t>;

TEST(Hex, WritesLowerCaseAndReadsBothCases) {
  EXPECT_EQ(HexEncode(Bytes{0x00, 0x9A, 0xFF}), "009aff");
  EXPECT_EQ(HexEncode({}), "");
  EXPECT_EQ(*HexDecode("009aFf"), (Bytes{0x00, 0x9A, 0xFF}));
  EXPECT_EQ(*HexDecode(""), Bytes{});
}

TEST(Hex, RefusesOtherTexts) {
  for (const char* text : {"0", "0g", "g0", "0x00", " 00", "00 ", "/0", ":0", "@0", "`0"}) {
    const auto bytes = HexDecode(text);
    ASSERT_FALSE(bytes) << text;
    EXPECT_EQ(bytes.error().code, ErrorCode::kMalformed);
  }
  EXPECT_EQ(HexDecode("000g").error().message, "not a hexadecimal digit at position 3");
}

}  // namespace
}  // namespace cofferdam::crypto
