// The steps of an apply, there and back. Everything by descriptors beneath the project; whose turn
// a step is, is decided by what lies where, so that a way back that was interrupted can be gone
// again.
#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <map>
#include <span>
#include <string>

#include "base/error.h"
#include "projects/apply_journal.h"

namespace cofferdam::projects {

/// Whether the look `b` is of the same thing as the look `a`, unchanged in between. What is in a
/// directory does not count.
bool IsSame(const struct stat& a, const struct stat& b);

/// Two directories: the project, and the stage in it. Borrowed.
struct Ground {
  int project = -1;
  int stage = -1;
};

/// What it means for an apply that a place in the project could not be opened: kConflict when the
/// way to `path` is another than it was.
std::unexpected<Error> FailureAt(const std::string& path, const Error& error);

/// What lay at each path when the apply was planned, of those that are to go or to change.
using Seen = std::map<std::string, struct stat>;

/// Does the step of that number. A directory goes with all that is in it, which must be in `seen`.
/// kConflict when something else lies there now; the step is then done all the same, or is not:
/// UndoSteps. kUnsupported where the file system cannot do it.
Status DoStep(const Ground& ground, const Step& step, std::size_t number, const Seen& seen);

/// Takes back those of the steps that were done, the last one first. What somebody else has written
/// or made since at a path stays, and the path is left as it is.
Status UndoSteps(const Ground& ground, std::span<const Step> steps);

}  // namespace cofferdam::projects
