#include "projects/patch_text.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <optional>
#include <vector>

#include "projects/tree_walk.h"

namespace cofferdam::projects {
namespace {

constexpr std::string_view kNoFile = "/dev/null";
constexpr std::string_view kSpaceBeforeSlash = " /";

// ---- Quoting

/// The letter that stands after a backslash; 0 for what has none.
char EscapeLetter(char byte) {
  switch (byte) {
    case '\a':
      return 'a';
    case '\b':
      return 'b';
    case '\t':
      return 't';
    case '\n':
      return 'n';
    case '\v':
      return 'v';
    case '\f':
      return 'f';
    case '\r':
      return 'r';
    case '"':
    case '\\':
      return byte;
    default:
      return 0;
  }
}

bool IsPlain(char byte) { return byte >= 0x20 && byte < 0x7F && EscapeLetter(byte) == 0; }

void AppendEscaped(char byte, std::string& text) {
  if (IsPlain(byte)) {
    text += byte;
    return;
  }
  text += '\\';
  if (const char letter = EscapeLetter(byte); letter != 0) {
    text += letter;
    return;
  }
  const auto value = static_cast<unsigned char>(byte);
  for (const int shift : {6, 3, 0}) text += static_cast<char>('0' + ((value >> shift) & 7));
}

// ---- Sections

bool IsShown(const std::optional<Node>& node) {
  return node && (node->kind == NodeKind::kFile || node->kind == NodeKind::kSymlink);
}

std::string GitMode(const Node& node) {
  if (node.kind == NodeKind::kSymlink) return "120000";
  return (node.mode & 0100) != 0 ? "100755" : "100644";
}

std::string Header(const std::string& before, const std::string& after) {
  return "diff --git " + QuotedPath("a/", before) + " " + QuotedPath("b/", after) + "\n";
}

std::string Differ(const std::string& before, const std::string& after) {
  return "Binary files " + before + " and " + after + " differ\n";
}

std::string ModeLines(const Node& before, const Node& after) {
  const std::string from = GitMode(before);
  const std::string to = GitMode(after);
  return from == to ? "" : "old mode " + from + "\nnew mode " + to + "\n";
}

std::string AddedSection(const std::string& path, const Node& node) {
  return Header(path, path) + "new file mode " + GitMode(node) + "\n" +
         Differ(std::string(kNoFile), QuotedPath("b/", path));
}

std::string DeletedSection(const std::string& path, const Node& node) {
  return Header(path, path) + "deleted file mode " + GitMode(node) + "\n" +
         Differ(QuotedPath("a/", path), std::string(kNoFile));
}

std::string ModifiedSection(const Change& change) {
  const std::string modes = ModeLines(*change.before, *change.after);
  const bool same_content =
      !change.before_sha256.empty() && change.before_sha256 == change.after_sha256;
  if (same_content && modes.empty()) return "";
  std::string text = Header(change.path, change.path) + modes;
  if (!same_content) text += Differ(QuotedPath("a/", change.path), QuotedPath("b/", change.path));
  return text;
}

std::string RenamedSection(const Change& change) {
  return Header(change.old_path, change.path) + ModeLines(*change.before, *change.after) +
         "similarity index 100%\nrename from " + QuotedPath("", change.old_path) + "\nrename to " +
         QuotedPath("", change.path) + "\n";
}

// ---- Headers

/// One of the two names of a header: with or without quotes, a side, and a path.
struct HeaderName {
  bool is_quoted = false;
  std::string_view path;
};

std::optional<HeaderName> ParseHeaderName(std::string_view text) {
  HeaderName name;
  name.is_quoted = text.starts_with('"');
  if (name.is_quoted) text.remove_prefix(1);
  if (!text.starts_with("a/") && !text.starts_with("b/")) return std::nullopt;
  name.path = text.substr(2);
  return name;
}

std::string WithPrefix(std::string_view prefix, const HeaderName& name) {
  std::string text;
  // Without quotes git takes the space for the end of the name, even where it has put none itself.
  const bool needs_quotes = !name.is_quoted && name.path.contains(kSpaceBeforeSlash);
  if (name.is_quoted || needs_quotes) text += '"';
  text.append(prefix).append(name.path);
  if (needs_quotes) text += '"';
  return text;
}

/// `names` is what stands behind "diff --git ": the same path twice, since nothing is renamed.
std::string UsualNames(std::string_view names) {
  const std::size_t half = names.size() / 2;
  if (names.size() % 2 == 0 || names[half] != ' ') return std::string(names);
  const auto before = ParseHeaderName(names.substr(0, half));
  const auto after = ParseHeaderName(names.substr(half + 1));
  if (!before || !after || before->path != after->path) return std::string(names);
  return WithPrefix("a/", *before) + " " + WithPrefix("b/", *after);
}

// ---- Counts

/// The bytes up to `end`, which it takes from `rest`, too.
std::optional<std::string_view> Take(std::string_view& rest, char end) {
  const std::size_t size = rest.find(end);
  if (size == std::string_view::npos) return std::nullopt;
  const std::string_view field = rest.substr(0, size);
  rest.remove_prefix(size + 1);
  return field;
}

std::optional<std::uint64_t> Number(std::string_view digits) {
  std::uint64_t value = 0;
  const char* end = digits.data() + digits.size();
  const auto [stop, error] = std::from_chars(digits.data(), end, value);
  if (error != std::errc() || stop != end || digits.empty()) return std::nullopt;
  // So that sums of them do not overflow.
  return std::min<std::uint64_t>(value, std::numeric_limits<std::uint32_t>::max());
}

std::optional<std::string_view> PathOnSide(std::string_view name, std::string_view prefix) {
  if (!name.starts_with(prefix) || name.size() == prefix.size()) return std::nullopt;
  return name.substr(prefix.size());
}

std::optional<LineCount> TakeCount(std::string_view& rest) {
  const auto added = Take(rest, '\t');
  if (!added) return std::nullopt;
  const auto removed = Take(rest, '\t');
  const auto nothing = removed ? Take(rest, '\0') : std::nullopt;
  const auto before = nothing ? Take(rest, '\0') : std::nullopt;
  const auto after = before ? Take(rest, '\0') : std::nullopt;
  if (!after || !nothing->empty()) return std::nullopt;
  const bool is_gone = *after == kNoFile;
  const auto path = is_gone ? PathOnSide(*before, "a/") : PathOnSide(*after, "b/");
  if (!path) return std::nullopt;
  LineCount count{.path = std::string(*path)};
  count.binary = *added == "-" && *removed == "-";
  if (count.binary) return count;
  const auto plus = Number(*added);
  const auto minus = Number(*removed);
  if (!plus || !minus) return std::nullopt;
  count.added = *plus;
  count.removed = *minus;
  return count;
}

// ---- The table

std::string Plural(std::uint64_t count, const std::string& noun) {
  return std::to_string(count) + " " + noun + (count == 1 ? "" : "s");
}

std::string Summary(const std::vector<LineCount>& counts) {
  std::uint64_t added = 0;
  std::uint64_t removed = 0;
  for (const LineCount& count : counts) {
    added += count.added;
    removed += count.removed;
  }
  std::string text = " " + Plural(counts.size(), "file") + " changed";
  if (added > 0 || removed == 0) text += ", " + Plural(added, "insertion") + "(+)";
  if (removed > 0 || added == 0) text += ", " + Plural(removed, "deletion") + "(-)";
  return text + "\n";
}

/// How many signs stand for `value` when `most` lines are `room` signs wide; none vanishes.
std::size_t Scaled(std::uint64_t value, std::uint64_t most, std::size_t room) {
  if (most <= room || value == 0) return static_cast<std::size_t>(value);
  return static_cast<std::size_t>(1 + value * (room - 1) / most);
}

/// How many characters a terminal shows, roughly: one for each code point.
std::size_t Width(std::string_view text) {
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](char byte) { return (byte & 0xC0) != 0x80; }));
}

