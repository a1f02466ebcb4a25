#include "projects/base_index.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>

#include "base/check.h"
#include "crypto/sha256.h"
#include "projects/apply_journal.h"
#include "projects/changes.h"
#include "projects/tree_walk.h"

namespace cofferdam::projects {
namespace {

using Entries = std::map<std::string, BaseEntry, std::less<>>;

constexpr std::string_view kMagic = "cofferdam-base1\n";
constexpr std::uint32_t kMaxMode = 0777;

// Numbers are little-endian, whatever the machine is.
template <typename Number>
void Append(std::string& bytes, Number number) {
  for (std::size_t i = 0; i < sizeof(Number); ++i)
    bytes += static_cast<char>(static_cast<std::uint64_t>(number) >> (8 * i) & 0xFF);
}

std::string_view DigestBytes(const crypto::Sha256Digest& digest) {
  return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

std::unexpected<Error> Corrupt(std::size_t offset, std::string_view what) {
  return Err(ErrorCode::kCorrupt,
             "base index, byte " + std::to_string(offset) + ": " + std::string(what));
}

bool IsPath(std::string_view path) {
  if (path.size() > kMaxChangePathBytes) return false;
  for (;;) {
    const std::size_t length = std::min(path.find('/'), path.size());
    if (!IsName(path.substr(0, length))) return false;
    if (length == path.size()) return true;
    path.remove_prefix(length + 1);
  }
}

class Decoder {
 public:
  explicit Decoder(std::string_view bytes) : bytes_(bytes) {}

  Result<Entries> Decode() {
    if (!bytes_.starts_with(kMagic)) return Corrupt(0, "does not begin as one");
    constexpr std::size_t kDigestBytes = sizeof(crypto::Sha256Digest);
    if (bytes_.size() < kMagic.size() + kDigestBytes) return Corrupt(bytes_.size(), "is cut off");
    const std::string_view content = bytes_.substr(0, bytes_.size() - kDigestBytes);
    if (DigestBytes(crypto::Sha256(content)) != bytes_.substr(content.size()))
      return Corrupt(content.size(), "its checksum is another");
    bytes_ = content;
    at_ = kMagic.size();
    ASSIGN_OR_RETURN(const std::uint64_t count, Take<std::uint64_t>());
    Entries entries;
    for (std::uint64_t i = 0; i < count; ++i) RETURN_IF_ERROR(TakeEntry(entries));
    if (at_ != bytes_.size()) return Corrupt(at_, "goes on after its last entry");
    return entries;
  }

 private:
  template <typename Number>
  Result<Number> Take() {
    if (bytes_.size() - at_ < sizeof(Number)) return Corrupt(at_, "is cut off");
    std::uint64_t number = 0;
    for (std::size_t i = 0; i < sizeof(Number); ++i)
      number |= std::uint64_t{static_cast<unsigned char>(bytes_[at_ + i])} << (8 * i);
    at_ += sizeof(Number);
    return static_cast<Number>(number);
  }

  Status TakeEntry(Entries& entries) {
    const std::size_t begin = at_;
    BaseEntry entry;
    ASSIGN_OR_RETURN(const std::uint8_t kind, Take<std::uint8_t>());
    ASSIGN_OR_RETURN(entry.mode, Take<std::uint16_t>());
    ASSIGN_OR_RETURN(entry.stamp.inode, Take<std::uint64_t>());
    ASSIGN_OR_RETURN(entry.stamp.size, Take<std::uint64_t>());
    ASSIGN_OR_RETURN(entry.stamp.changed_nanos, Take<std::int64_t>());
    ASSIGN_OR_RETURN(const std::uint16_t length, Take<std::uint16_t>());
    if (bytes_.size() - at_ < length) return Corrupt(at_, "is cut off");
    const std::string_view path = bytes_.substr(at_, length);
    at_ += length;
    entry.kind = static_cast<NodeKind>(kind);
    const bool is_known = entry.kind == NodeKind::kFile || entry.kind == NodeKind::kDirectory ||
                          entry.kind == NodeKind::kSymlink || entry.kind == NodeKind::kOther;
    if (!is_known || entry.mode > kMaxMode) return Corrupt(begin, "an entry of no known kind");
    if (!IsPath(path)) return Corrupt(begin, "an entry whose path is none");
    if (!entries.empty() && path <= entries.rbegin()->first)
      return Corrupt(begin, "its paths are not in order");
    entries.emplace_hint(entries.end(), path, entry);
    return {};
  }

  std::string_view bytes_;
  std::size_t at_ = 0;
};

// True when every stamp will fit as long as nothing is changed.
Result<bool> ScanOnce(int root, const std::stop_token& stop, Entries& entries) {
  bool is_settled = true;
  const std::int64_t now = RealTimeNanos();
  const auto visit = [&](const TreeEntry& entry) -> Result<Descend> {
    if (entry.path.size() > kMaxChangePathBytes) return Descend::kNo;
    // Of an apply that was killed, and that will be taken back: nothing of the owner's.
    if (entry.path.starts_with(kStagePrefix)) return Descend::kNo;
    BaseEntry base;
    base.mode = entry.info.st_mode & kMaxMode;
    if (S_ISDIR(entry.info.st_mode)) {
      base.kind = NodeKind::kDirectory;
    } else {
      base.kind = S_ISREG(entry.info.st_mode)   ? NodeKind::kFile
                  : S_ISLNK(entry.info.st_mode) ? NodeKind::kSymlink
                                                : NodeKind::kOther;
      base.stamp = StampOf(entry.info, now);
      is_settled = is_settled && base.stamp.changed_nanos != 0;
    }
    entries.insert_or_assign(entry.path, base);
    return Descend::kYes;
  };
  RETURN_IF_ERROR(WalkTree(root, visit, stop, [](const std::string&) {}));
  return is_settled;
}

bool Fit(const BaseEntry& before, const BaseEntry& now) {
  if (before.kind != now.kind || before.mode != now.mode) return false;
  return before.kind == NodeKind::kDirectory || StampsFit(before.stamp, now.stamp);
}

}  // namespace

Result<BaseIndex> BaseIndex::Scan(int root, const std::stop_token& stop) {
  BaseIndex index;
  ASSIGN_OR_RETURN(const bool is_settled, ScanOnce(root, stop, index.entries_));
  if (is_settled) return index;
  std::this_thread::sleep_for(std::chrono::nanoseconds(kStampSettleNanos));
  index.entries_.clear();
  RETURN_IF_ERROR(ScanOnce(root, stop, index.entries_));
  return index;
}

Result<BaseIndex> BaseIndex::Decode(std::string_view bytes) {
  BaseIndex index;
  ASSIGN_OR_RETURN(index.entries_, Decoder(bytes).Decode());
  return index;
}

std::string BaseIndex::Encode() const {
  std::string bytes(kMagic);
  Append<std::uint64_t>(bytes, entries_.size());
  for (const auto& [path, entry] : entries_) {
    CHECK(IsPath(path));
    Append(bytes, static_cast<std::uint8_t>(entry.kind));
    Append(bytes, static_cast<std::uint16_t>(entry.mode));
    Append(bytes, entry.stamp.inode);
    Append(bytes, entry.stamp.size);
    Append(bytes, entry.stamp.changed_nanos);
    Append(bytes, static_cast<std::uint16_t>(path.size()));
    bytes += path;
  }
  bytes += DigestBytes(crypto::Sha256(bytes));
  return bytes;
}

std::map<std::string, BaseDifference> CompareBases(const BaseIndex& before, const BaseIndex& now) {
  std::map<std::string, BaseDifference> differences;
  for (const auto& [path, entry] : before.entries()) {
    const auto other = now.entries().find(path);
    if (other == now.entries().end())
      differences.emplace(path, BaseDifference::kDeleted);
    else if (!Fit(entry, other->second))
      differences.emplace(path, BaseDifference::kTouched);
  }
  for (const auto& [path, entry] : now.entries())
    if (!before.entries().contains(path)) differences.emplace(path, BaseDifference::kAdded);
  return differences;
}

}  // namespace cofferdam::projects
