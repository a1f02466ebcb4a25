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
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <tuple>

#include <gtest/gtest.h>

#include "sandbox/layers/seccomp/interpreter.h"

namespace cofferdam::sandbox::seccomp {
namespace {

class Filters : public testing::TestWithParam<std::tuple<Machine, SeccompProfile>> {
 protected:
  static Machine machine() { return std::get<0>(GetParam()); }
  static SeccompProfile profile() { return std::get<1>(GetParam()); }
  static bool IsHarness() { return profile() == SeccompProfile::kHarness; }
  static std::uint32_t Arch() {
    return machine() == Machine::kX86_64 ? AUDIT_ARCH_X86_64 : AUDIT_ARCH_AARCH64;
  }
  /// Negative where the machine does not have the call.
  static int Number(const std::string& name) {
    return seccomp_syscall_resolve_name_arch(
        machine() == Machine::kX86_64 ? SCMP_ARCH_X86_64 : SCMP_ARCH_AARCH64, name.c_str());
  }
  static std::uint32_t Answer(const std::string& name, std::uint64_t a0 = 0, std::uint64_t a1 = 0,
                              std::uint64_t a2 = 0) {
    return AnswerNumber(static_cast<std::uint32_t>(Number(name)), Arch(), a0, a1, a2);
  }
  static std::uint32_t AnswerNumber(std::uint32_t number, std::uint32_t arch, std::uint64_t a0 = 0,
                                    std::uint64_t a1 = 0, std::uint64_t a2 = 0) {
    seccomp_data data{};
    data.nr = static_cast<int>(number);
    data.arch = arch;
    data.args[0] = a0;
    data.args[1] = a1;
    data.args[2] = a2;
    return Interpret(Filter(machine(), profile(), Denials::kAnswered), data);
  }
};

constexpr std::uint32_t kAllowed = SECCOMP_RET_ALLOW;
constexpr std::uint32_t Errno(int number) { return SECCOMP_RET_ERRNO | number; }
constexpr std::uint64_t kHighBits = 0xdeadbeef00000000;

TEST_P(Filters, AllowsWhatProgramsNeed) {
  for (const char* name : {"read", "write", "openat", "execve", "mmap", "futex", "wait4", "ppoll",
                           "exit_group", "getrandom", "memfd_create", "renameat2", "statx"})
    EXPECT_EQ(Answer(name), kAllowed) << name;
}

TEST_P(Filters, RefusesWhatReachesTheKernelsInsides) {
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

TEST_P(Filters, AnswersUnknownCallsWithEnosys) {
  EXPECT_EQ(AnswerNumber(700, Arch()), Errno(ENOSYS));
  EXPECT_EQ(AnswerNumber(0x3fffffff, Arch()), Errno(ENOSYS));
  EXPECT_EQ(Answer("clone3"), Errno(ENOSYS));
}

TEST_P(Filters, KillsForeignArchitectures) {
  for (const std::uint32_t arch :
       std::initializer_list<std::uint32_t>{AUDIT_ARCH_I386, AUDIT_ARCH_ARM, AUDIT_ARCH_PPC64LE, 0})
    EXPECT_EQ(AnswerNumber(1, arch), SECCOMP_RET_KILL_PROCESS);
}

TEST_P(Filters, AllowsCloneOnlyWithoutANewNamespaceWhateverTheHighBitsSay) {
  EXPECT_EQ(Answer("clone", CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | 17), kAllowed);
  EXPECT_EQ(Answer("clone", CLONE_VM | CLONE_VFORK | 17), kAllowed);
  for (const std::uint64_t flag : {CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC,
                                   CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET}) {
    EXPECT_EQ(Answer("clone", flag | 17), Errno(EPERM)) << flag;
    EXPECT_EQ(Answer("clone", kHighBits | flag | CLONE_VM), Errno(EPERM)) << flag;
  }
}

TEST_P(Filters, ComparesIoctlRequestsOnTheirLow32Bits) {
  constexpr std::uint64_t kTiocsti = 0x5412;
  EXPECT_EQ(Answer("ioctl", 0, 0x5401), kAllowed);
  EXPECT_EQ(Answer("ioctl", 0, kTiocsti), Errno(EPERM));
  EXPECT_EQ(Answer("ioctl", 0, kHighBits | kTiocsti), Errno(EPERM));
  EXPECT_EQ(Answer("ioctl", 0, kHighBits | 0x541c), Errno(EPERM));
  EXPECT_EQ(Answer("ioctl", 0, 0x12345678), Errno(ENOTTY));
}

TEST_P(Filters, AllowsLimitsOnlyOnOneself) {
  EXPECT_EQ(Answer("prlimit64", 0), kAllowed);
  EXPECT_EQ(Answer("prlimit64", 1), Errno(EPERM));
  EXPECT_EQ(Answer("prlimit64", 4711), Errno(EPERM));
}

// The worker is process 1 and has the same uid; 0 is the caller.
TEST_P(Filters, NeverAllowsPrioritiesOfTheWorker) {
  for (const std::uint64_t worker : {std::uint64_t{1}, kHighBits | 1}) {
    EXPECT_EQ(Answer("setpriority", 0, worker), Errno(EPERM));
    EXPECT_EQ(Answer("ioprio_set", 1, worker), Errno(EPERM));
    for (const char* name :
         {"sched_setaffinity", "sched_setscheduler", "sched_setparam", "sched_setattr"})
      EXPECT_EQ(Answer(name, worker), Errno(EPERM)) << name;
  }
  // Nor of everything of a user or a group, of which the worker is a part.
  for (const std::uint64_t group_or_user : {1, 2})
    EXPECT_EQ(Answer("setpriority", group_or_user, 0), Errno(EPERM));
  for (const std::uint64_t group_or_user : {2, 3})
    EXPECT_EQ(Answer("ioprio_set", group_or_user, 0), Errno(EPERM));
}

TEST_P(Filters, AllowsPrioritiesOfOtherThreadsToAHarnessOnly) {
  const std::uint32_t of_others = IsHarness() ? kAllowed : Errno(EPERM);
  EXPECT_EQ(Answer("setpriority", 0, 0), kAllowed);
  EXPECT_EQ(Answer("setpriority", 0, 4711), of_others);
  EXPECT_EQ(Answer("ioprio_set", 1, 0), kAllowed);
  EXPECT_EQ(Answer("ioprio_set", 1, 4711), of_others);
  for (const char* name :
       {"sched_setaffinity", "sched_setscheduler", "sched_setparam", "sched_setattr"}) {
    EXPECT_EQ(Answer(name, 0), kAllowed) << name;
    EXPECT_EQ(Answer(name, 4711), of_others) << name;
  }
}

// The vector registers of arm64; on x86-64 the kernel itself refuses these.
TEST_P(Filters, AllowsTheWidthOfVectorsToAHarnessOnly) {
  for (const std::uint64_t option : {50, 51, 63, 64})
    EXPECT_EQ(Answer("prctl", option), IsHarness() ? kAllowed : Errno(EPERM)) << option;
}

// What real agent programs were seen to need.
TEST_P(Filters, RefusesNothingThatHarnessesUse) {
  std::ifstream file(HARNESS_CALLS);
  int calls = 0;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with('#')) continue;
    std::istringstream words(line);
    std::string name;
    std::string verdict;
    words >> name >> verdict;
    ++calls;
    if (Number(name) < 0) continue;  // an old call, which arm64 never had
    if (verdict == "by_argument") continue;
    EXPECT_EQ(verdict, "allowed") << name;
    EXPECT_EQ(Answer(name, ~0ull, ~0ull, ~0ull), kAllowed) << name;
    EXPECT_EQ(Answer(name, 0, 0, 0), kAllowed) << name;
  }
  EXPECT_EQ(calls, 227);
}

TEST_P(Filters, AllowsSocketsOfHarmlessFamiliesAndTypesOnly) {
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

TEST_P(Filters, AllowsOnlyNamedPrctlsAndPersonalities) {
  EXPECT_EQ(Answer("prctl", 15), kAllowed);                   // PR_SET_NAME
  EXPECT_EQ(Answer("prctl", 22), Errno(EPERM));               // PR_SET_SECCOMP
  EXPECT_EQ(Answer("prctl", 35), Errno(EPERM));               // PR_SET_MM
  EXPECT_EQ(Answer("personality", 0xffffffff), kAllowed);     // a query
  EXPECT_EQ(Answer("personality", 0x0400000), Errno(EPERM));  // READ_IMPLIES_EXEC
}

TEST_P(Filters, AllowsNamedPipesAndNoDevices) {
  EXPECT_EQ(Answer("mknodat", 0, 0, 0010644), kAllowed);
  EXPECT_EQ(Answer("mknodat", 0, 0, 0020644), Errno(EPERM));
  EXPECT_EQ(Answer("mknodat", 0, 0, 0060644), Errno(EPERM));
}

TEST(FiltersX86_64, KillEveryX32Call) {
  for (const std::uint32_t number : {0u, 59u, 101u, 512u, 547u}) {
    seccomp_data data{};
    data.nr = static_cast<int>(number | 0x40000000);
    data.arch = AUDIT_ARCH_X86_64;
    for (const auto profile : {SeccompProfile::kTools, SeccompProfile::kHarness})
      for (const auto denials : {Denials::kAnswered, Denials::kReported})
        EXPECT_EQ(Interpret(Filter(Machine::kX86_64, profile, denials), data),
                  SECCOMP_RET_KILL_PROCESS)
            << number;
  }
}

TEST(SeccompProfileName, IsReadBack) {
  for (const auto profile : {SeccompProfile::kTools, SeccompProfile::kHarness})
    EXPECT_EQ(SeccompProfileFromName(SeccompProfileName(profile)), profile);
  EXPECT_EQ(SeccompProfileFromName("none"), std::nullopt);
}

INSTANTIATE_TEST_SUITE_P(
    All, Filters,
    testing::Combine(testing::Values(Machine::kX86_64, Machine::kArm64),
                     testing::Values(SeccompProfile::kTools, SeccompProfile::kHarness)),
    [](const auto& test) {
      return std::string(std::get<0>(test.param) == Machine::kX86_64 ? "x86_64_" : "arm64_") +
             std::string(SeccompProfileName(std::get<1>(test.param)));
    });

}  // namespace
}  // namespace cofferdam::sandbox::seccomp