/// The end of a path that is too wide, behind "...".
std::string Shortened(const std::string& name, std::size_t columns) {
  if (Width(name) <= columns) return name;
  std::size_t begin = 0;
  for (std::size_t width = Width(name) + 3; width > columns && begin < name.size(); --width)
    while (++begin < name.size() && (name[begin] & 0xC0) == 0x80) {
    }
  return "..." + name.substr(begin);
}

}  // namespace

std::string QuotedPath(std::string_view prefix, std::string_view path) {
  std::string text(prefix);
  if (std::ranges::all_of(path, IsPlain) && !path.contains(kSpaceBeforeSlash))
    return text.append(path);
  text.insert(text.begin(), '"');
  for (const char byte : path) AppendEscaped(byte, text);
  return text + '"';
}

std::string SectionWithoutContent(const Change& change) {
  if (change.kind == ChangeKind::kRenamed) return RenamedSection(change);
  const bool before = IsShown(change.before);
  const bool after = IsShown(change.after);
  if (before && after && change.before->kind == change.after->kind) return ModifiedSection(change);
  return (before ? DeletedSection(change.path, *change.before) : "") +
         (after ? AddedSection(change.path, *change.after) : "");
}

std::string WithUsualPrefixes(std::string_view patch) {
  constexpr std::string_view kHeader = "diff --git ";
  std::string text;
  text.reserve(patch.size());
  while (!patch.empty()) {
    const std::size_t end = std::min(patch.find('\n'), patch.size());
    const std::string_view line = patch.substr(0, end);
    // No line of a hunk and none of a binary patch begins like that.
    if (line.starts_with(kHeader)) {
      text.append(kHeader).append(UsualNames(line.substr(kHeader.size())));
    } else {
      text.append(line);
    }
    if (end < patch.size()) text += '\n';
    patch.remove_prefix(std::min(end + 1, patch.size()));
  }
  return text;
}

