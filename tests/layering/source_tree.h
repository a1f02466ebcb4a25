// The project's own source tree, read as text: its files, and what its CMake files say about who
// may use whom.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace cofferdam::layering {

struct SourceFile {
  std::string path;  // from the root of the tree: "src/base/id.cc"
  std::vector<std::string> lines;
};

/// Every *.h and *.cc below the named folders of the root; a folder that is not there is empty.
std::vector<SourceFile> SourceFiles(const std::vector<std::string>& folders);

std::string ReadText(const std::string& path);

/// The folders under src/ from low to high, as src/CMakeLists.txt has them: "sandbox/layers".
std::vector<std::string> FolderOrder();

/// What a folder's CMakeLists.txt names as DEPS.
struct Dependencies {
  std::set<std::string> of_library;
  std::set<std::string> of_tests;
};
/// Folders with a CMakeLists.txt, each with its dependencies as folders.
std::map<std::string, Dependencies> FolderDependencies();

/// The arguments of every call of `function` in CMake text, comments left out. Pure.
std::vector<std::vector<std::string>> CmakeCalls(std::string_view text, std::string_view function);

/// The words behind `keyword` up to the next word in capitals. Pure.
std::vector<std::string> CmakeKeyword(const std::vector<std::string>& arguments,
                                      std::string_view keyword);

/// What stands between the quotes, or the brackets, of an #include line; empty for other lines.
std::string QuotedInclude(std::string_view line);
std::string BracketInclude(std::string_view line);

}  // namespace cofferdam::layering
