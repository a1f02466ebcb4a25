// Which host ids this machine has left for workspaces: ranges of ids that nobody else is given.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace cofferdam::platform {

/// How many uids, and as many gids of the same numbers, a workspace has. A range begins at a
/// multiple of this.
inline constexpr std::uint32_t kIdsPerWorkspace = 4096;

/// The texts from which the free ids follow.
struct IdFacts {
  std::string uid_map = {};  // /proc/self/uid_map and gid_map
  std::string gid_map = {};
  std::string subuid = {};  // /etc/subuid and subgid
  std::string subgid = {};
  std::string passwd = {};  // /etc/passwd and group
  std::string group = {};
};

/// The ranges that may be given to workspaces, in ascending order. Immutable.
///
/// They lie between 2000203776 and 2147352575: systemd gives these ids to nobody, they are above
/// those that SSSD makes up for directory users, and below what it and the kernel keep for
/// themselves. In a container that does not map them: anywhere from 16384 on that is mapped, but
/// for 57344 to 65535, where systemd's own users are. Ranges that hold an id of /etc/subuid,
/// /etc/subgid, /etc/passwd or /etc/group are left out. docs/decisions/ids.md has the reasons.
class IdSpace {
 public:
  explicit IdSpace(const IdFacts& facts);
  /// From this process and this machine, now. A file in /etc that is missing names nobody.
  static Result<IdSpace> OfThisMachine();

  /// How many ranges there are; 0 where fewer than 4,096 ids are mapped.
  std::uint32_t size() const;
  /// Where the ranges begin and end: "2000203776 to 2147352575".
  std::string Describe() const;
  /// The first id of the first range that begins at `id` or above it.
  std::optional<std::uint32_t> AtOrAbove(std::uint32_t id) const;
  /// Where a platform begins to look, so that two platforms on one machine begin apart: by the last
  /// digits of its id, which are random. There must be a range.
  std::uint32_t StartFor(std::string_view platform_id) const;

 private:
  // Ids from `begin` to below `end`; multiples of kIdsPerWorkspace, ascending.
  struct Span {
    std::uint64_t begin;
    std::uint64_t end;
  };
  using Spans = std::vector<Span>;

  static Spans Mapped(std::string_view id_map);
  static void AddLines(std::string_view text, std::size_t first_field, bool has_count,
                       Spans& taken);
  static Spans Common(const Spans& left, const Spans& right);
  static Spans Without(const Spans& spans, const Spans& taken);
  static Spans WholeRanges(const Spans& spans);

  Spans free_;
};

}  // namespace cofferdam::platform
