// Files that are replaced whole: a reader, or a machine that lost its power, finds the old bytes or
// the new ones and never a mixture.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

#include "base/error.h"

namespace cofferdam::storage {

/// Makes `name` in `directory` (an open descriptor, O_PATH is enough) hold exactly `bytes` with
/// exactly the permissions `mode`, whatever the umask. When it returns without an error the file
/// survives a crash. Several writers may race: one of them wins whole.
///
/// `name` is one component; anything else is ErrorCode::kInvalidArgument. An existing file is
/// replaced, also when it is a symbolic link, which is not followed. After an error the old file is
/// still there, except when only the last step, syncing the directory, failed: then it is one or
/// the other. A crash in between may leave a file called ".tmp-" and 32 hexadecimal digits.
Status WriteFileAtomically(int directory, const std::string& name, std::string_view bytes,
                           mode_t mode);

/// The same for a path that the caller trusts.
Status WriteFileAtomically(const std::string& path, std::string_view bytes, mode_t mode);

/// Makes new, renamed and removed names in `directory` survive a crash. O_PATH is enough.
Status SyncDirectory(int directory);

}  // namespace cofferdam::storage
