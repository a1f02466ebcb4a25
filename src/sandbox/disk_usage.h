// How much disk the files of a workspace take: what lies in its directories, and what its processes
// hold open though it was deleted.
//
// The tree is a tenant's, who may change it while it is counted. No symlink is followed, no mount
// entered, no path put together; the depth and the number of names are bounded by memory only, and
// that by kMaxCountMemory.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/deadline.h"
#include "base/error.h"
#include "sys/fd.h"

namespace cofferdam::sandbox {

/// What a file costs beside its blocks, so that empty files are not free.
inline constexpr std::uint64_t kBytesPerFile = 4096;
/// What a count may need of the host's memory.
inline constexpr std::uint64_t kMaxCountMemory = std::uint64_t{64} << 20;

struct DiskUsage {
  /// Allocated bytes and kBytesPerFile for each file, directory, symlink and the like. A file with
  /// several names counts once; of a sparse one what is allocated.
  std::uint64_t bytes = 0;
  std::uint64_t files = 0;
  /// Of `bytes`: in files that have no name any more.
  std::uint64_t deleted_bytes = 0;
};

/// One count, which can be interrupted. Used by one thread at a time.
class DiskCount {
 public:
  /// `roots` are directories; `workers` the first processes of the sandboxes that use them. A count
  /// that has come above `enough` ends.
  static Result<DiskCount> Begin(const std::vector<std::string>& roots, std::vector<pid_t> workers,
                                 std::uint64_t enough);

  /// Counts on until the deadline; true when all was counted, or enough. kTooLarge for a tree that
  /// needs more than kMaxCountMemory, kBusy for one that was moved in a way that loses the place.
  Result<bool> GoOn(Deadline deadline);

  const DiskUsage& usage() const { return usage_; }
  Status StepForTest() { return Step(); }

 private:
  struct Level {
    sys::UniqueFd fd;  // invalid while deeper levels need the descriptors
    dev_t device = 0;
    ino_t inode = 0;
    bool read = false;
    std::vector<std::string> directories = {};
  };

  explicit DiskCount(std::uint64_t enough) : enough_(enough) {}
  bool Enough() const { return usage_.bytes > enough_; }
  Status Step();
  Status ReadSome(Level& level);
  Status CountEntry(Level& level, const char* name);
  Status Enter(std::string name);
  Status Leave();
  Status CountOpenFiles(pid_t pid, const char* directory);
  Status CountOnce(const struct stat& info, std::uint64_t* also);
  Status Need(std::uint64_t bytes);

  std::uint64_t enough_;
  DiskUsage usage_;
  std::uint64_t memory_ = 0;
  std::vector<sys::UniqueFd> roots_;
  std::set<dev_t> devices_;
  std::vector<Level> levels_;
  std::vector<pid_t> processes_;
  // Files with several names, and deleted ones: by device and inode.
  std::set<std::pair<dev_t, ino_t>> seen_;
};

/// The processes that descend from `ancestor`, which is the first process of a pid namespace, so
/// that none can get away from it. What starts or ends meanwhile may be missing.
std::vector<pid_t> DescendantsOf(pid_t ancestor);

}  // namespace cofferdam::sandbox
