// flock(2), which locks an open file until its last descriptor is closed. <sys/file.h>, which
// declares it, cannot be included here: our own "sys/file.h" has its place.
#pragma once

#include "base/error.h"

namespace cofferdam::sys {

/// `operation` is LOCK_SH or LOCK_EX of <fcntl.h>; with LOCK_NB a lock that somebody else has is
/// kBusy, without it the call waits.
Status Flock(int fd, int operation);

}  // namespace cofferdam::sys
