#include "sandbox/layers/seccomp/policy.h"

#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cerrno>
#include <initializer_list>
#include <iterator>
#include <utility>

namespace cofferdam::sandbox::seccomp {
namespace {

// Harmless in a sandbox whatever the arguments: they act on the caller's own memory, descriptors
// and processes, or on files that mounts, ids and Landlock guard.
constexpr std::initializer_list<const char*> kAllowed = {
    // files
    "access",
    "chdir",
    "chmod",
    "chown",
    "close",
    "close_range",
    "copy_file_range",
    "creat",
    "dup",
    "dup2",
    "dup3",
    "faccessat",
    "faccessat2",
    "fadvise64",
    "fallocate",
    "fchdir",
    "fchmod",
    "fchmodat",
    "fchmodat2",
    "fchown",
    "fchownat",
    "fcntl",
    "fdatasync",
    "fgetxattr",
    "flistxattr",
    "flock",
    "fremovexattr",
    "fsetxattr",
    "fstat",
    "fstatfs",
    "fsync",
    "ftruncate",
    "futimesat",
    "getcwd",
    "getdents",
    "getdents64",
    "getxattr",
    "inotify_add_watch",
    "inotify_init",
    "inotify_init1",
    "inotify_rm_watch",
    "lchown",
    "lgetxattr",
    "link",
    "linkat",
    "listxattr",
    "llistxattr",
    "lremovexattr",
    "lseek",
    "lsetxattr",
    "lstat",
    "mkdir",
    "mkdirat",
    "newfstatat",
    "open",
    "openat",
    "openat2",
    "pipe",
    "pipe2",
    "pread64",
    "preadv",
    "preadv2",
    "pwrite64",
    "pwritev",
    "pwritev2",
    "read",
    "readahead",
    "readlink",
    "readlinkat",
    "readv",
    "removexattr",
    "rename",
    "renameat",
    "renameat2",
    "rmdir",
    "sendfile",
    "setxattr",
    "splice",
    "stat",
    "statfs",
    "statx",
    "symlink",
    "symlinkat",
    "sync",
    "sync_file_range",
    "syncfs",
    "tee",
    "truncate",
    "umask",
    "unlink",
    "unlinkat",
    "utime",
    "utimensat",
    "utimes",
    "write",
    "writev",
    // memory
    "brk",
    "get_mempolicy",
    "madvise",
    "membarrier",
    "memfd_create",
    "mincore",
    "mlock",
    "mlock2",
    "mlockall",
    "mmap",
    "mprotect",
    "mremap",
    "msync",
    "munlock",
    "munlockall",
    "munmap",
    "pkey_alloc",
    "pkey_free",
    "pkey_mprotect",
    // processes, signals, futexes
    "alarm",
    "arch_prctl",
    "execve",
    "execveat",
    "exit",
    "exit_group",
    "fork",
    "futex",
    "futex_waitv",
    "getitimer",
    "getpgid",
    "getpgrp",
    "getpid",
    "getppid",
    "getpriority",
    "getsid",
    "gettid",
    "ioprio_get",
    "kill",
    "pause",
    "pidfd_open",
    "pidfd_send_signal",
    "restart_syscall",
    "rseq",
    "rt_sigaction",
    "rt_sigpending",
    "rt_sigprocmask",
    "rt_sigqueueinfo",
    "rt_sigreturn",
    "rt_sigsuspend",
    "rt_sigtimedwait",
    "rt_tgsigqueueinfo",
    "sched_get_priority_max",
    "sched_get_priority_min",
    "sched_getaffinity",
    "sched_getattr",
    "sched_getparam",
    "sched_getscheduler",
    "sched_rr_get_interval",
    "sched_yield",
    "set_robust_list",
    "set_tid_address",
    "setitimer",
    "setpgid",
    "setsid",
    "sigaltstack",
    "tgkill",
    "tkill",
    "vfork",
    "wait4",
    "waitid",
    // ids: every one is refused by the kernel or leads nowhere, with one uid in the map
    "capget",
    "capset",
    "getegid",
    "geteuid",
    "getgid",
    "getgroups",
    "getresgid",
    "getresuid",
    "getuid",
    "setfsgid",
    "setfsuid",
    "setgid",
    "setgroups",
    "setregid",
    "setresgid",
    "setresuid",
    "setreuid",
    "setuid",
    // facts
    "getcpu",
    "getrandom",
    "getrlimit",
    "getrusage",
    "setrlimit",
    "sysinfo",
    "times",
    "uname",
    // time
    "clock_getres",
    "clock_gettime",
    "clock_nanosleep",
    "gettimeofday",
    "nanosleep",
    "time",
    "timer_create",
    "timer_delete",
    "timer_getoverrun",
    "timer_gettime",
    "timer_settime",
    "timerfd_create",
    "timerfd_gettime",
    "timerfd_settime",
    // waiting
    "epoll_create",
    "epoll_create1",
    "epoll_ctl",
    "epoll_pwait",
    "epoll_pwait2",
    "epoll_wait",
    "eventfd",
    "eventfd2",
    "poll",
    "ppoll",
    "pselect6",
    "select",
    "signalfd",
    "signalfd4",
    // sockets that exist, and System V and POSIX queues of the sandbox's own ipc namespace
    "accept",
    "accept4",
    "bind",
    "connect",
    "getpeername",
    "getsockname",
    "getsockopt",
    "listen",
    "recvfrom",
    "recvmmsg",
    "recvmsg",
    "sendmmsg",
    "sendmsg",
    "sendto",
    "setsockopt",
    "shutdown",
    "mq_getsetattr",
    "mq_notify",
    "mq_open",
    "mq_timedreceive",
    "mq_timedsend",
    "mq_unlink",
    "msgctl",
    "msgget",
    "msgrcv",
    "msgsnd",
    "semctl",
    "semget",
    "semop",
    "semtimedop",
    "shmat",
    "shmctl",
    "shmdt",
    "shmget",
    // restricting oneself further
    "landlock_add_rule",
    "landlock_create_ruleset",
    "landlock_restrict_self",
};

// Known, and not for a sandbox.
constexpr std::initializer_list<const char*> kRefused = {
    "_sysctl",
    "acct",
    "add_key",
    "adjtimex",
    "bpf",
    "chroot",
    "clock_adjtime",
    "clock_settime",
    "delete_module",
    "fanotify_init",
    "fanotify_mark",
    "finit_module",
    "fsconfig",
    "fsmount",
    "fsopen",
    "fspick",
    "get_robust_list",
    "init_module",
    "io_cancel",
    "io_destroy",
    "io_getevents",
    "io_setup",
    "io_submit",
    "io_uring_enter",
    "io_uring_register",
    "io_uring_setup",
    "ioperm",
    "iopl",
    "kcmp",
    "kexec_file_load",
    "kexec_load",
    "keyctl",
    "lookup_dcookie",
    "mbind",
    "migrate_pages",
    "modify_ldt",
    "mount",
    "mount_setattr",
    "move_mount",
    "move_pages",
    "name_to_handle_at",
    "nfsservctl",
    "open_by_handle_at",
    "open_tree",
    "perf_event_open",
    "pidfd_getfd",
    "pivot_root",
    "process_madvise",
    "process_mrelease",
    "process_vm_readv",
    "process_vm_writev",
    "ptrace",
    "quotactl",
    "quotactl_fd",
    "reboot",
    "remap_file_pages",
    "request_key",
    "seccomp",
    "set_mempolicy",
    "set_mempolicy_home_node",
    "setdomainname",
    "sethostname",
    "setns",
    "settimeofday",
    "swapoff",
    "swapon",
    "sysfs",
    "syslog",
    "umount2",
    "unshare",
    "uselib",
    "userfaultfd",
    "ustat",
    "vhangup",
    "vmsplice",
};

constexpr std::uint32_t kAllBits = 0xffffffff;
constexpr std::uint32_t kSocketTypeMask = 0xf;

// TIOCSTI and TIOCLINUX put bytes into a terminal that somebody else reads.
constexpr std::uint32_t kTiocsti = 0x5412;
constexpr std::uint32_t kTioclinux = 0x541c;

// Terminals, plain descriptors, reflinks, and reading the attributes of files and interfaces.
std::vector<std::uint32_t> AllowedIoctls() {
  return {
      0x5401,     0x5402,
      0x5403,     0x5404,  // TCGETS, TCSETS, TCSETSW, TCSETSF
      0x5405,     0x5406,
      0x5407,     0x5408,  // TCGETA, TCSETA, TCSETAW, TCSETAF
      0x5409,     0x540a,
      0x540b,     0x540c,  // TCSBRK, TCXONC, TCFLSH, TIOCEXCL
      0x540d,     0x540e,
      0x540f,     0x5410,  // TIOCNXCL, TIOCSCTTY, TIOC[GS]PGRP
      0x5411,     0x5413,
      0x5414,     0x541b,  // TIOCOUTQ, TIOC[GS]WINSZ, FIONREAD
      0x5420,     0x5421,
      0x5422,     0x5424,  // TIOCPKT, FIONBIO, TIOCNOTTY, TIOCGETD
      0x5425,     0x5429,
      0x802c542a, 0x402c542b,  // TCSBRKP, TIOCGSID, TCGETS2, TCSETS2
      0x402c542c, 0x402c542d,
      0x80045430, 0x40045431,  // TCSETSW2, TCSETSF2, TIOCGPTN, TIOCSPTLCK
      0x5441,     0x80045439,
      0x5450,     0x5451,  // TIOCGPTPEER, TIOCGPTLCK, FIONCLEX, FIOCLEX
      0x5452,     0x5460,
      0x40049409, 0x4020940d,  // FIOASYNC, FIOQSIZE, FICLONE, FICLONERANGE
      0xc0189436, 0x80086601,
      0x80087601, 0x00000002,  // FIDEDUPERANGE, GETFLAGS, GETVERSION, FIGETBSZ
      0xc020660b, 0x801c581f,  // FIEMAP, FSGETXATTR
      0x8905,     0x8910,
      0x8912,     0x8913,  // SIOCATMARK, SIOCGIF{NAME,CONF,FLAGS}
      0x8915,     0x891b,
      0x8921,     0x8927,  // SIOCGIF{ADDR,NETMASK,MTU,HWADDR}
      0x8933,              // SIOCGIFINDEX
  };
}

std::vector<std::uint32_t> AllowedPrctls() {
  return {PR_SET_PDEATHSIG,
          PR_GET_PDEATHSIG,
          PR_GET_DUMPABLE,
          PR_SET_DUMPABLE,
          PR_GET_KEEPCAPS,
          PR_SET_KEEPCAPS,
          PR_SET_NAME,
          PR_GET_NAME,
          PR_GET_SECCOMP,
          PR_CAPBSET_READ,
          PR_GET_SECUREBITS,
          PR_SET_TIMERSLACK,
          PR_GET_TIMERSLACK,
          PR_SET_CHILD_SUBREAPER,
          PR_GET_CHILD_SUBREAPER,
          PR_SET_NO_NEW_PRIVS,
          PR_GET_NO_NEW_PRIVS,
          PR_GET_TID_ADDRESS,
          PR_SET_THP_DISABLE,
          PR_GET_THP_DISABLE,
          PR_CAP_AMBIENT,
          PR_GET_SPECULATION_CTRL,
          PR_SET_SPECULATION_CTRL,
          PR_PAC_RESET_KEYS,
          PR_SET_TAGGED_ADDR_CTRL,
          PR_GET_TAGGED_ADDR_CTRL,
          PR_SET_PTRACER,
          0x53564d41 /* PR_SET_VMA */};
}

// The width of the caller's own vector registers on arm64, which runtimes that compile at run time
// ask for and fix.
constexpr std::uint32_t kVectorPrctls[] = {PR_SVE_GET_VL, PR_SVE_SET_VL, PR_SME_GET_VL,
                                           PR_SME_SET_VL};

constexpr std::uint32_t kNamespaceFlags = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS |
                                          CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID |
                                          CLONE_NEWNET;

// Others (SCTP, DCCP, L2TP, …) would have the kernel load a module for whoever asks.
std::vector<std::uint32_t> InternetProtocols() {
  return {0, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP, IPPROTO_ICMPV6};
}

// As in linux/ioprio.h, which is no C++.
constexpr std::uint32_t kIoprioWhoProcess = 1;

// The argument is a process or a thread: the caller is 0, the worker the first of its namespace.
Condition IsCaller(unsigned argument) { return {argument, kAllBits, {0}, true}; }
Condition IsWorker(unsigned argument) { return {argument, kAllBits, {1}, true}; }

// Priority, scheduling and placement of the caller. Of others only where programs name their own
// threads by id; the worker, which has the same uid, is never theirs to slow.
std::vector<Rule> SchedulingRules(bool of_other_threads) {
  std::vector<Rule> rules;
  for (const char* name :
       {"sched_setaffinity", "sched_setattr", "sched_setparam", "sched_setscheduler"}) {
    if (of_other_threads)
      rules.push_back({name, {{{IsWorker(0)}, Fail(EPERM)}}, Allow()});
    else
      rules.push_back({name, {{{IsCaller(0)}, Allow()}}, Fail(EPERM)});
  }
  // 0 for a user or a group would be everything of that user, the worker too.
  for (const auto& [name, one_process] :
       {std::pair{"setpriority", static_cast<std::uint32_t>(PRIO_PROCESS)},
        std::pair{"ioprio_set", kIoprioWhoProcess}}) {
    if (of_other_threads)
      rules.push_back({name,
                       {{{IsWorker(1)}, Fail(EPERM)}, {{{0, kAllBits, {one_process}}}, Allow()}},
                       Fail(EPERM)});
    else
      rules.push_back(
          {name, {{{{0, kAllBits, {one_process}}, IsCaller(1)}, Allow()}}, Fail(EPERM)});
  }
  return rules;
}

// Calls whose arguments decide.
std::vector<Rule> ConditionalRules(const std::vector<std::uint32_t>& prctls) {
  const Action eperm = Fail(EPERM);
  return {
      {"clone", {{{{0, kNamespaceFlags, {0}}}, Allow()}}, eperm},
      // Its flags lie in memory that a filter cannot read; C libraries fall back to clone.
      {"clone3", {}, Fail(ENOSYS)},
      {"ioctl",
       {{{{1, kAllBits, AllowedIoctls()}}, Allow()},
        {{{1, kAllBits, {kTiocsti, kTioclinux}}}, eperm}},
       Fail(ENOTTY)},
      {"prctl", {{{{0, kAllBits, prctls}}, Allow()}}, eperm},
      // No packet, vsock, alg, bluetooth or other family, and no raw type. Of netlink only routes,
      // which getifaddrs reads; the network namespace holds nothing but a loopback interface.
      {"socket",
       {{{{0, kAllBits, {AF_NETLINK}}, {2, kAllBits, {NETLINK_ROUTE}}}, Allow()},
        {{{1, kSocketTypeMask, {SOCK_RAW, SOCK_PACKET}}}, eperm},
        {{{0, kAllBits, {AF_UNIX}}}, Allow()},
        {{{0, kAllBits, {AF_INET, AF_INET6}},
          {1, kSocketTypeMask, {SOCK_STREAM, SOCK_DGRAM}},
          {2, kAllBits, InternetProtocols()}},
         Allow()},
        {{{0, kAllBits, {AF_INET, AF_INET6}}}, Fail(EPROTONOSUPPORT)}},
       Fail(EAFNOSUPPORT)},
      {"socketpair", {{{{0, kAllBits, {AF_UNIX}}}, Allow()}}, Fail(EAFNOSUPPORT)},
      {"personality", {{{{0, kAllBits, {0, kAllBits, ADDR_NO_RANDOMIZE}}}, Allow()}}, eperm},
      {"prlimit64", {{{IsCaller(0)}, Allow()}}, eperm},
      // Pipes with names and plain files; devices are refused by the kernel as well.
      {"mknod", {{{{1, S_IFMT, {0, S_IFREG, S_IFIFO, S_IFSOCK}}}, Allow()}}, eperm},
      {"mknodat", {{{{2, S_IFMT, {0, S_IFREG, S_IFIFO, S_IFSOCK}}}, Allow()}}, eperm},
  };
}

bool IsDenial(Action action) { return (action & SECCOMP_RET_ACTION_FULL) == SECCOMP_RET_ERRNO; }

}  // namespace

Action Allow() { return SECCOMP_RET_ALLOW; }
Action Fail(int error_number) {
  return SECCOMP_RET_ERRNO | (static_cast<Action>(error_number) & SECCOMP_RET_DATA);
}
Action KillProcess() { return SECCOMP_RET_KILL_PROCESS; }
Action Report() { return SECCOMP_RET_USER_NOTIF; }

std::vector<Rule> Policy(SeccompProfile profile) {
  const bool harness = profile == SeccompProfile::kHarness;
  std::vector<std::uint32_t> prctls = AllowedPrctls();
  if (harness) prctls.insert(prctls.end(), std::begin(kVectorPrctls), std::end(kVectorPrctls));
  std::vector<Rule> rules;
  for (const char* name : kAllowed) rules.push_back({name, {}, Allow()});
  for (const char* name : kRefused) rules.push_back({name, {}, Fail(EPERM)});
  for (Rule& rule : ConditionalRules(prctls)) rules.push_back(std::move(rule));
  for (Rule& rule : SchedulingRules(harness)) rules.push_back(std::move(rule));
  return rules;
}

std::vector<Rule> WithDenialsReported(std::vector<Rule> rules) {
  for (Rule& rule : rules) {
    if (IsDenial(rule.action)) rule.action = Report();
    for (Check& check : rule.checks)
      if (IsDenial(check.action)) check.action = Report();
  }
  return rules;
}

}  // namespace cofferdam::sandbox::seccomp
