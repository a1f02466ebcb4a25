#include "agent/file_tools.h"

#include <algorithm>

#include "crypto/hex.h"
#include "crypto/sha256.h"

namespace cofferdam::agent {
namespace {

constexpr std::uint64_t kChunkBytes = 1 << 20;
/// The largest file that edit takes, and that read counts the lines of.
constexpr std::uint64_t kMaxTextFileBytes = 16 << 20;
/// The largest file that write replaces: the record names its old content by hash.
constexpr std::uint64_t kMaxHashedBytes = 64 << 20;
/// How far into a file read looks for lines: a sparse file can be endless.
constexpr std::uint64_t kMaxScannedBytes = 256 << 20;
/// A longer line is cut.
constexpr std::size_t kMaxLineBytes = 2000;
/// Where a NUL byte is looked for, as grep and git do.
constexpr std::size_t kBinaryProbeBytes = 8000;

bool LooksBinary(std::string_view beginning) {
  return beginning.substr(0, kBinaryProbeBytes).find('\0') != std::string_view::npos;
}

/// The file that `path` names when it is a regular one, its size; says what else it is otherwise.
Result<std::uint64_t> FileSize(sandbox::Sandbox& sandbox, const std::string& path) {
  ASSIGN_OR_RETURN(const auto entry, sandbox.Stat(path));
  if (!entry) return Err(ErrorCode::kNotFound, path + " does not exist");
  if (entry->kind == sandbox::FileKind::kDirectory)
    return Err(ErrorCode::kInvalidArgument, path + " is a directory",
               "use ls to see what is in it");
  if (entry->kind == sandbox::FileKind::kOther)
    return Err(ErrorCode::kInvalidArgument, path + " is not a regular file");
  return entry->size;
}

std::string ReadFooter(const LineWindow& window, std::uint64_t first, std::uint64_t offset,
                       std::uint64_t total) {
  if (!window.full() && offset >= total) return "";
  const std::uint64_t next = first + window.shown();
  std::string text = "[lines " + std::to_string(first) + " to " + std::to_string(next - 1);
  text += offset >= total ? " of " + std::to_string(window.seen())
                          : "; the file has " + std::to_string(total) + " bytes";
  return text + "; go on with offset=" + std::to_string(next) + "]\n";
}

class ReadTool final : public Tool {
 public:
  ReadTool()
      : Tool("read",
             "Reads a text file. Shows at most 2000 lines or 50 KB at a time and says how to go on "
             "when more is left. Lines longer than 2000 bytes are cut.",
             {{.name = "path",
               .description = "The file; relative paths are below /workspace.",
               .required = true},
              {.name = "offset",
               .type = ParameterType::kInteger,
               .description = "The first line to show, counted from 1. Default 1.",
               .min = 1,
               .max = 1'000'000'000},
              {.name = "limit",
               .type = ParameterType::kInteger,
               .description = "How many lines to show at most. Default 2000.",
               .min = 1,
               .max = 2000}}) {}

 private:
  Result<ToolOutcome> Run(const ToolContext& context, const Arguments& arguments) const override {
    ASSIGN_OR_RETURN(sandbox::Sandbox * sandbox, context.sandbox());
    const std::string& path = arguments.String("path");
    RETURN_IF_ERROR(FileSize(*sandbox, path));
    const auto first = static_cast<std::uint64_t>(arguments.IntegerOr("offset", 1));
    TextLimits limits = context.limits.text;
    limits.max_lines =
        std::min(limits.max_lines, static_cast<std::size_t>(arguments.IntegerOr("limit", 2000)));

    LineWindow window(first, limits, kMaxLineBytes);
    std::uint64_t offset = 0;
    std::uint64_t total = 0;
    // After the window is full the rest is only read to count its lines, up to a limit.
    do {
      ASSIGN_OR_RETURN(const sandbox::ReadResult part,
                       sandbox->Read({path, offset, kChunkBytes}, context.stop));
      if (offset == 0 && LooksBinary(part.bytes))
        return ErrorOutcome(path + " is a binary file of " + std::to_string(part.total_size) +
                            " bytes; use bash to look into it");
      window.Feed(part.bytes);
      offset += part.bytes.size();
      total = part.total_size;
      if (part.bytes.empty()) total = offset;
    } while (offset < total && offset < kMaxScannedBytes &&
             !(window.full() && offset >= kMaxTextFileBytes));
    if (offset < total && !window.full())
      return ErrorOutcome(path + " has " + std::to_string(total) + " bytes, and these lines are " +
                          "beyond the first " + std::to_string(kMaxScannedBytes) +
                          "; use bash, for example tail");
    window.Finish();
    return Report(path, window, first, offset, total);
  }

  static ToolOutcome Report(const std::string& path, const LineWindow& window, std::uint64_t first,
                            std::uint64_t offset, std::uint64_t total) {
    if (window.shown() == 0 && window.seen() > 0)
      return ErrorOutcome("offset " + std::to_string(first) + " is beyond the end: " + path +
                          " has " + std::to_string(window.seen()) + " lines");
    ToolOutcome outcome{.content = window.seen() == 0 ? "[the file is empty]\n" : window.text()};
    outcome.content += ReadFooter(window, first, offset, total);
    return outcome;
  }
};

record::FileState StateOf(std::string_view bytes) {
  return {crypto::HexEncode(crypto::Sha256(bytes)), static_cast<std::int64_t>(bytes.size())};
}

/// A file as it is before it is replaced, or nothing when there is none.
Result<std::optional<record::FileState>> StateBefore(const ToolContext& context,
                                                     sandbox::Sandbox& sandbox,
                                                     const std::string& path) {
  const auto size = FileSize(sandbox, path);
  if (!size && size.error().code == ErrorCode::kNotFound) return std::nullopt;
  if (!size) return std::unexpected(size.error());
  crypto::Sha256Stream hash;
  std::uint64_t offset = 0;
  while (true) {
    ASSIGN_OR_RETURN(const sandbox::ReadResult part,
                     sandbox.Read({path, offset, kChunkBytes}, context.stop));
    if (std::max(part.total_size, offset) > kMaxHashedBytes)
      return Err(
          ErrorCode::kTooLarge,
          path + " has more than " + std::to_string(kMaxHashedBytes) + " bytes and is not replaced",
          "remove it with bash first");
    hash.Update(part.bytes);
    offset += part.bytes.size();
    if (part.bytes.empty() || offset >= part.total_size) break;
  }
  return record::FileState{crypto::HexEncode(hash.Finish()), static_cast<std::int64_t>(offset)};
}

class WriteTool final : public Tool {
 public:
  WriteTool()
      : Tool("write",
             "Writes a file: makes it, with missing directories, or replaces it whole. To change a "
             "part of a file use edit.",
             {{.name = "path",
               .description = "The file; relative paths are below /workspace.",
               .required = true},
              {.name = "content", .description = "The whole new content.", .required = true}}) {}

