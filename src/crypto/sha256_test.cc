#include "crypto/sha256.h"

#include <string>

#include <gtest/gtest.h>

#include "crypto/hex.h"

namespace cofferdam::crypto {
namespace {

// FIPS 180-4 examples, as published by NIST.
constexpr std::string_view kAbc =
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
constexpr std::string_view kEmpty =
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
constexpr std::string_view kMillionA =
    "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";

TEST(Sha256, GivesTheDigestsOfTheStandardsExamples) {
  EXPECT_EQ(HexEncode(Sha256("")), kEmpty);
  EXPECT_EQ(HexEncode(Sha256("abc")), kAbc);
  EXPECT_EQ(HexEncode(Sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(HexEncode(Sha256(std::string(1'000'000, 'a'))), kMillionA);
}

TEST(Sha256Stream, GivesTheSameDigestHoweverTheBytesAreCut) {
  Sha256Stream stream;
  const std::string part(999, 'a');
  for (int i = 0; i < 1001; ++i) stream.Update(part);
  stream.Update("a");
  EXPECT_EQ(HexEncode(stream.Finish()), kMillionA);
}

TEST(Sha256Stream, BeginsAnewAfterFinish) {
  Sha256Stream stream;
  stream.Update("before");
  stream.Finish();
  EXPECT_EQ(HexEncode(stream.Finish()), kEmpty);
  stream.Update("abc");
  EXPECT_EQ(HexEncode(stream.Finish()), kAbc);
}

}  // namespace
}  // namespace cofferdam::crypto
