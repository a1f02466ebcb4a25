#include "agent/search_tools.h"

#include <algorithm>

#include "base/utf8.h"

namespace cofferdam::agent {
namespace {

/// A longer line is cut: one minified file must not fill the answer.
constexpr std::size_t kMaxLineBytes = 500;

/// Applies the byte limit and says what is missing, in the words of the tool that asks.
ToolOutcome Cut(std::string text, const ToolContext& context, bool more_exist,
                const std::string& advice) {
  TextLimits limits = context.limits.text;
  limits.max_lines = std::ranges::count(text, '\n') + 1U;
  const CutText cut = KeepStart(text, limits);
  ToolOutcome outcome{.content = cut.text};
  if (cut.cut() || more_exist) outcome.content += "[there is more; " + advice + "]\n";
  return outcome;
}

/// What stands before a path below `start` to make it one that the other tools take.
std::string PrefixFor(const std::string& start) {
  if (start.empty() || start == ".") return "";
  return start.ends_with('/') ? start : start + "/";
}

class GrepTool final : public Tool {
 public:
  GrepTool()
      : Tool("grep",
             "Searches the content of files for a regular expression (RE2 syntax). Answers with "
             "path:line:text. Binary files are left out.",
             {{.name = "pattern", .description = "What to look for.", .required = true},
              {.name = "path",
               .description = "A file, or a directory with all below it. Default "
                              "/workspace."},
              {.name = "glob",
               .description = "Only files whose name fits, for example *.cc; with a slash in it, "
                              "whose path fits, for example src/**/*.h."},
              {.name = "ignore_case",
               .type = ParameterType::kBoolean,
               .description = "Upper and lower case are the same. Default false."},
              {.name = "literal",
               .type = ParameterType::kBoolean,
               .description = "The pattern is plain text. Default false."},
              {.name = "context",
               .type = ParameterType::kInteger,
               .description = "Lines to show before and after each match. Default 0.",
               .min = 0,
               .max = 20},
              {.name = "limit",
               .type = ParameterType::kInteger,
               .description = "How many matches to show at most. Default 100.",
               .min = 1,
               .max = 1000}}) {}

 private:
  Result<ToolOutcome> Run(const ToolContext& context, const Arguments& arguments) const override {
    sandbox::GrepRequest request{
        .pattern = arguments.String("pattern"),
        .path = arguments.StringOr("path", "."),
        .glob = arguments.StringOr("glob", ""),
        .ignore_case = arguments.BooleanOr("ignore_case", false),
        .literal = arguments.BooleanOr("literal", false),
        .context_lines = static_cast<std::uint32_t>(arguments.IntegerOr("context", 0)),
        .max_matches = static_cast<std::uint32_t>(arguments.IntegerOr("limit", 100))};
    ASSIGN_OR_RETURN(sandbox::Sandbox * sandbox, context.sandbox());
    ASSIGN_OR_RETURN(const auto start, sandbox->Stat(request.path));
    ASSIGN_OR_RETURN(sandbox::GrepResult result, sandbox->Grep(request, context.stop));
    // A file that was named itself comes back under its name, what is below a directory without it.
    if (start && start->kind != sandbox::FileKind::kFile)
      for (sandbox::GrepLine& line : result.lines)
        if (start->kind == sandbox::FileKind::kDirectory || line.path != request.path)
          line.path = PrefixFor(request.path) + line.path;
    return result.lines.empty()
               ? ToolOutcome{.content = "No matches.\n"}
               : Cut(FormatGrep(result, request.context_lines > 0), context, result.truncated,
                     "narrow the pattern, the path or the glob, or raise limit");
  }
};

class FindTool final : public Tool {
 public:
  FindTool()
      : Tool("find",
             "Finds files by name. The pattern is a shell glob: *.cc fits names at any depth, "
             "src/**/*.h fits paths below where it looks. Answers with paths that read takes.",
             {{.name = "pattern", .description = "The glob.", .required = true},
              {.name = "path", .description = "Where to look. Default /workspace."},
              {.name = "limit",
               .type = ParameterType::kInteger,
               .description = "How many paths to show at most. Default 1000.",
               .min = 1,
               .max = 10000}}) {}

 private:
  Result<ToolOutcome> Run(const ToolContext& context, const Arguments& arguments) const override {
    const sandbox::FindRequest request{
        .glob = arguments.String("pattern"),
        .path = arguments.StringOr("path", "."),
        .max_results = static_cast<std::uint32_t>(arguments.IntegerOr("limit", 1000))};
    ASSIGN_OR_RETURN(sandbox::Sandbox * sandbox, context.sandbox());
    ASSIGN_OR_RETURN(const sandbox::FindResult result, sandbox->Find(request, context.stop));
    std::string text;
    for (const std::string& path : result.paths)
      text += ToValidUtf8(PrefixFor(request.path) + path) + "\n";
    return text.empty() ? ToolOutcome{.content = "No files found.\n"}
                        : Cut(std::move(text), context, result.truncated,
                              "narrow the pattern or the path, or raise limit");
  }
};

}  // namespace

std::string FormatGrep(const sandbox::GrepResult& result, bool has_context) {
  std::string text;
  const sandbox::GrepLine* previous = nullptr;
  for (const sandbox::GrepLine& line : result.lines) {
    const bool follows = previous != nullptr && previous->path == line.path &&
                         previous->line_number + 1 == line.line_number;
    if (has_context && previous != nullptr && !follows) text += "--\n";
    const char* separator = line.is_match ? ":" : "-";
    const std::string shown = ToValidUtf8(line.text);
    text += ToValidUtf8(line.path) + separator + std::to_string(line.line_number) + separator;
    text += Utf8Prefix(shown, kMaxLineBytes);
    text += shown.size() > kMaxLineBytes ? " [line cut]\n" : "\n";
    previous = &line;
  }
  return text;
}

std::unique_ptr<Tool> NewGrepTool() { return std::make_unique<GrepTool>(); }
std::unique_ptr<Tool> NewFindTool() { return std::make_unique<FindTool>(); }

}  // namespace cofferdam::agent
