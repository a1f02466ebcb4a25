#include "base/id.h"

#include <set>

#include <gtest/gtest.h>

#include "base/testing/fake_clock.h"

namespace cofferdam {
namespace {

TEST(Id, CarriesTheTimeInItsFirst48Bits) {
  const FakeClock clock(0x018BCFE56800);
  EXPECT_EQ(NewId(clock).substr(0, 15), "018bcfe5-6800-7");
}

TEST(Id, IsUniqueAndWellFormed) {
  const FakeClock clock;
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) {
    const std::string id = NewId(clock);
    EXPECT_TRUE(IsId(id)) << id;
    EXPECT_TRUE(seen.insert(id).second) << id;
  }
}

TEST(Id, RefusesOtherTexts) {
  EXPECT_FALSE(IsId(""));
  EXPECT_FALSE(IsId("018bcfe5-6800-4000-8000-000000000000"));
  EXPECT_FALSE(IsId("018BCFE5-6800-7000-8000-000000000000"));
  EXPECT_FALSE(IsId("018bcfe5-6800-7000-8000-00000000000/"));
}

TEST(Name, TakesOneTo128OfItsAlphabetAndNothingElse) {
  EXPECT_TRUE(IsName("alice"));
  EXPECT_TRUE(IsName("A_b-9"));
  EXPECT_TRUE(IsName(std::string(128, 'a')));
  EXPECT_FALSE(IsName(""));
  EXPECT_FALSE(IsName(std::string(129, 'a')));
  for (const char* bad : {"..", "a/b", "a b", "a.b", "a\\b", "ä", "a\n"})
    EXPECT_FALSE(IsName(bad)) << bad;
  EXPECT_FALSE(IsName(std::string_view("a\0b", 3)));
}

}  // namespace
}  // namespace cofferdam
