#include "sandbox/layers/confine.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "sandbox/layers/seccomp/filters.h"
#include "sys/fd.h"
#include "sys/message.h"

namespace cofferdam::sandbox {
namespace {

int WriteProcFile(int proc, const char* name, const char* text) {
  const sys::UniqueFd fd(::openat(proc, name, O_WRONLY | O_CLOEXEC));
  if (!fd.valid()) return errno;
  const auto length = static_cast<ssize_t>(std::strlen(text));
  return ::write(fd.get(), text, static_cast<std::size_t>(length)) == length ? 0 : errno;
}

// One uid and one gid: the caller's own effective ones, which it may map without any privilege.
int WriteIdMaps(const LaunchRequest& request, int proc) {
  const sys::UniqueFd self(::openat(proc, "self", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!self.valid()) return errno;
  char line[64];
  if (const int error_number = WriteProcFile(self.get(), "setgroups", "deny")) return error_number;
  std::snprintf(line, sizeof(line), "%u %u 1\n", kInnerGid, request.outer_gid);
  if (const int error_number = WriteProcFile(self.get(), "gid_map", line)) return error_number;
  std::snprintf(line, sizeof(line), "%u %u 1\n", kInnerUid, request.outer_uid);
  return WriteProcFile(self.get(), "uid_map", line);
}

int Mount(const char* type, const char* target, unsigned long flags, const char* options) {
  return ::mount(type, target, type, flags, options) == 0 ? 0 : errno;
}

int MountProc() { return Mount("proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr); }

// All three ids: the launcher's real uid would otherwise remain that of the host's root.
int SetIdentity() {
  if (::setresgid(kInnerGid, kInnerGid, kInnerGid) != 0) return errno;
  if (::setresuid(kInnerUid, kInnerUid, kInnerUid) != 0) return errno;
  return 0;
}

int Limit(int resource, std::uint64_t wanted) {
  rlimit limit;
  if (::getrlimit(static_cast<__rlimit_resource_t>(resource), &limit) != 0) return errno;
  // Never above the hard limit that we came with: that would need a capability.
  limit.rlim_cur = limit.rlim_max = std::min<rlim_t>(wanted, limit.rlim_max);
  return ::setrlimit(static_cast<__rlimit_resource_t>(resource), &limit) == 0 ? 0 : errno;
}

int SetLimits(const LaunchRequest& request) {
  // One byte of core is too little to write one, and tells a piped core handler not to run.
  constexpr std::uint64_t kCoreBytes = 1;
  const std::array<std::pair<int, std::uint64_t>, 8> limits = {{
      {RLIMIT_CORE, kCoreBytes},
      {RLIMIT_NOFILE, request.max_open_files},
      {RLIMIT_NPROC, request.max_processes},
      {RLIMIT_FSIZE, request.max_file_bytes == 0 ? RLIM_INFINITY : request.max_file_bytes},
      {RLIMIT_MEMLOCK, 8u << 20},
      {RLIMIT_MSGQUEUE, 819200},
      {RLIMIT_SIGPENDING, 4096},
      {RLIMIT_RTPRIO, 0},
  }};
  for (const auto& [resource, wanted] : limits)
    if (const int error_number = Limit(resource, wanted)) return error_number;
  return 0;
}

int DropCapabilities() {
  // Up to the first that the kernel does not know.
  int capability = 0;
  while (::prctl(PR_CAPBSET_DROP, capability) == 0) ++capability;
  if (errno != EINVAL || capability == 0) return errno;
  if (::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0) return errno;
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct none[2]{};
  return ::syscall(SYS_capset, &header, none) == 0 ? 0 : errno;
}

int SetNoNewPrivs() { return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 ? 0 : errno; }

// Nothing in /proc is to be written by a tool; it could make itself the last to die of memory.
int RestrictPaths(const StartParts& parts) {
  if (parts.landlock_error != 0) return parts.landlock_error;
  if (const int error_number = parts.landlock.Allow("/proc", Access::kRead)) return error_number;
  return parts.landlock.Restrict();
}

// When calls are audited, `listener` is what answers for the filter.
int LoadFilter(const LaunchRequest& request, sys::UniqueFd& listener) {
  const bool audit = request.audit_syscalls != 0;
  const auto filter =
      seccomp::Filter(seccomp::kNativeMachine, request.seccomp_profile,
                      audit ? seccomp::Denials::kReported : seccomp::Denials::kAnswered);
  // The kernel copies the program and does not write to it.
  sock_fprog program{static_cast<unsigned short>(filter.size()),
                     const_cast<sock_filter*>(filter.data())};  // NOLINT
  // A call that waits for its answer ends for no signal but SIGKILL, so that it is made once.
  const unsigned flags =
      audit ? SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV : 0;
  const long loaded = ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
  if (loaded < 0) return errno;
  if (audit) listener.Reset(static_cast<int>(loaded));
  return 0;
}

// Before anything that the filter refuses: only the host, with the only listener, can answer it.
int HandOverListener(int channel, sys::UniqueFd listener) {
  const int fds[] = {listener.get()};
  const auto passed = listener.valid() ? std::span(fds) : std::span<const int>();
  const Status sent = sys::SendMessage(channel, {&kListenerMessage, 1}, passed);
  return sent ? 0 : sent.error().sys_errno;
}

int SetUndumpable() { return ::prctl(PR_SET_DUMPABLE, 0) == 0 ? 0 : errno; }
int SetParentDeathSignal() { return ::prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 ? 0 : errno; }

int ProbeLandlock() {
  const sys::UniqueFd fd(::open(kLandlockProbePath, O_RDONLY | O_CLOEXEC));
  return fd.valid() ? 0 : errno;
}
int ProbeSeccomp() { return ::unshare(0) == 0 ? 0 : errno; }

// Setting no parameters of another process than the worker: EINVAL from the kernel, unless a filter
// that allows nothing to others says EPERM before.
int ProbeSeccompProfile() {
  constexpr int kOther = 2;
  return ::sched_setparam(kOther, nullptr) == 0 ? 0 : errno;
}

timespec Now() {
  timespec now;
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return now;
}

// Runs the steps in order and remembers the first failure; a layer that is skipped is not tried,
// one that may be missing is noted and passed over.
class Steps {
 public:
  Steps(const LaunchRequest& request, StartReport& report)
      : skip_(request.skip_layers), optional_(request.optional_layers), report_(report) {}

  template <typename Function>
  void Run(Step step, Layer layer, Function&& function) {
    if (report_.failed_step != Step::kNone || skip_.Has(layer)) return;
    const int error_number = function();
    report_.step_done_nanos[static_cast<std::size_t>(step)] = NanosSinceStart();
    if (error_number == 0) return;
    if (optional_.Has(layer)) {
      report_.missing_layers |= LayerSet().With(layer).bits();
      return;
    }
    report_.failed_step = step;
    report_.error_number = error_number;
  }

 private:
  std::uint32_t NanosSinceStart() const {
    const timespec now = Now();
    return static_cast<std::uint32_t>((now.tv_sec - start_.tv_sec) * 1'000'000'000 + now.tv_nsec -
                                      start_.tv_nsec);
  }

  const timespec start_ = Now();
  LayerSet skip_;
  LayerSet optional_;
  StartReport& report_;
};

}  // namespace

StartReport Confine(const LaunchRequest& request, const StartParts& parts) {
  StartReport report{};
  report.magic = StartReport::kMagic;
  report.landlock_abi = parts.landlock_abi;
  Steps steps(request, report);
  sys::UniqueFd listener;
  steps.Run(Step::kIdMaps, Layer::kUserNamespace, [&] { return WriteIdMaps(request, parts.proc); });
  ::close(parts.proc);
  steps.Run(Step::kMountProc, Layer::kRoot, [] { return MountProc(); });
  steps.Run(Step::kIdentity, Layer::kIdentity, [] { return SetIdentity(); });
  steps.Run(Step::kRlimits, Layer::kRlimits, [&] { return SetLimits(request); });
  steps.Run(Step::kCapabilities, Layer::kCapabilities, [] { return DropCapabilities(); });
  steps.Run(Step::kNoNewPrivs, Layer::kNoNewPrivs, [] { return SetNoNewPrivs(); });
  steps.Run(Step::kLandlock, Layer::kLandlock, [&] { return RestrictPaths(parts); });
  steps.Run(Step::kSeccomp, Layer::kSeccomp, [&] { return LoadFilter(request, listener); });
  if (request.audit_syscalls != 0) {
    const int error_number = HandOverListener(parts.channel, std::move(listener));
    steps.Run(Step::kSeccomp, Layer::kSeccomp, [&] { return error_number; });
  }
  steps.Run(Step::kUndumpable, Layer::kUndumpable, [] { return SetUndumpable(); });
  // Last but for the probes: a change of ids clears it.
  steps.Run(Step::kParentDeath, Layer::kIdentity, [] { return SetParentDeathSignal(); });
  report.landlock_probe_errno = ProbeLandlock();
  report.seccomp_probe_errno = ProbeSeccomp();
  report.seccomp_profile_errno = ProbeSeccompProfile();
  return report;
}

}  // namespace cofferdam::sandbox
