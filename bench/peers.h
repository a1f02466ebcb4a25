// Other ways to run the stamp payload, from a bare exec to other sandboxes.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace cofferdam::bench {

/// One of them. Not thread-safe.
struct Peer {
  /// "bwrap": the row is <name>_first_instruction.
  std::string name;
  /// Microseconds from the request to the payload's first instruction; nothing when it does not run
  /// here, which is then said on standard error.
  std::function<std::optional<double>()> measure;
};

/// bubblewrap, crun and firejail, each as strict as it can be, and exec without any sandbox by
/// posix_spawn and by fork. `directory` is for their files. To be made while there is one thread.
std::vector<Peer> AllPeers(const std::string& directory);

}  // namespace cofferdam::bench
