// Taking an agent's changes over into the project: all of them or none, also when the machine stops
// in the middle.
//
// The new files are written beside the project's (in <project>/.cofferdam-apply-<id>, same file
// system), the journal says what is to be exchanged for what and is synced, then every path is
// exchanged by renameat2, then the journal says that it is done. What finds the journal without
// that word exchanges everything back. Bytes on disk: docs/formats/apply-journal.md.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "projects/base_index.h"
#include "projects/changes.h"
#include "projects/checkpoints.h"

namespace cofferdam::projects {

/// A path that the owner of the project has changed, too, so that nothing is applied.
struct Conflict {
  std::string path;
  /// A sentence.
  std::string why;

  bool operator==(const Conflict&) const = default;
};

/// A bigger text is not merged.
inline constexpr std::uint64_t kMaxMergeBytes = 4 << 20;

/// Merges three contents of a text file: the common one, the project's, the agent's. Nothing when
/// they contradict each other.
using Merge = std::function<Result<std::optional<std::string>>(
    const std::string& base, const std::string& project, const std::string& agent)>;

struct ApplyPlan {
  /// What is to be done. Files of any size are in it; what can never be applied (devices, fifos,
  /// sockets, and what calls itself a stage of ours) or could not be read is in `left_out`. What
  /// the project has already is in neither.
  ChangeList list;
  /// Not empty: it must not be applied.
  std::vector<Conflict> conflicts;
  /// Paths whose content is merged, with the merged bytes.
  std::vector<std::pair<std::string, std::string>> merged;
  /// What lies in the project at each path that changes or goes, as lstat said it when it was
  /// compared.
  std::map<std::string, struct stat> seen;
};

/// Looks whether the changes fit the project as it is now: a path that its owner has not touched
/// since `base`, or whose content is the one that `checkpoints` has kept as the first one, is free
/// to be changed. A text that both have changed is merged; everything else that both have changed,
/// and what the owner has put into a directory that the agent removed, is a conflict. A file that
/// the agent only renamed is renamed with what is in it now. Reads the project and the upper, which
/// nobody should be writing.
Result<ApplyPlan> PlanApply(const LayerView& upper, int project, const BaseIndex& base,
                            const std::string& view, Checkpoints& checkpoints, const Merge& merge,
                            const std::stop_token& stop);

/// Applies a plan without conflicts. `journal_directory` is the workspace's (trusted, no
/// sandbox's). A path that has changed since the plan was made ends it with kConflict and
/// everything is as it was. New files belong to the owner of the directory that they come into;
/// changed ones keep owner and group, as far as whoever calls may give them away; setuid bits are
/// never set, and what else hangs on a changed file (hard links, access control lists) does not
/// come along. kBusy when somebody else is applying to the project, or when an earlier apply has
/// not been finished or taken back. Other errors also leave everything as it was; what cannot be
/// taken back at once is left to RecoverApply. After success the upper is to be emptied, and then
/// FinishApply called.
Status Apply(const ApplyPlan& plan, const LayerView& upper, int project, int journal_directory);

/// After a start: finishes, or takes back, an Apply that was killed. True when it had been done, so
/// that the upper is to be emptied; false when it was taken back; nothing when there was none.
Result<std::optional<bool>> RecoverApply(int project, int journal_directory);
/// The upper has been emptied: forgets the journal.
Status FinishApply(int journal_directory);

}  // namespace cofferdam::projects