Result<std::map<std::string, LineCount, std::less<>>> ParseNumstat(std::string_view output) {
  std::map<std::string, LineCount, std::less<>> counts;
  while (!output.empty()) {
    const auto count = TakeCount(output);
    if (!count) return Err(ErrorCode::kMalformed, "git's line counts cannot be read");
    // What becomes of another kind is there twice.
    LineCount& sum = counts.try_emplace(count->path, LineCount{.path = count->path}).first->second;
    sum.added += count->added;
    sum.removed += count->removed;
    sum.binary = sum.binary || count->binary;
  }
  return counts;
}

std::string StatTable(const std::vector<LineCount>& counts, std::size_t columns) {
  if (counts.empty()) return "";
  constexpr std::size_t kLeastSigns = 10;
  constexpr std::size_t kMostSigns = 60;
  std::uint64_t most = 0;
  std::size_t widest = 0;
  for (const LineCount& count : counts) {
    most = std::max(most, count.added + count.removed);
    widest = std::max(widest, Width(PathForPerson(count.path)));
  }
  const std::size_t digits = std::max<std::size_t>(3, std::to_string(most).size());
  const std::size_t fixed = digits + 5;  // " " + " | " + number + " "
  const std::size_t room = std::max(columns, fixed + 3 * kLeastSigns) - fixed;
  const std::size_t name_room = std::min(widest, room - kLeastSigns);
  const std::size_t signs = std::min(room - name_room, kMostSigns);
  std::string text;
  for (const LineCount& count : counts) {
    const std::string name = Shortened(PathForPerson(count.path), name_room);
    const std::string number = count.binary ? "Bin" : std::to_string(count.added + count.removed);
    text += " " + name + std::string(name_room - std::min(name_room, Width(name)), ' ') + " | " +
            std::string(digits - number.size(), ' ') + number;
    const std::size_t plus = Scaled(count.added, most, signs / 2);
    const std::size_t minus = Scaled(count.removed, most, signs / 2);
    if (plus + minus > 0) text += " " + std::string(plus, '+') + std::string(minus, '-');
    text += "\n";
  }
  return text + Summary(counts);
}

}  // namespace cofferdam::projects