 private:
  Result<ToolOutcome> Run(const ToolContext& context, const Arguments& arguments) const override {
    ASSIGN_OR_RETURN(sandbox::Sandbox * sandbox, context.sandbox());
    const std::string& path = arguments.String("path");
    const std::string& content = arguments.String("content");
    ASSIGN_OR_RETURN(std::optional<record::FileState> before, StateBefore(context, *sandbox, path));
    RETURN_IF_ERROR(
        sandbox->Write({.path = path, .bytes = content, .create_parents = true}, context.stop));
    ToolOutcome outcome{.content = "Wrote " + std::to_string(content.size()) + " bytes to " + path};
    outcome.changes.push_back({path, std::move(before), StateOf(content)});
    return outcome;
  }
};

/// The whole of a file that is small enough to be edited.
Result<std::string> ReadWhole(const ToolContext& context, sandbox::Sandbox& sandbox,
                              const std::string& path) {
  RETURN_IF_ERROR(FileSize(sandbox, path));
  std::string text;
  while (true) {
    ASSIGN_OR_RETURN(sandbox::ReadResult part,
                     sandbox.Read({path, text.size(), kChunkBytes}, context.stop));
    if (part.total_size > kMaxTextFileBytes || text.size() > kMaxTextFileBytes)
      return Err(ErrorCode::kTooLarge,
                 path + " has " + std::to_string(part.total_size) +
                     " bytes; edit takes files up to " + std::to_string(kMaxTextFileBytes),
                 "use bash, for example sed");
    text += part.bytes;
    if (part.bytes.empty() || text.size() >= part.total_size) return text;
  }
}

class EditTool final : public Tool {
 public:
  EditTool()
      : Tool("edit",
             "Replaces text in a file. old_string must be exactly what the file holds, white space "
             "and line feeds included, and must occur once, unless replace_all is set.",
             {{.name = "path",
               .description = "The file; relative paths are below /workspace.",
               .required = true},
              {.name = "old_string", .description = "The text to replace.", .required = true},
              {.name = "new_string", .description = "The text to put there.", .required = true},
              {.name = "replace_all",
               .type = ParameterType::kBoolean,
               .description = "Replace every occurrence. Default false."}}) {}

