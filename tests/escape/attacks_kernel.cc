// Attacks on the kernel's interfaces: calls that a tool has no use for, and identities that it must
// not change.

#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/perf_event.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sys/fanotify.h>
#include <sys/io.h>
#include <sys/ioctl.h>
#include <sys/klog.h>
#include <sys/personality.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "attacks.h"

namespace cofferdam::attacks {
namespace {

Outcome UserNamespaceByUnshare(Arguments) { return Of(::unshare(CLONE_NEWUSER)); }

// A child of a raw clone goes straight away.
Outcome AfterClone(long pid) {
  if (pid == 0) ::_exit(0);
  if (pid > 0) ::waitpid(static_cast<pid_t>(pid), nullptr, 0);
  return Of(pid);
}
Outcome UserNamespaceByClone(Arguments) {
  return AfterClone(::syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0));
}
Outcome UserNamespaceByClone3(Arguments) {
  clone_args arguments{};
  arguments.flags = CLONE_NEWUSER;
  arguments.exit_signal = SIGCHLD;
  return AfterClone(::syscall(SYS_clone3, &arguments, sizeof(arguments)));
}

Outcome JoinNamespace(Arguments arguments) {
  const int fd = ::open(arguments[0], O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {errno};
  return Of(::setns(fd, 0));
}

Outcome SetHostName(Arguments) { return Of(::sethostname("attacked", 8)); }

constexpr char kKeyText[] = "secret";
Outcome AddKey(Arguments) {
  return Of(::syscall(SYS_add_key, "user", "cofferdam-attack", kKeyText, sizeof(kKeyText),
                      KEY_SPEC_PROCESS_KEYRING));
}
Outcome ReadKeyring(Arguments) {
  return Of(::syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_USER_KEYRING, 1));
}
// A key that is there, so that no program of the host's is asked to make one.
Outcome RequestKey(Arguments arguments) {
  static_cast<void>(AddKey(arguments));
  return Of(::syscall(SYS_request_key, "user", "cofferdam-attack", nullptr, 0));
}

Outcome IoUring(Arguments) {
  std::uint32_t parameters[30] = {};  // struct io_uring_params
  return Of(::syscall(SYS_io_uring_setup, 4, parameters));
}

Outcome BpfMap(Arguments) {
  bpf_attr attributes{};
  attributes.map_type = BPF_MAP_TYPE_ARRAY;
  attributes.key_size = attributes.value_size = 4;
  attributes.max_entries = 1;
  return Of(::syscall(SYS_bpf, BPF_MAP_CREATE, &attributes, sizeof(attributes)));
}

Outcome UserFaultFd(Arguments) {
  constexpr int kUserModeOnly = 1;
  return Of(::syscall(SYS_userfaultfd, O_CLOEXEC | kUserModeOnly));
}

Outcome PerfEvent(Arguments) {
  perf_event_attr attributes{};
  attributes.size = sizeof(attributes);
  attributes.type = PERF_TYPE_SOFTWARE;
  attributes.config = PERF_COUNT_SW_TASK_CLOCK;
  attributes.exclude_kernel = attributes.exclude_hv = 1;
  return Of(::syscall(SYS_perf_event_open, &attributes, 0, -1, -1, 0));
}

// Puts a byte into the input of a terminal, as if its user had typed it.
Outcome TypeIntoTerminal(Arguments) {
  if (::getpid() == ::getsid(0) || ::setsid() >= 0) {
    const int master = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (master < 0 || ::grantpt(master) != 0 || ::unlockpt(master) != 0) return {errno};
    // The first terminal that the leader of a session opens is its controlling one.
    const int terminal = ::open(::ptsname(master), O_RDWR | O_CLOEXEC);
    if (terminal < 0) return {errno};
    return Of(::ioctl(terminal, TIOCSTI, "x"));
  }
  return {errno};
}

// Asks only which console is in front; the same call pastes into it.
Outcome ConsoleSelection(Arguments arguments) {
  constexpr char kForegroundConsole = 12;
  const int terminal = ::open(arguments[0], O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (terminal < 0) return {errno};
  char subcode = kForegroundConsole;
  return Of(::ioctl(terminal, TIOCLINUX, &subcode));
}

Outcome ReadImpliesExec(Arguments) { return Of(::personality(READ_IMPLIES_EXEC)); }

Outcome KernelLog(Arguments) {
  constexpr int kSizeOfBuffer = 10;
  return Of(::klogctl(kSizeOfBuffer, nullptr, 0));
}

Outcome IoPorts(Arguments) {
#ifdef __x86_64__
  return Of(::ioperm(0x80, 1, 1));
#else
  return {ENOSYS};
#endif
}

Outcome LocalDescriptorTable(Arguments) {
#ifdef __x86_64__
  char entry[8];
  return Of(::syscall(SYS_modify_ldt, 0, entry, sizeof(entry)));
#else
  return {ENOSYS};
#endif
}

Outcome CompareKernelObjects(Arguments) {
  constexpr int kFile = 0;
  return Of(::syscall(SYS_kcmp, ::getpid(), ::getpid(), kFile, 0, 0));
}

Outcome WatchFileSystem(Arguments) {
  return Of(::fanotify_init(FAN_CLASS_NOTIF | FAN_REPORT_FID | FAN_CLOEXEC, O_RDONLY));
}

// A filter whose verdicts another process gives.
Outcome SeccompListener(Arguments) {
  sock_filter allow[] = {{BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW}};
  const sock_fprog program{1, allow};
  return Of(
      ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program));
}

Outcome RealTimePriority(Arguments) {
  const sched_param parameters{.sched_priority = 1};
  const Outcome outcome = Of(::sched_setscheduler(0, SCHED_FIFO, &parameters));
  return outcome;
}

constexpr Attack kAttacks[] = {
    {"user_namespace_by_unshare", UserNamespaceByUnshare},
    {"user_namespace_by_clone", UserNamespaceByClone},
    {"user_namespace_by_clone3", UserNamespaceByClone3},
    {"join_namespace", JoinNamespace, 1},
    {"set_host_name", SetHostName},
    {"add_key", AddKey},
    {"read_keyring", ReadKeyring},
    {"request_key", RequestKey},
    {"io_uring", IoUring},
    {"bpf_map", BpfMap},
    {"userfaultfd", UserFaultFd},
    {"perf_event", PerfEvent},
    {"type_into_terminal", TypeIntoTerminal},
    {"console_selection", ConsoleSelection, 1},
    {"read_implies_exec", ReadImpliesExec},
    {"kernel_log", KernelLog},
    {"io_ports", IoPorts},
    {"local_descriptor_table", LocalDescriptorTable},
    {"compare_kernel_objects", CompareKernelObjects},
    {"watch_file_system", WatchFileSystem},
    {"seccomp_listener", SeccompListener},
    {"real_time_priority", RealTimePriority},
};

}  // namespace

std::span<const Attack> KernelAttacks() { return kAttacks; }

}  // namespace cofferdam::attacks
