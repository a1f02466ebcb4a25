// docs/threat-model.md names a test for each promise. They have to exist.

#include <unistd.h>

#include <regex>
#include <string>

#include <gtest/gtest.h>

#include "sys/file.h"

namespace cofferdam::escape {
namespace {

// "Suite.Name" stands in a source as a test's head, a lone name as that of a case in a table.
std::string AsInSource(const std::string& test) {
  const std::size_t dot = test.find('.');
  if (dot == std::string::npos) return "{\"" + test + "\"";
  return "(" + test.substr(0, dot) + ", " + test.substr(dot + 1) + ")";
}

TEST(ThreatModel, NamesTestsThatExist) {
  const std::string root = COFFERDAM_SOURCE_DIR;
  const auto page = sys::ReadFile(root + "/docs/threat-model.md");
  if (!page && ::geteuid() != 0) GTEST_SKIP() << "the sources are closed to this user";
  ASSERT_TRUE(page) << page.error().ToString();
  const std::regex reference("`((?:src|tests)/[a-z0-9_/]+_test\\.cc): ([A-Za-z0-9_.]+)`");
  int count = 0;
  for (std::sregex_iterator at(page->begin(), page->end(), reference), end; at != end; ++at) {
    const auto source = sys::ReadFile(root + "/" + (*at)[1].str(), 4 << 20);
    ASSERT_TRUE(source) << (*at)[1];
    EXPECT_NE(source->find(AsInSource((*at)[2])), std::string::npos) << (*at)[0];
    ++count;
  }
  EXPECT_GT(count, 50);
}

}  // namespace
}  // namespace cofferdam::escape
