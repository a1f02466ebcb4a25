// Rules of style that no compiler and no formatter keeps.
#include <algorithm>
#include <cctype>
#include <cstdint>
#include <regex>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "layering/source_tree.h"

namespace cofferdam::layering {
namespace {

constexpr std::size_t kMaxColumns = 100;
constexpr std::size_t kMaxFunctionLines = 100;

const std::vector<std::string> kFolders = {"src", "include", "tests", "fuzz", "bench", "examples"};

std::size_t Columns(const std::string& line) {
  std::size_t columns = 0;
  for (const char c : line)
    if ((static_cast<std::uint8_t>(c) & 0xc0) != 0x80) ++columns;
  return columns;
}

// What stands in code: strings and comments blanked out, each line by itself.
std::string Code(const std::string& line) {
  std::string code;
  char quote = 0;
  for (std::size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (quote != 0) {
      if (c == '\\') ++i;
      if (c == quote) quote = 0;
      continue;
    }
    if (c == '/' && i + 1 < line.size() && line[i + 1] == '/') break;
    // An apostrophe between digits is none.
    const bool digits = c == '\'' && i > 0 && std::isalnum(static_cast<unsigned char>(line[i - 1]));
    if ((c == '"' || c == '\'') && !digits) {
      quote = c;
      continue;
    }
    code += c;
  }
  return code;
}

std::string Rule(const std::string& path, const std::string& line) {
  // Put together here, so that this file keeps its own rules.
  static const std::regex leftover(
      "\\b(TO"
      "DO|FIX"
      "ME|XX"
      "X)\\b");
  static const std::regex sleeping(
      "\\b(sleep|usleep|nanosleep)\\s*\\(|\\bsl"
      "eep_(for|until)\\b");
  static const std::regex detach("\\.\\s*detach\\s*\\(\\s*\\)");
  static const std::regex shell("(^|[^.\\w>])(std::|::)?(system|popen)\\s*\\(");
  if (Columns(line) > kMaxColumns) return "is longer than 100 columns";
  if (std::regex_search(line, leftover)) return "has a leftover word";
  const std::string code = Code(line);
  if (path.ends_with("_test.cc") && std::regex_search(code, sleeping)) return "sleeps in a test";
  if (std::regex_search(code, detach)) return "detaches a thread";
  if (std::regex_search(code, shell)) return "runs a shell behind our back";
  return "";
}

std::size_t Indentation(const std::string& line) { return line.find_first_not_of(' '); }

// The line on which the declaration that ends on line `i` begins: up to where its parentheses are
// closed, over a constructor's initialisers.
std::size_t StartOfDeclaration(const std::vector<std::string>& lines, std::size_t i) {
  std::ptrdiff_t open = 0;
  bool initialisers = false;
  for (std::size_t start = i;; --start) {
    const std::string code = Code(lines[start]);
    open += std::ranges::count(code, ')') - std::ranges::count(code, '(');
    const std::size_t first = Indentation(code);
    const bool first_initialiser = first != std::string::npos && code[first] == ':';
    initialisers |= start > 0 && open <= 0 && Code(lines[start - 1]).ends_with("),");
    if (start == 0 || (open <= 0 && !initialisers && !first_initialiser)) return start;
    if (first_initialiser) initialisers = false;
  }
}

bool IsTable(const std::string& first_line_of_body) {
  return first_line_of_body.ends_with("return {");
}

// The first lines of functions that are too long, in code formatted as ours is: a body ends at the
// first line that starts with a brace in the column in which the function starts. A function that
// is one table is data.
std::vector<std::string> LongFunctions(const std::vector<std::string>& lines) {
  static const std::regex no_function(
      "^ *(namespace|extern|class|struct|union|enum|if|for|while|switch|do|else|try|case|return)\\b"
      ".*|^ *\\}.*");
  static const std::regex lambda("\\]\\s*[({]");
  std::vector<std::string> functions;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const std::string code = Code(lines[i]);
    if (!code.ends_with("{") || code.find(')') == std::string::npos) continue;
    if (std::regex_search(code, lambda) || (i + 1 < lines.size() && IsTable(lines[i + 1])))
      continue;
    const std::size_t start = StartOfDeclaration(lines, i);
    if (std::regex_match(lines[start], no_function)) continue;
    const std::string end_of_body = std::string(Indentation(lines[start]), ' ') + "}";
    const auto end = std::find_if(lines.begin() + static_cast<std::ptrdiff_t>(i) + 1, lines.end(),
                                  [&](const auto& line) { return line.starts_with(end_of_body); });
    const auto size =
        static_cast<std::size_t>(end - lines.begin()) - start + (end == lines.end() ? 0 : 1);
    if (size > kMaxFunctionLines)
      functions.push_back(std::to_string(start + 1) + ": " + lines[start] + " (" +
                          std::to_string(size) + " lines)");
  }
  return functions;
}

TEST(Tidy, EveryLineKeepsTheRules) {
  for (const SourceFile& file : SourceFiles(kFolders))
    for (std::size_t i = 0; i < file.lines.size(); ++i)
      EXPECT_EQ(Rule(file.path, file.lines[i]), "")
          << file.path << ":" << i + 1 << ": " << file.lines[i];
}

TEST(Tidy, NoFunctionIsTooLong) {
  for (const SourceFile& file : SourceFiles(kFolders))
    for (const std::string& function : LongFunctions(file.lines))
      ADD_FAILURE() << file.path << ":" << function;
}

TEST(Tidy, NoticesWhatBreaksARule) {
  const std::string word = std::string("TO") + "DO";
  EXPECT_NE(Rule("a.cc", std::string(101, 'x')), "");
  EXPECT_EQ(Rule("a.cc", std::string(98, 'x') + "\u00e9\u00e9"), "");
  EXPECT_NE(Rule("a.cc", "// " + word + " later"), "");
  EXPECT_NE(Rule("a_test.cc",
                 "  ::usl"
                 "eep(3);"),
            "");
  EXPECT_NE(Rule("a_test.cc",
                 "  std::this_thread::sl"
                 "eep_for(x);"),
            "");
  EXPECT_EQ(Rule("a_test.cc", "  Run(\"sleep(3)\");"), "");
  EXPECT_EQ(Rule("a.cc",
                 "  ::sl"
                 "eep(3);"),
            "");
  EXPECT_NE(Rule("a.cc",
                 "  thread.det"
                 "ach();"),
            "");
  EXPECT_NE(Rule("a.cc",
                 "  std::sys"
                 "tem(line);"),
            "");
  EXPECT_EQ(Rule("a.cc", "  file_system(line);"), "");
}

TEST(Tidy, NoticesALongFunction) {
  std::vector<std::string> lines = {"namespace x {", "int F(int a,", "      int b) {"};
  lines.insert(lines.end(), 97, "  ++a;");
  lines.emplace_back("}");
  EXPECT_TRUE(LongFunctions(lines).empty()) << "100 lines are allowed";
  lines.insert(lines.begin() + 3, "  ++a;");
  ASSERT_EQ(LongFunctions(lines).size(), 1u);
  EXPECT_EQ(LongFunctions(lines)[0], "2: int F(int a, (101 lines)");
  lines[1] = "Class::Class(int a)";
  lines[2] = "    : b_(a) {";
  ASSERT_EQ(LongFunctions(lines).size(), 1u);
  EXPECT_EQ(LongFunctions(lines)[0], "2: Class::Class(int a) (101 lines)");
}

}  // namespace
}  // namespace cofferdam::layering