 private:
  Result<ToolOutcome> Run(const ToolContext& context, const Arguments& arguments) const override {
    ASSIGN_OR_RETURN(sandbox::Sandbox * sandbox, context.sandbox());
    const std::string& path = arguments.String("path");
    ASSIGN_OR_RETURN(const std::string text, ReadWhole(context, *sandbox, path));
    auto edited = ApplyEdit(text, arguments.String("old_string"), arguments.String("new_string"),
                            arguments.BooleanOr("replace_all", false));
    if (!edited) return std::unexpected(edited.error().With(path));
    RETURN_IF_ERROR(sandbox->Write({.path = path, .bytes = edited->text}, context.stop));
    ToolOutcome outcome{
        .content = "Replaced " + std::to_string(edited->replacements) +
                   (edited->replacements == 1 ? " occurrence in " : " occurrences in ") + path};
    outcome.changes.push_back({path, StateOf(text), StateOf(edited->text)});
    return outcome;
  }
};

std::string DescribeEntry(const sandbox::FileEntry& entry) {
  switch (entry.kind) {
    case sandbox::FileKind::kFile:
      return entry.name + "  " + std::to_string(entry.size);
    case sandbox::FileKind::kDirectory:
      return entry.name + "/";
    case sandbox::FileKind::kSymlink:
      return entry.name + "@";
    case sandbox::FileKind::kOther:
      return entry.name + "?";
  }
  return entry.name;
}

class LsTool final : public Tool {
 public:
  LsTool()
      : Tool("ls",
             "Lists a directory, sorted, hidden entries too: files with their size in bytes, "
             "directories with / after the name, symlinks with @.",
             {{.name = "path", .description = "The directory. Default /workspace."},
              {.name = "limit",
               .type = ParameterType::kInteger,
               .description = "How many entries to show at most. Default 500.",
               .min = 1,
               .max = 2000}}) {}

 private:
  Result<ToolOutcome> Run(const ToolContext& context, const Arguments& arguments) const override {
    ASSIGN_OR_RETURN(sandbox::Sandbox * sandbox, context.sandbox());
    ASSIGN_OR_RETURN(const std::vector<sandbox::FileEntry> entries,
                     sandbox->List(arguments.StringOr("path", "."), false));
    std::string text;
    for (const sandbox::FileEntry& entry : entries) text += DescribeEntry(entry) + "\n";
    TextLimits limits = context.limits.text;
    limits.max_lines = static_cast<std::size_t>(arguments.IntegerOr("limit", 500));
    const CutText cut = KeepStart(text, limits);
    ToolOutcome outcome{.content = entries.empty() ? "[the directory is empty]\n" : cut.text};
    if (cut.cut())
      outcome.content += "[" + std::to_string(cut.omitted_lines) + " of " +
                         std::to_string(entries.size()) + " entries are not shown; set limit]\n";
    return outcome;
  }
};

/// Where `old` begins in `text`, without overlaps.
std::vector<std::size_t> Occurrences(std::string_view text, std::string_view old) {
  std::vector<std::size_t> places;
  for (std::size_t at = text.find(old); at != std::string_view::npos;
       at = text.find(old, at + old.size()))
    places.push_back(at);
  return places;
}

/// "3, 17, 20 and 4 more": the lines on which the places are.
std::string LinesOf(std::string_view text, const std::vector<std::size_t>& places) {
  constexpr std::size_t kNamed = 10;
  std::string lines;
  std::size_t line = 1;
  std::size_t at = 0;
  for (std::size_t i = 0; i < std::min(kNamed, places.size()); ++i) {
    line += static_cast<std::size_t>(std::ranges::count(text.substr(at, places[i] - at), '\n'));
    at = places[i];
    lines += (i == 0 ? "" : ", ") + std::to_string(line);
  }
  if (places.size() > kNamed) lines += " and " + std::to_string(places.size() - kNamed) + " more";
  return lines;
}

/// What may be wrong with an old_string that does not occur.
std::string WhyAbsent(std::string_view text, std::string_view old) {
  std::string with_cr;
  for (const char c : old) {
    if (c == '\n') with_cr += '\r';
    with_cr += c;
  }
  if (with_cr.size() != old.size() && text.find(with_cr) != std::string_view::npos)
    return "the file ends its lines with \\r\\n";
  return "read the file again; white space and line feeds must be the same";
}

}  // namespace

Result<Edited> ApplyEdit(std::string_view text, std::string_view old, std::string_view replacement,
                         bool all) {
  if (old.empty())
    return Err(ErrorCode::kInvalidArgument, "old_string is empty", "use write to make a file");
  if (old == replacement)
    return Err(ErrorCode::kInvalidArgument, "old_string and new_string are the same");
  const std::vector<std::size_t> places = Occurrences(text, old);
  if (places.empty())
    return Err(ErrorCode::kInvalidArgument, "old_string does not occur", WhyAbsent(text, old));
  if (places.size() > 1 && !all)
    return Err(ErrorCode::kInvalidArgument,
               "old_string occurs " + std::to_string(places.size()) + " times, on lines " +
                   LinesOf(text, places),
               "give more of the text around it, or set replace_all");
  Edited edited{.replacements = places.size()};
  edited.text.reserve(text.size() + places.size() * replacement.size());
  std::size_t at = 0;
  for (const std::size_t place : places) {
    edited.text.append(text.substr(at, place - at)).append(replacement);
    at = place + old.size();
  }
  edited.text.append(text.substr(at));
  return edited;
}

std::unique_ptr<Tool> NewReadTool() { return std::make_unique<ReadTool>(); }
std::unique_ptr<Tool> NewWriteTool() { return std::make_unique<WriteTool>(); }
std::unique_ptr<Tool> NewEditTool() { return std::make_unique<EditTool>(); }
std::unique_ptr<Tool> NewLsTool() { return std::make_unique<LsTool>(); }

}  // namespace cofferdam::agent
