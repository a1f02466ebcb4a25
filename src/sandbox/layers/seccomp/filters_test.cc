// Asserts what the very bytes that ship answer, by interpreting them: also for x32 and arm64, which
// no kernel here can show.
#include "sandbox/layers/seccomp/filters.h"

#include <linux/audit.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <seccomp.h>
#include <sys/socket.h>

#include <cerrno>
#include <string>

#include <gtest/gtest.h>

#include "sandbox/layers/seccomp/testing/bpf_interpreter.h"

namespace cofferdam::sandbox::seccomp {
namespace {

struct Arch {
  std::uint32_t audit;
  std::uint32_t libseccomp;
  std::span<const sock_filter> filter;
};

class ToolFilter : public testing::TestWithParam<Arch> {
 protected:
  std::uint32_t Number(const std::string& name) const {
    return static_cast<std::uint32_t>(
        seccomp_syscall_resolve_name_arch(GetParam().libseccomp, name.c_str()));
  }
  std::uint32_t Answer(const std::string& name, std::uint64_t a0 = 0, std::uint64_t a1 = 0,
                       std::uint64_t a2 = 0) const {
    return AnswerNumber(Number(name), GetParam().audit, a0, a1, a2);
  }
  std::uint32_t AnswerNumber(std::uint32_t number, std::uint32_t audit, std::uint64_t a0 = 0,
                             std::uint64_t a1 = 0, std::uint64_t a2 = 0) const {
    seccomp_data data{};
    data.nr = static_cast<int>(number);
    data.arch = audit;
    data.args[0] = a0;
    data.args[1] = a1;
    data.args[2] = a2;
    return Interpret(GetParam().filter, data);
  }
};

constexpr std::uint32_t kAllowed = SECCOMP_RET_ALLOW;
constexpr std::uint32_t Errno(int number) { return SECCOMP_RET_ERRNO | number; }
constexpr std::uint64_t kHighBits = 0xdeadbeef00000000;

TEST_P(ToolFilter, AllowsWhatProgramsNeed) {
  for (const char* name : {"read", "write", "openat", "execve", "mmap", "futex", "wait4", "ppoll",
                           "exit_group", "getrandom", "memfd_create", "renameat2", "statx"})
    EXPECT_EQ(Answer(name), kAllowed) << name;
}

TEST_P(ToolFilter, RefusesWhatReachesTheKernelsInsides) {
  for (const char* name : {"mount",
                           "umount2",
                           "pivot_root",
                           "unshare",
                           "setns",
                           "ptrace",
                           "bpf",
                           "keyctl",
                           "add_key",
                           "request_key",
                           "io_uring_setup",
                           "io_uring_enter",
                           "io_uring_register",
                           "userfaultfd",
                           "perf_event_open",
                           "process_vm_readv",
                           "process_vm_writev",
                           "pidfd_getfd",
                           "kcmp",
                           "open_by_handle_at",
                           "name_to_handle_at",
                           "fsopen",
                           "fsconfig",
                           "fsmount",
                           "open_tree",
                           "move_mount",
                           "mount_setattr",
                           "init_module",
                           "finit_module",
                           "kexec_load",
                           "chroot",
                           "reboot",
                           "swapon",
                           "syslog",
                           "quotactl",
                           "fanotify_init",
                           "seccomp",
                           "sethostname"})
    EXPECT_EQ(Answer(name), Errno(EPERM)) << name;
}

TEST_P(ToolFilter, AnswersUnknownCallsWithEnosys) {
  EXPECT_EQ(AnswerNumber(700, GetParam().audit), Errno(ENOSYS));
  EXPECT_EQ(AnswerNumber(0x3fffffff, GetParam().audit), Errno(ENOSYS));
  EXPECT_EQ(Answer("clone3"), Errno(ENOSYS));
}

TEST_P(ToolFilter, KillsForeignArchitectures) {
  for (const std::uint32_t arch :
       std::initializer_list<std::uint32_t>{AUDIT_ARCH_I386, AUDIT_ARCH_ARM, AUDIT_ARCH_PPC64LE, 0})
    EXPECT_EQ(AnswerNumber(1, arch), SECCOMP_RET_KILL_PROCESS);
}

TEST_P(ToolFilter, AllowsCloneOnlyWithoutANewNamespaceWhateverTheHighBitsSay) {
  EXPECT_EQ(Answer("clone", CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | 17), kAllowed);
  EXPECT_EQ(Answer("clone", CLONE_VM | CLONE_VFORK | 17), kAllowed);
  for (const std::uint64_t flag : {CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC,
                                   CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET}) {
    EXPECT_EQ(Answer("clone", flag | 17), Errno(EPERM)) << flag;
    EXPECT_EQ(Answer("clone", kHighBits | flag | CLONE_VM), Errno(EPERM)) << flag;
  }
}

TEST_P(ToolFilter, ComparesIoctlRequestsOnTheirLow32Bits) {
  constexpr std::uint64_t kTiocsti = 0x5412;
  EXPECT_EQ(Answer("ioctl", 0, 0x5401), kAllowed);
  EXPECT_EQ(Answer("ioctl", 0, kTiocsti), Errno(EPERM));
  EXPECT_EQ(Answer("ioctl", 0, kHighBits | kTiocsti), Errno(EPERM));
  EXPECT_EQ(Answer("ioctl", 0, kHighBits | 0x541c), Errno(EPERM));
  EXPECT_EQ(Answer("ioctl", 0, 0x12345678), Errno(ENOTTY));
}

TEST_P(ToolFilter, AllowsLimitsAndPriorityOnlyOnOneself) {
  EXPECT_EQ(Answer("prlimit64", 0), kAllowed);
  EXPECT_EQ(Answer("prlimit64", 1), Errno(EPERM));
  EXPECT_EQ(Answer("setpriority", 0, 0), kAllowed);
  EXPECT_EQ(Answer("setpriority", 0, 1), Errno(EPERM));
  EXPECT_EQ(Answer("sched_setaffinity", 1), Errno(EPERM));
  EXPECT_EQ(Answer("sched_setscheduler", 1), Errno(EPERM));
  EXPECT_EQ(Answer("ioprio_set", 1, 1), Errno(EPERM));
  EXPECT_EQ(Answer("ioprio_set", 1, 0), kAllowed);
  // Nor on everything of a user or a group, of which the worker is a part.
  for (const std::uint64_t group_or_user : {1, 2})
    EXPECT_EQ(Answer("setpriority", group_or_user, 0), Errno(EPERM));
  for (const std::uint64_t group_or_user : {2, 3})
    EXPECT_EQ(Answer("ioprio_set", group_or_user, 0), Errno(EPERM));
}

TEST_P(ToolFilter, AllowsSocketsOfHarmlessFamiliesAndTypesOnly) {
  EXPECT_EQ(Answer("socket", AF_UNIX, SOCK_STREAM), kAllowed);
  EXPECT_EQ(Answer("socket", AF_INET, SOCK_STREAM | SOCK_CLOEXEC), kAllowed);
  EXPECT_EQ(Answer("socket", AF_INET6, SOCK_DGRAM), kAllowed);
  EXPECT_EQ(Answer("socket", AF_NETLINK, SOCK_RAW, 0), kAllowed);
  EXPECT_EQ(Answer("socket", AF_NETLINK, SOCK_RAW, 6), Errno(EPERM));
  EXPECT_EQ(Answer("socket", AF_NETLINK, SOCK_DGRAM, 6), Errno(EAFNOSUPPORT));
  EXPECT_EQ(Answer("socket", AF_INET, SOCK_STREAM, IPPROTO_TCP), kAllowed);
  EXPECT_EQ(Answer("socket", AF_INET, SOCK_DGRAM, IPPROTO_ICMP), kAllowed);
  EXPECT_EQ(Answer("socket", AF_INET, SOCK_STREAM, IPPROTO_SCTP), Errno(EPROTONOSUPPORT));
  EXPECT_EQ(Answer("socket", AF_INET6, SOCK_STREAM, IPPROTO_MPTCP), Errno(EPROTONOSUPPORT));
  EXPECT_EQ(Answer("socket", AF_INET, SOCK_DCCP, 0), Errno(EPROTONOSUPPORT));
  EXPECT_EQ(Answer("socket", AF_INET, SOCK_SEQPACKET, 0), Errno(EPROTONOSUPPORT));
  EXPECT_EQ(Answer("socket", AF_INET, SOCK_RAW, 1), Errno(EPERM));
  EXPECT_EQ(Answer("socket", AF_INET, SOCK_RAW | SOCK_NONBLOCK, 1), Errno(EPERM));
  for (const int family : {AF_PACKET, AF_VSOCK, AF_ALG, AF_BLUETOOTH, AF_KEY, AF_XDP, AF_TIPC})
    EXPECT_EQ(Answer("socket", static_cast<std::uint64_t>(family), SOCK_STREAM),
              Errno(EAFNOSUPPORT))
        << family;
}

TEST_P(ToolFilter, AllowsOnlyNamedPrctlsAndPersonalities) {
  EXPECT_EQ(Answer("prctl", 15), kAllowed);                   // PR_SET_NAME
  EXPECT_EQ(Answer("prctl", 22), Errno(EPERM));               // PR_SET_SECCOMP
  EXPECT_EQ(Answer("prctl", 35), Errno(EPERM));               // PR_SET_MM
  EXPECT_EQ(Answer("personality", 0xffffffff), kAllowed);     // a query
  EXPECT_EQ(Answer("personality", 0x0400000), Errno(EPERM));  // READ_IMPLIES_EXEC
}

TEST_P(ToolFilter, AllowsNamedPipesAndNoDevices) {
  EXPECT_EQ(Answer("mknodat", 0, 0, 0010644), kAllowed);
  EXPECT_EQ(Answer("mknodat", 0, 0, 0020644), Errno(EPERM));
  EXPECT_EQ(Answer("mknodat", 0, 0, 0060644), Errno(EPERM));
}

TEST(ToolFilterX86_64, KillsEveryX32Call) {
  for (const std::uint32_t number : {0u, 59u, 101u, 512u, 547u}) {
    seccomp_data data{};
    data.nr = static_cast<int>(number | 0x40000000);
    data.arch = AUDIT_ARCH_X86_64;
    EXPECT_EQ(Interpret(ToolFilterX86_64(), data), SECCOMP_RET_KILL_PROCESS) << number;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Arch, ToolFilter,
    testing::Values(Arch{AUDIT_ARCH_X86_64, SCMP_ARCH_X86_64, ToolFilterX86_64()},
                    Arch{AUDIT_ARCH_AARCH64, SCMP_ARCH_AARCH64, ToolFilterAarch64()}),
    [](const auto& test) { return test.param.audit == AUDIT_ARCH_X86_64 ? "x86_64" : "arm64"; });

}  // namespace
}  // namespace cofferdam::sandbox::seccomp
