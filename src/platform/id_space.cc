#include "platform/id_space.h"

#include <algorithm>
#include <charconv>

#include "base/check.h"
#include "base/split.h"
#include "sys/file.h"

namespace cofferdam::platform {
namespace {

// See docs/decisions/ids.md.
constexpr std::uint64_t kBegin = 2'000'203'776;
constexpr std::uint64_t kEnd = 2'147'352'576;
constexpr std::uint64_t kContainersBegin = 16'384;
constexpr std::uint64_t kSystemBegin = 57'344;
constexpr std::uint64_t kSystemEnd = 65'536;
constexpr std::uint64_t kContainersEnd = 2'147'483'648;

template <typename Number>
std::optional<Number> ParseNumber(std::string_view text, int base = 10) {
  Number number = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number, base);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) return std::nullopt;
  return number;
}

Result<std::string> ReadNames(const std::string& path) {
  constexpr std::size_t kMaxBytes = 64 << 20;
  auto text = sys::ReadFile(path, kMaxBytes);
  if (!text && text.error().code == ErrorCode::kNotFound) return std::string();
  return text;
}

}  // namespace

// Ids as this process sees them: the first column, and how many.
IdSpace::Spans IdSpace::Mapped(std::string_view id_map) {
  Spans spans;
  for (const std::string_view line : SplitNonEmpty(id_map, '\n')) {
    const auto fields = SplitNonEmpty(line, ' ');
    if (fields.size() != 3) continue;
    const auto begin = ParseNumber<std::uint32_t>(fields[0]);
    const auto count = ParseNumber<std::uint32_t>(fields[2]);
    if (begin && count) spans.push_back({*begin, std::uint64_t{*begin} + *count});
  }
  std::ranges::sort(spans, {}, &Span::begin);
  return spans;
}

// Lines of fields between colons: an id, followed by how many, or alone. What is no such line means
// nothing to the programs that read these files either.
void IdSpace::AddLines(std::string_view text, std::size_t first_field, bool has_count,
                       Spans& taken) {
  for (const std::string_view line : SplitNonEmpty(text, '\n')) {
    const auto fields = Split(line, ':');
    if (fields.size() <= first_field + (has_count ? 1 : 0)) continue;
    const auto begin = ParseNumber<std::uint32_t>(fields[first_field]);
    const auto count = has_count ? ParseNumber<std::uint32_t>(fields[first_field + 1]) : 1;
    if (begin && count) taken.push_back({*begin, std::uint64_t{*begin} + *count});
  }
}

IdSpace::Spans IdSpace::Common(const Spans& left, const Spans& right) {
  Spans common;
  for (const Span& one : left)
    for (const Span& other : right) {
      const Span both{std::max(one.begin, other.begin), std::min(one.end, other.end)};
      if (both.begin < both.end) common.push_back(both);
    }
  return common;
}

IdSpace::Spans IdSpace::Without(const Spans& spans, const Spans& taken) {
  Spans left = spans;
  for (const Span& hole : taken) {
    Spans next;
    for (const Span& span : left) {
      if (span.begin < std::min(span.end, hole.begin))
        next.push_back({span.begin, std::min(span.end, hole.begin)});
      if (std::max(span.begin, hole.end) < span.end)
        next.push_back({std::max(span.begin, hole.end), span.end});
    }
    left = std::move(next);
  }
  return left;
}

IdSpace::Spans IdSpace::WholeRanges(const Spans& spans) {
  Spans whole;
  for (const Span& span : spans) {
    const std::uint64_t begin = (span.begin + kIdsPerWorkspace - 1) / kIdsPerWorkspace;
    const std::uint64_t end = span.end / kIdsPerWorkspace;
    if (begin < end) whole.push_back({begin * kIdsPerWorkspace, end * kIdsPerWorkspace});
  }
  return whole;
}

IdSpace::IdSpace(const IdFacts& facts) {
  const Spans mapped = Common(Mapped(facts.uid_map), Mapped(facts.gid_map));
  Spans taken;
  AddLines(facts.subuid, 1, true, taken);
  AddLines(facts.subgid, 1, true, taken);
  AddLines(facts.passwd, 2, false, taken);
  AddLines(facts.passwd, 3, false, taken);
  AddLines(facts.group, 2, false, taken);
  const auto free_in = [&](const Spans& place) {
    return WholeRanges(Without(Common(mapped, place), taken));
  };
  free_ = free_in({{kBegin, kEnd}});
  if (free_.empty())
    free_ = free_in({{kContainersBegin, kSystemBegin}, {kSystemEnd, kContainersEnd}});
  std::ranges::sort(free_, {}, &Span::begin);
}

Result<IdSpace> IdSpace::OfThisMachine() {
  IdFacts facts;
  ASSIGN_OR_RETURN(facts.uid_map, sys::ReadFile("/proc/self/uid_map"));
  ASSIGN_OR_RETURN(facts.gid_map, sys::ReadFile("/proc/self/gid_map"));
  ASSIGN_OR_RETURN(facts.subuid, ReadNames("/etc/subuid"));
  ASSIGN_OR_RETURN(facts.subgid, ReadNames("/etc/subgid"));
  ASSIGN_OR_RETURN(facts.passwd, ReadNames("/etc/passwd"));
  ASSIGN_OR_RETURN(facts.group, ReadNames("/etc/group"));
  return IdSpace(facts);
}

std::uint32_t IdSpace::size() const {
  std::uint64_t ids = 0;
  for (const Span& span : free_) ids += span.end - span.begin;
  return static_cast<std::uint32_t>(ids / kIdsPerWorkspace);
}

std::string IdSpace::Describe() const {
  if (free_.empty()) return "nowhere";
  return std::to_string(free_.front().begin) + " to " + std::to_string(free_.back().end - 1);
}

std::optional<std::uint32_t> IdSpace::AtOrAbove(std::uint32_t id) const {
  const std::uint64_t wanted =
      (std::uint64_t{id} + kIdsPerWorkspace - 1) / kIdsPerWorkspace * kIdsPerWorkspace;
  for (const Span& span : free_)
    if (wanted < span.end) return static_cast<std::uint32_t>(std::max(wanted, span.begin));
  return std::nullopt;
}

std::uint32_t IdSpace::StartFor(std::string_view platform_id) const {
  constexpr std::size_t kDigits = 8;
  constexpr int kHexadecimal = 16;
  CHECK(!free_.empty() && platform_id.size() >= kDigits);
  const std::string_view digits = platform_id.substr(platform_id.size() - kDigits);
  const std::uint64_t number = ParseNumber<std::uint32_t>(digits, kHexadecimal).value_or(0);
  std::uint64_t skip = number % size() * kIdsPerWorkspace;
  for (const Span& span : free_) {
    if (skip < span.end - span.begin) return static_cast<std::uint32_t>(span.begin + skip);
    skip -= span.end - span.begin;
  }
  CHECK(false && "more ranges than there are");
}

}  // namespace cofferdam::platform
