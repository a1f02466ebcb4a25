// A checkpoint as a run's record and its caller get to hear of it.
#pragma once

#include <cstddef>
#include <vector>

#include <cofferdam/run.h>

#include "platform/view.h"
#include "record/events.h"

namespace cofferdam::platform {

/// So many files are told one by one.
inline constexpr std::size_t kMaxToldFiles = 1000;

/// The files that are others now, and then the checkpoint; nothing when none was made. Files that
/// only have another time, directories that came, and what could not be kept are only counted.
std::vector<record::NewEvent> CheckpointEvents(const OpenView::Outcome& outcome);

/// Of an outcome with a checkpoint.
CheckpointEvent PublicCheckpoint(const OpenView::Outcome& outcome);

}  // namespace cofferdam::platform
