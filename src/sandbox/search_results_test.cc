#include "sandbox/search_results.h"

#include <gtest/gtest.h>

namespace cofferdam::sandbox {
namespace {

std::string Record(const std::string& path, bool truncated = false) {
  protocol::v1::SearchRecord record;
  record.set_path(path);
  record.set_truncated(truncated);
  return protocol::EncodeFrame(record.SerializeAsString());
}

TEST(SearchResults, TakesRecordsHoweverTheyAreCut) {
  SearchResults results;
  for (const char c : Record("a") + Record("b") + Record("", true))
    ASSERT_TRUE(results.Feed({&c, 1}));
  ASSERT_EQ(results.records().size(), 2u);
  EXPECT_EQ(results.records()[1].path(), "b");
  EXPECT_TRUE(results.truncated());
}

TEST(SearchResults, RefusesWhatIsNoRecord) {
  EXPECT_EQ(SearchResults().Feed(protocol::EncodeFrame("\xff")).error().code, ErrorCode::kProtocol);
  EXPECT_EQ(SearchResults().Feed("\xff\xff\xff\xff").error().code, ErrorCode::kProtocol);
}

TEST(SearchResults, IsBoundedInRecordsAndBytes) {
  SearchResults many;
  std::string bytes;
  for (int i = 0; i < 200'000; ++i) bytes += Record("x");
  ASSERT_TRUE(many.Feed(bytes));
  EXPECT_EQ(many.records().size(), 200'000u);
  EXPECT_EQ(many.Feed(Record("x")).error().code, ErrorCode::kTooLarge);
  SearchResults large;
  Status fed;
  std::size_t total = 0;
  for (const std::string record = Record(std::string(60'000, 'x')); fed; total += record.size())
    fed = large.Feed(record);
  EXPECT_EQ(fed.error().code, ErrorCode::kTooLarge);
  EXPECT_LT(total, 9u << 20);
}

}  // namespace
}  // namespace cofferdam::sandbox
