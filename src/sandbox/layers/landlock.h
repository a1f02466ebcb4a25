// Landlock: the mount plan said once more, in a layer that does not depend on mounts.
#pragma once

#include <cstdint>

#include "sys/fd.h"

namespace cofferdam::sandbox {

enum class Access : std::uint8_t {
  kList,       // reading directories
  kRead,       // reading and executing
  kReadWrite,  // everything but making devices
};

/// The ABI version that the kernel offers, or 0.
int LandlockAbi();

/// A set of rules that grows until it is put on. Everything that no rule allows is denied.
/// Functions return 0 or an errno.
class LandlockRuleset {
 public:
  /// EOPNOTSUPP when `abi` is 0.
  int Create(int abi);
  /// A path that does not exist is left out.
  int Allow(const char* path, Access access);
  /// What an O_PATH descriptor shows, and everything below it.
  int Allow(int path, Access access);
  /// Confines the calling thread for good, and its signals and abstract sockets to its own domain
  /// where the ABI can. no_new_privs must be set.
  int Restrict() const;

  /// The kernel's descriptor, for a process that closes all others.
  int fd() const { return ruleset_.get(); }

 private:
  sys::UniqueFd ruleset_;
  std::uint64_t handled_ = 0;
};

}  // namespace cofferdam::sandbox
