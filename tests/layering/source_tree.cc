#include "layering/source_tree.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

#include "base/check.h"

namespace cofferdam::layering {
namespace {

namespace fs = std::filesystem;

const fs::path kRoot = COFFERDAM_SOURCE_DIR;

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

std::string WithoutComments(std::string_view text) {
  std::string rest;
  bool comment = false;
  for (const char c : text) {
    if (c == '#') comment = true;
    if (c == '\n') comment = false;
    if (!comment) rest += c;
  }
  return rest;
}

bool IsKeyword(const std::string& word) {
  return !word.empty() &&
         std::ranges::all_of(word, [](unsigned char c) { return std::isupper(c) != 0; });
}

std::string IncludeBetween(std::string_view line, char open, char close) {
  constexpr std::string_view kInclude = "#include ";
  if (!line.starts_with(kInclude) || line.size() <= kInclude.size()) return {};
  line.remove_prefix(kInclude.size());
  if (line.front() != open) return {};
  line.remove_prefix(1);
  return std::string(line.substr(0, line.find(close)));
}

// "sandbox_layers" is the library of sandbox/layers, "net_testing" belongs to net.
std::string FolderOfLibrary(const std::string& library, const std::vector<std::string>& folders) {
  std::string name = library;
  constexpr std::string_view kTesting = "_testing";
  if (name.ends_with(kTesting)) name.resize(name.size() - kTesting.size());
  for (const std::string& folder : folders) {
    std::string as_library = folder;
    std::ranges::replace(as_library, '/', '_');
    if (as_library == name) return folder;
  }
  return library;
}

}  // namespace

std::string ReadText(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<SourceFile> SourceFiles(const std::vector<std::string>& folders) {
  std::vector<SourceFile> files;
  for (const std::string& folder : folders) {
    if (!fs::exists(kRoot / folder)) continue;
    constexpr auto kOptions = fs::directory_options::follow_directory_symlink;
    for (const auto& entry : fs::recursive_directory_iterator(kRoot / folder, kOptions)) {
      const std::string extension = entry.path().extension();
      if (extension != ".h" && extension != ".cc") continue;
      files.push_back({entry.path().lexically_relative(kRoot), Lines(ReadText(entry.path()))});
    }
  }
  std::ranges::sort(files, {}, &SourceFile::path);
  return files;
}

std::vector<std::vector<std::string>> CmakeCalls(std::string_view text, std::string_view function) {
  const std::string code = WithoutComments(text);
  const std::string start = std::string(function) + "(";
  std::vector<std::vector<std::string>> calls;
  for (std::size_t at = code.find(start); at != std::string::npos; at = code.find(start, at + 1)) {
    // Not the end of a longer name.
    if (at > 0 && (std::isalnum(static_cast<unsigned char>(code[at - 1])) || code[at - 1] == '_'))
      continue;
    const std::size_t begin = at + start.size();
    std::istringstream words(code.substr(begin, code.find(')', begin) - begin));
    calls.emplace_back(std::istream_iterator<std::string>(words),
                       std::istream_iterator<std::string>());
  }
  return calls;
}

std::vector<std::string> CmakeKeyword(const std::vector<std::string>& arguments,
                                      std::string_view keyword) {
  const auto begin = std::ranges::find(arguments, keyword);
  if (begin == arguments.end()) return {};
  return {begin + 1, std::find_if(begin + 1, arguments.end(), IsKeyword)};
}

std::vector<std::string> FolderOrder() {
  const std::string text = ReadText(kRoot / "src/CMakeLists.txt");
  std::vector<std::string> order;
  for (const auto& call : CmakeCalls(text, "add_subdirectory"))
    if (!call[0].starts_with("$")) order.push_back(call[0]);
  const auto loops = CmakeCalls(text, "foreach");
  CHECK(loops.size() == 1);
  order.insert(order.end(), loops[0].begin() + 1, loops[0].end());
  return order;
}

std::map<std::string, Dependencies> FolderDependencies() {
  const std::vector<std::string> order = FolderOrder();
  std::map<std::string, Dependencies> all;
  for (const std::string& folder : order) {
    const fs::path file = kRoot / "src" / folder / "CMakeLists.txt";
    if (!fs::exists(file)) continue;
    const std::string text = ReadText(file);
    Dependencies& dependencies = all[folder];
    for (const auto& call : CmakeCalls(text, "cofferdam_library")) {
      // A library of test support is linked by tests only.
      auto& into = call[0].ends_with("_testing") ? dependencies.of_tests : dependencies.of_library;
      for (const std::string& library : CmakeKeyword(call, "DEPS"))
        into.insert(FolderOfLibrary(library, order));
    }
    for (const auto& call : CmakeCalls(text, "cofferdam_tests"))
      for (const std::string& library : CmakeKeyword(call, "DEPS"))
        dependencies.of_tests.insert(FolderOfLibrary(library, order));
  }
  return all;
}

std::string QuotedInclude(std::string_view line) { return IncludeBetween(line, '"', '"'); }
std::string BracketInclude(std::string_view line) { return IncludeBetween(line, '<', '>'); }

}  // namespace cofferdam::layering
