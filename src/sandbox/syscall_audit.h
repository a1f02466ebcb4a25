// The host's ear for what a sandbox's seccomp filter refuses, for `--audit-syscalls`.
//
// In such a sandbox the filter of another kind is loaded: where the plain one gives an error, it
// asks a listener that only the host holds. The host answers with the error that the plain filter
// would have given, found in the very bytes that ship, and counts. It never lets a call continue.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "sandbox/layers/seccomp/profile.h"
#include "sys/fd.h"

namespace cofferdam::sandbox {

/// One kind of call that was refused.
struct DeniedCall {
  struct Argument {
    unsigned index;       // from 0
    std::uint32_t value;  // the low 32 bits, which are all that the policy compares
    auto operator<=>(const Argument&) const = default;
  };
  std::string syscall = {};
  /// Those that the policy looks at.
  std::vector<Argument> arguments = {};
  int error_number = 0;
  std::uint64_t count = 0;
};

struct DeniedCalls {
  /// The most frequent first, of equals by name.
  std::vector<DeniedCall> calls;
  /// How many more calls were refused of kinds that came when the table was full.
  std::uint64_t others = 0;
};

/// Owns the listener and the thread that serves it. When this is destroyed the listener is closed:
/// then the kernel refuses with ENOSYS what would have been asked.
class SyscallAudit {
 public:
  /// So many kinds of calls are told apart.
  static constexpr std::size_t kMaxKinds = 256;

  /// `listener` is what seccomp(2) gave for the filter of `profile` that reports.
  static Result<std::unique_ptr<SyscallAudit>> Start(sys::UniqueFd listener,
                                                     SeccompProfile profile);
  ~SyscallAudit();
  SyscallAudit(const SyscallAudit&) = delete;
  SyscallAudit& operator=(const SyscallAudit&) = delete;

  /// What was refused until now. A call is counted before it is answered. Safe from any thread.
  DeniedCalls Denied() const;
  /// Begins to count anew: the start code's probes are none of the tools'.
  void Forget();

 private:
  struct Kind {
    std::uint32_t number;
    std::vector<DeniedCall::Argument> arguments;
    int error_number;
    auto operator<=>(const Kind&) const = default;
  };

  SyscallAudit(sys::UniqueFd wakeup, SeccompProfile profile)
      : wakeup_(std::move(wakeup)), profile_(profile) {}
  /// Until the last process with the filter has ended, or wakeup_ is written.
  void Serve(int listener, std::size_t notification_bytes);
  bool ServeOne(int listener, std::vector<char>& buffer);
  void Count(Kind kind);

  sys::UniqueFd wakeup_;
  SeccompProfile profile_;
  mutable std::mutex mutex_;  // guards what follows
  std::map<Kind, std::uint64_t> counts_;
  std::uint64_t others_ = 0;
  std::jthread thread_;  // last: it uses all of the above
};

/// "socket(0x28, 0x1, 0x0)": the arguments that decided, "_" for those that did not.
std::string CallText(const DeniedCall& call);

}  // namespace cofferdam::sandbox
