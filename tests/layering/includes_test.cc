// Who may use whom: a folder's DEPS are its promise, they lead down only, and its files include
// nothing else.
#include <algorithm>
#include <set>
#include <utility>

#include <gtest/gtest.h>

#include "layering/source_tree.h"

namespace cofferdam::layering {
namespace {

// The folder of a path below src/; the longest that is one.
std::string FolderOf(const std::string& path) {
  std::string best;
  for (const std::string& folder : FolderOrder())
    if (path.starts_with(folder + "/") && folder.size() > best.size()) best = folder;
  return best;
}

bool IsTestSupport(const std::string& path) { return path.find("testing/") != std::string::npos; }
bool IsTest(const std::string& path) { return path.ends_with("_test.cc") || IsTestSupport(path); }

// What is wrong with an #include in a file, both as paths below src/; empty when nothing is.
std::string FaultIn(const std::string& file, const std::string& included,
                    const std::map<std::string, Dependencies>& allowed) {
  const std::string from = FolderOf(file);
  const std::string to = FolderOf(included);
  if (to.empty()) {
    // Generated beside the file, or the promise of include/.
    const bool known =
        included.find('/') == std::string::npos || included.starts_with("cofferdam/");
    return known ? "" : "is in no folder of src/";
  }
  if (IsTestSupport(included) && !IsTest(file)) return "is for tests";
  if (from == to) return "";
  const auto found = allowed.find(from);
  if (found == allowed.end()) return "is included by a folder without a CMakeLists.txt";
  if (found->second.of_library.contains(to)) return "";
  if (IsTest(file) && found->second.of_tests.contains(to)) return "";
  return "is not among the DEPS of " + from;
}

TEST(Dependencies, LeadDownOnly) {
  const std::vector<std::string> order = FolderOrder();
  const auto position = [&](const std::string& folder) {
    return std::ranges::find(order, folder) - order.begin();
  };
  for (const auto& [folder, dependencies] : FolderDependencies()) {
    for (const std::string& used : dependencies.of_library)
      EXPECT_LT(position(used), position(folder)) << folder << " uses " << used;
    for (const std::string& used : dependencies.of_tests)
      EXPECT_LE(position(used), position(folder)) << folder << "'s tests use " << used;
  }
}

TEST(Dependencies, AreWhatTheFilesInclude) {
  const auto allowed = FolderDependencies();
  for (const SourceFile& file : SourceFiles({"src"})) {
    const std::string path = file.path.substr(std::string("src/").size());
    for (const std::string& line : file.lines) {
      const std::string included = QuotedInclude(line);
      if (included.empty()) continue;
      EXPECT_EQ(FaultIn(path, included, allowed), "") << file.path << ": " << line;
    }
  }
}

TEST(Dependencies, ThatAreMissingAreNoticed) {
  const std::map<std::string, Dependencies> allowed = {{"json", {{"base"}, {"base", "log"}}}};
  EXPECT_EQ(FaultIn("json/json.cc", "base/error.h", allowed), "");
  EXPECT_EQ(FaultIn("json/json_test.cc", "log/logger.h", allowed), "");
  EXPECT_NE(FaultIn("json/json.cc", "log/logger.h", allowed), "");
  EXPECT_NE(FaultIn("json/json.cc", "base/testing/fake_clock.h", allowed), "");
  EXPECT_NE(FaultIn("json/json.cc", "nowhere/x.h", allowed), "");
}

TEST(PublicHeaders, IncludeNothingOfSrc) {
  for (const SourceFile& file : SourceFiles({"include"})) {
    for (const std::string& line : file.lines) {
      const std::string quoted = QuotedInclude(line);
      EXPECT_TRUE(quoted.empty() || quoted.starts_with("cofferdam/")) << file.path << ": " << line;
      const std::string bracketed = BracketInclude(line);
      // <sys/stat.h> is the system's.
      EXPECT_TRUE(FolderOf(bracketed).empty() || bracketed.starts_with("sys/"))
          << file.path << ": " << line;
    }
  }
}

}  // namespace
}  // namespace cofferdam::layering
