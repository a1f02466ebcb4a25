// What a project's directory was like when the agent began: every path with what the kernel said of
// it, so that what its owner changes meanwhile is known from what the agent changes. Bytes on disk:
// docs/formats/base-index.md.
#pragma once

#include <cstdint>
#include <map>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "projects/node.h"

namespace cofferdam::projects {

struct BaseEntry {
  NodeKind kind = NodeKind::kOther;
  std::uint32_t mode = 0;
  /// Of what is no directory.
  Stamp stamp = {};

  bool operator==(const BaseEntry&) const = default;
};

/// By path. Immutable once made; safe to share.
class BaseIndex {
 public:
  /// Looks at everything below `root` (a directory's descriptor, O_PATH is enough). Reads no file.
  /// When something was changed so shortly before that its stamp would fit nothing, it waits for
  /// kStampSettleNanos and looks again. What may not be read, or has a path longer than
  /// kMaxChangePathBytes, is not in it.
  static Result<BaseIndex> Scan(int root, const std::stop_token& stop = {});
  /// kCorrupt, saying what is wrong and where. Bounded by the size of `bytes`.
  static Result<BaseIndex> Decode(std::string_view bytes);
  std::string Encode() const;

  const std::map<std::string, BaseEntry, std::less<>>& entries() const { return entries_; }

 private:
  std::map<std::string, BaseEntry, std::less<>> entries_;
};

/// What differs between two looks at the same directory: a path that is new, gone, or whose stamp,
/// kind or mode is another (a directory has no stamp).
enum class BaseDifference : std::uint8_t { kAdded, kTouched, kDeleted };
std::map<std::string, BaseDifference> CompareBases(const BaseIndex& before, const BaseIndex& now);

}  // namespace cofferdam::projects
