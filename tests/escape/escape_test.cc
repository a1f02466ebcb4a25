// The attacks that are one program each: what it must fail with in a sandbox, and where the same
// program succeeds, so that it is a real attack and the layer named with it is what stops it.

#include <linux/capability.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "fixture.h"
#include "outside.h"

namespace cofferdam::escape {
namespace {

using sandbox::Layer;

// Where an attack succeeds.
struct Control {
  enum class Place { kSandboxWithout, kOutside } place = Place::kOutside;
  std::vector<Layer> without = {};
  /// Arguments instead of the attack's own.
  std::vector<std::string> arguments = {};
  /// Namespaces that the attack enters first, so that it changes nothing of the machine.
  std::string own = {};
  int capability = -1;
  std::uint32_t uid = 0;
  Leak leak = Leak::kNothing;
  /// Gives a reason why this kernel would refuse the attack anyway.
  std::function<std::string()> refused_anyway = {};

  Control With(std::vector<std::string> other_arguments) && {
    arguments = std::move(other_arguments);
    return std::move(*this);
  }
  Control InOwn(std::string namespaces) && {
    own = std::move(namespaces);
    return std::move(*this);
  }
  Control Needs(int wanted_capability) && {
    capability = wanted_capability;
    return std::move(*this);
  }
  Control As(std::uint32_t other_uid) && {
    uid = other_uid;
    return std::move(*this);
  }
  Control Leaking(Leak what) && {
    leak = what;
    return std::move(*this);
  }
  Control Unless(std::function<std::string()> reason) && {
    refused_anyway = std::move(reason);
    return std::move(*this);
  }
};

Control Without(std::vector<Layer> layers) {
  return {.place = Control::Place::kSandboxWithout, .without = std::move(layers)};
}
Control Outside() { return {}; }

struct Case {
  const char* name;
  std::vector<std::string> attack;
  std::string outcome;
  Control control;
  /// Where the control is another one for an ordinary user.
  std::optional<Control> control_of_user = {};
  /// Another program than the attack program, as the host names it.
  std::string needs = {};
};

// ---- Why a kernel may refuse what no sandbox is asked about

std::function<std::string()> Setting(std::string path, int highest) {
  return [path = std::move(path), highest]() -> std::string {
    const int value = Sysctl(path, 0);
    return value <= highest ? "" : path + " is " + std::to_string(value);
  };
}
std::string NoUserNamespaces() {
  for (const char* path : {"user/max_user_namespaces", "kernel/unprivileged_userns_clone"})
    if (Sysctl(path, 1) == 0) return std::string(path) + " is 0";
  return "";
}
std::string NoRoute() { return HasRoute() ? "" : "this machine has no route to anywhere"; }
std::string NoTypingIntoTerminals() {
  return Sysctl("dev/tty/legacy_tiocsti", 1) == 0 ? "dev/tty/legacy_tiocsti is 0" : "";
}
std::string NoCoreDumps() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_CORE, &limit) == 0 && limit.rlim_max == RLIM_INFINITY) return "";
  return "core dumps are limited on this machine";
}
const auto kYama = Setting("kernel/yama/ptrace_scope", 0);

constexpr char kEperm[] = "errno EPERM";
constexpr char kEacces[] = "errno EACCES";
constexpr char kEnoent[] = "errno ENOENT";

std::string CapabilityName(int capability) {
  constexpr std::pair<int, const char*> kNames[] = {{CAP_DAC_OVERRIDE, "CAP_DAC_OVERRIDE"},
                                                    {CAP_DAC_READ_SEARCH, "CAP_DAC_READ_SEARCH"},
                                                    {CAP_NET_ADMIN, "CAP_NET_ADMIN"},
                                                    {CAP_SYS_RAWIO, "CAP_SYS_RAWIO"},
                                                    {CAP_SYS_ADMIN, "CAP_SYS_ADMIN"},
                                                    {CAP_SYS_NICE, "CAP_SYS_NICE"},
                                                    {CAP_SYS_RESOURCE, "CAP_SYS_RESOURCE"},
                                                    {CAP_MKNOD, "CAP_MKNOD"},
                                                    {CAP_SYS_TTY_CONFIG, "CAP_SYS_TTY_CONFIG"},
                                                    {CAP_SYSLOG, "CAP_SYSLOG"},
                                                    {CAP_BPF, "CAP_BPF"}};
  for (const auto& [number, name] : kNames)
    if (number == capability) return name;
  return "capability " + std::to_string(capability);
}

std::vector<Case> Cases() {
  return {
      // Files of the host
      {"HostFileByPath", {"host_file_by_path", "{canary}"}, kEnoent, Outside()},
      {"HostFileByDotDot", {"host_file_by_dotdot", "{canary}"}, kEnoent, Outside()},
      {"HostFileBySymlink", {"host_file_by_symlink", "{canary}"}, kEnoent, Outside()},
      {"HostFileByProcRoot",
       {"host_file_by_proc_root", "1", "{canary}"},
       kEacces,
       Outside().With({"host_file_by_proc_root", "{victim}", "{canary}"}).Unless(kYama)},
      {"RootOfTheWorker", {"root_of_worker"}, kEacces, Without({Layer::kUndumpable})},
      {"LeftoverOldRoot", {"leftover_old_root", "{root_device}"}, kEnoent, Outside()},
      {"ChrootEscape",
       {"chroot_escape", "{canary}"},
       kEperm,
       Outside().InOwn("user,mnt").Unless(NoUserNamespaces)},
      {"OpenByHandle",
       {"open_by_handle", "/workspace"},
       kEperm,
       Outside().With({"open_by_handle", "{scratch}"}).Needs(CAP_DAC_READ_SEARCH)},
      {"NameToHandle", {"name_to_handle", "/workspace"}, kEperm, Without({Layer::kSeccomp})},
      {"FileWithoutARule",
       {"open_for_reading", "/.landlock-probe"},
       kEacces,
       Without({Layer::kLandlock})},
      {"WriteToAReadOnlyMount",
       {"create_file_in", "/mnt/attacks"},
       "errno EROFS",
       Outside().With({"create_file_in", "{attacks_directory}"})},
      {"WriteToUsr",
       {"create_file_in", "/usr"},
       "errno EROFS",
       Outside().With({"create_file_in", "{scratch}"})},
      {"HostsTerminal", {"open_for_writing", "{terminal}"}, kEnoent, Outside()},
      {"HardLinkToAHostFile", {"hard_link", "{canary}"}, kEnoent, Outside()},
      {"HardLinkOutOfAMount",
       {"hard_link", "/mnt/attacks/attacks"},
       "errno EXDEV",
       Outside().With({"hard_link", "{attack_program}"})},
      {"LeakedDirectory",
       {"leaked_directory", "{canary}"},
       "errno EBADF",
       Outside().InOwn("user,mnt").Leaking(Leak::kRoot).Unless(NoUserNamespaces)},
      {"LeaveTheControlGroup",
       {"open_for_writing", "{cgroup_file}"},
       kEnoent,
       Outside().Needs(CAP_DAC_OVERRIDE)},

      // Mounts
      {"RemountUsrWritable",
       {"remount_writable", "/usr"},
       kEperm,
       Outside()
           .With({"remount_own_writable", "{scratch}"})
           .InOwn("user,mnt")
           .Unless(NoUserNamespaces)},
      {"MountTmpfs",
       {"mount_tmpfs", "/workspace"},
       kEperm,
       Outside().With({"mount_tmpfs", "{scratch}"}).InOwn("user,mnt").Unless(NoUserNamespaces)},
      {"OpenTree",
       {"open_tree", "/workspace"},
       kEperm,
       Outside().With({"open_tree", "{scratch}"}).InOwn("user,mnt").Unless(NoUserNamespaces)},
      {"ConfigureAFileSystem",
       {"configure_file_system"},
       kEperm,
       Outside().InOwn("user,mnt").Unless(NoUserNamespaces)},
      {"MountACgroupHierarchy",
       {"mount_file_system", "/workspace", "cgroup2"},
       kEperm,
       Outside()
           .With({"mount_file_system", "{scratch}", "cgroup2"})
           .InOwn("user,mnt,cgroup")
           .Unless(NoUserNamespaces)},
      {"MountBinaryFormats",
       {"mount_file_system", "/workspace", "binfmt_misc"},
       kEperm,
       Outside()
           .With({"mount_file_system", "{scratch}", "binfmt_misc"})
           .InOwn("user,mnt")
           .Unless(NoUserNamespaces)},

      // Programs and devices that carry rights
      {"SetuidProgram",
       {"setuid_program", "/mnt/attacks/setuid"},
       kEperm,
       Outside().With({"setuid_program", "{setuid}"}).As(65534),
       {},
       "{setuid}"},
      {"ProgramWithCapabilities",
       {"capable_program", "/mnt/attacks/capable"},
       kEperm,
       Outside().With({"capable_program", "{capable}"}).As(65534),
       {},
       "{capable}"},
      {"MakeABlockDevice", {"make_block_device"}, kEperm, Outside().Needs(CAP_MKNOD)},
      {"MakeAMemoryDevice", {"make_memory_device"}, kEperm, Outside().Needs(CAP_MKNOD)},
      {"DeviceNodeInAMount",
       {"open_for_reading", "/mnt/attacks/device"},
       kEacces,
       Outside().With({"open_for_reading", "{device}"}),
       {},
       "{device}"},
      {"BlockDevice",
       {"open_for_reading", "{block_device}"},
       kEnoent,
       Outside().With({"open_for_reading", "{open_block_device}"})},
      {"KernelMessages",
       {"open_for_writing", "/dev/kmsg"},
       kEnoent,
       Outside().Needs(CAP_DAC_OVERRIDE)},

      // Settings of the kernel
      {"CorePatternHandler",
       {"open_for_writing", "/proc/sys/kernel/core_pattern"},
       kEacces,
       Outside().Needs(CAP_SYS_ADMIN)},
      {"SysrqTrigger", {"open_for_writing", "{sysrq}"}, kEacces, Outside().Needs(CAP_DAC_OVERRIDE)},
      {"ModprobePath", {"open_for_writing", "{modprobe}"}, kEacces, Outside().Needs(CAP_SYS_ADMIN)},
      {"UeventHelper",
       {"open_for_writing", "{uevent_helper}"},
       kEnoent,
       Outside().Needs(CAP_DAC_OVERRIDE)},
      {"BinaryFormat",
       {"open_for_writing", "{binary_formats}"},
       kEnoent,
       Outside().Needs(CAP_DAC_OVERRIDE)},
      {"ReleaseAgent",
       {"open_for_writing", "{release_agent}"},
       kEnoent,
       Outside().Needs(CAP_DAC_OVERRIDE)},
      {"NotifyOnRelease",
       {"open_for_writing", "{notify_on_release}"},
       kEnoent,
       Outside().Needs(CAP_DAC_OVERRIDE)},
      {"MemoryOfTheMachine",
       {"open_for_reading", "{kcore}"},
       kEacces,
       Outside().Needs(CAP_SYS_RAWIO)},
      {"VirtualMemorySettings",
       {"open_for_writing", "/proc/sys/vm/overcommit_memory"},
       kEacces,
       Outside().Needs(CAP_SYS_ADMIN)},
      {"NetworkSettings",
       {"open_for_writing", "/proc/sys/net/ipv4/ip_forward"},
       kEacces,
       Outside().Needs(CAP_NET_ADMIN)},

      // Namespaces
      {"UserNamespaceByUnshare",
       {"user_namespace_by_unshare"},
       kEperm,
       Without({Layer::kSeccomp}).Unless(NoUserNamespaces)},
      {"UserNamespaceByClone",
       {"user_namespace_by_clone"},
       kEperm,
       Without({Layer::kSeccomp}).Unless(NoUserNamespaces)},
      {"UserNamespaceByClone3",
       {"user_namespace_by_clone3"},
       "errno ENOSYS",
       Without({Layer::kSeccomp}).Unless(NoUserNamespaces)},
      {"JoinANamespace",
       {"join_namespace", "/proc/self/ns/net"},
       kEperm,
       Outside().InOwn("user,net").Unless(NoUserNamespaces)},
      {"JoinTheWorkersNamespace",
       {"join_namespace", "/proc/1/ns/net"},
       kEacces,
       Outside().With({"join_namespace", "{victims_network}"}).Needs(CAP_SYS_ADMIN)},
      {"ChangeTheHostName",
       {"set_host_name"},
       kEperm,
       Outside().InOwn("user,uts").Unless(NoUserNamespaces)},

      // Calls for which a tool has no use
      {"AddAKey", {"add_key"}, kEperm, Without({Layer::kSeccomp})},
      {"ReadTheKeyring", {"read_keyring"}, kEperm, Without({Layer::kSeccomp})},
      {"RequestAKey", {"request_key"}, kEperm, Without({Layer::kSeccomp})},
      {"IoUring",
       {"io_uring"},
       kEperm,
       Without({Layer::kSeccomp}).Unless(Setting("kernel/io_uring_disabled", 0))},
      {"BpfMap", {"bpf_map"}, kEperm, Outside().Needs(CAP_BPF)},
      {"UserFaultFd", {"userfaultfd"}, kEperm, Without({Layer::kSeccomp})},
      {"PerfEvent",
       {"perf_event"},
       kEperm,
       Without({Layer::kSeccomp}).Unless(Setting("kernel/perf_event_paranoid", 2))},
      {"TypeIntoATerminal",
       {"type_into_terminal"},
       kEperm,
       Without({Layer::kSeccomp}).Unless(NoTypingIntoTerminals)},
      {"ConsoleSelection",
       {"console_selection", "/dev/ptmx"},
       kEperm,
       Outside().With({"console_selection", "/dev/tty0"}).Needs(CAP_SYS_TTY_CONFIG).Unless([] {
         return std::string(::access("/dev/tty0", R_OK | W_OK) == 0 ? "" : "there is no console");
       })},
      {"ReadImpliesExec", {"read_implies_exec"}, kEperm, Without({Layer::kSeccomp})},
      {"KernelLog", {"kernel_log"}, kEperm, Outside().Needs(CAP_SYSLOG)},
#ifdef __x86_64__
      {"IoPorts", {"io_ports"}, kEperm, Outside().Needs(CAP_SYS_RAWIO)},
      {"LocalDescriptorTable", {"local_descriptor_table"}, kEperm, Without({Layer::kSeccomp})},
#endif
      {"CompareKernelObjects", {"compare_kernel_objects"}, kEperm, Without({Layer::kSeccomp})},
      {"WatchAFileSystem", {"watch_file_system"}, kEperm, Without({Layer::kSeccomp})},
      {"SeccompListener", {"seccomp_listener"}, kEperm, Without({Layer::kSeccomp})},
      {"RealTimePriority", {"real_time_priority"}, kEperm, Outside().Needs(CAP_SYS_NICE)},

      // The network
      {"RawSocket", {"raw_socket"}, kEperm, Outside().InOwn("user,net").Unless(NoUserNamespaces)},
      {"RawSocketOfIpv6",
       {"raw_socket6"},
       kEperm,
       Outside().InOwn("user,net").Unless(NoUserNamespaces)},
      {"PacketSocket",
       {"packet_socket"},
       "errno EAFNOSUPPORT",
       Outside().InOwn("user,net").Unless(NoUserNamespaces)},
      {"RawPacketSocket",
       {"raw_packet_socket"},
       kEperm,
       Outside().InOwn("user,net").Unless(NoUserNamespaces)},
      {"CryptoSocket", {"crypto_socket"}, "errno EAFNOSUPPORT", Without({Layer::kSeccomp})},
      {"VsockSocket", {"vsock_socket"}, "errno EAFNOSUPPORT", Without({Layer::kSeccomp})},
      {"DiagnosisSocket", {"diagnosis_socket"}, "errno EAFNOSUPPORT", Without({Layer::kSeccomp})},
      {"KernelEventSocket", {"kernel_event_socket"}, kEperm, Without({Layer::kSeccomp})},
      {"UncommonTransport",
       {"uncommon_transport"},
       "errno EPROTONOSUPPORT",
       Without({Layer::kSeccomp})},
      {"ChangeAnInterface",
       {"change_interface"},
       kEperm,
       Outside().InOwn("user,net").Unless(NoUserNamespaces)},
      // An ordinary user's launcher has a network namespace of its own in any case.
      {"HostsLoopback",
       {"host_loopback", "{port}"},
       "errno ECONNREFUSED",
       Without({Layer::kNetNamespace}),
       Outside()},
      {"HostsAbstractSocket",
       {"abstract_socket", "{abstract}"},
       "errno ECONNREFUSED",
       Without({Layer::kNetNamespace, Layer::kLandlock}),
       Outside()},
      {"RouteOut", {"route_out"}, "errno ENETUNREACH", Outside().Unless(NoRoute)},

      // The worker and the supervisor
      {"TraceTheWorker",
       {"trace_worker"},
       kEperm,
       Without({Layer::kSeccomp, Layer::kUndumpable}).Unless(kYama)},
      {"TraceTheSupervisor",
       {"trace_supervisor"},
       kEperm,
       Without({Layer::kSeccomp, Layer::kUndumpable}).Unless(kYama)},
      {"LimitTheWorker", {"limit_worker"}, kEperm, Without({Layer::kSeccomp})},
      {"SlowTheWorker", {"slow_worker"}, kEperm, Without({Layer::kSeccomp})},
      {"SlowAllOfTheUser", {"slow_all_of_user"}, kEperm, Without({Layer::kSeccomp})},
      {"PinTheWorker", {"pin_worker"}, kEperm, Without({Layer::kSeccomp})},
      {"IdleTheWorker", {"idle_worker"}, kEperm, Without({Layer::kSeccomp})},
      {"IdleTheDiskOfTheUser", {"idle_disk_of_user"}, kEperm, Without({Layer::kSeccomp})},
      {"IdleTheWorkersDisk", {"idle_workers_disk"}, kEperm, Without({Layer::kSeccomp})},
      {"MemoryOfTheWorker",
       {"worker_memory"},
       kEacces,
       Without({Layer::kUndumpable, Layer::kLandlock}).Unless(kYama)},
      {"MemoryOfTheSupervisor",
       {"supervisor_memory"},
       kEacces,
       Without({Layer::kUndumpable, Layer::kLandlock}).Unless(kYama)},
      {"EnvironmentOfTheWorker", {"worker_environment"}, kEacces, Without({Layer::kUndumpable})},
      {"ProgramOfTheWorker", {"worker_program"}, kEacces, Without({Layer::kUndumpable})},
      {"DescriptorsOfTheWorker", {"worker_descriptors"}, kEacces, Without({Layer::kUndumpable})},
      {"FirstToDieOfMemory",
       {"worker_oom_score"},
       kEacces,
       Without({Layer::kUndumpable, Layer::kLandlock})},
      {"OverwriteTheWorker",
       {"overwrite_program", "1", "-"},
       kEacces,
       Outside().With({"overwrite_program", "child", "{own_program}"})},
      {"ReadTheWorkersMemory",
       {"read_workers_memory"},
       kEperm,
       Without({Layer::kSeccomp, Layer::kUndumpable}).Unless(kYama)},
      {"RaceInProc", {"race_in_proc", "300"}, kEacces, Without({Layer::kUndumpable}).Unless(kYama)},
      {"StealTheControlChannel",
       {"steal_channel"},
       kEperm,
       Without({Layer::kSeccomp, Layer::kUndumpable}).Unless(kYama)},
      {"InheritedDescriptor",
       {"inherited_descriptor"},
       "errno EBADF",
       Outside().Leaking(Leak::kStream)},

      // Processes of the host
      {"SecretInTheEnvironment",
       {"environment_secret", "COFFERDAM_TEST_SECRET"},
       kEnoent,
       Outside()},
      {"SeeAProcess", {"see_process", "{victim}"}, kEnoent, Outside()},
      {"SignalAProcess", {"signal_process", "{victim}"}, "errno ESRCH", Outside()},
      {"ReadAProcessesMemory",
       {"read_memory_of", "{test_pid}", "{secret_address}"},
       kEperm,
       Outside().Unless(kYama)},

      // Limits of a process
      {"UnlimitCoreDumps",
       {"unlimit_core"},
       kEperm,
       Without({Layer::kRlimits}).Unless(NoCoreDumps)},
      {"ManyDescriptors", {"many_descriptors", "900"}, "errno EMFILE", Without({Layer::kRlimits})},
      {"DescriptorsInFlight",
       {"descriptors_in_flight", "600"},
       "errno ETOOMANYREFS",
       Without({Layer::kRlimits})},
      {"HugeFile", {"fill_file", "/workspace/huge", "3"}, "signal 25", Without({Layer::kRlimits})},
  };
}

void PrintTo(const Case& attack, std::ostream* out) { *out << attack.name; }

// Attacks that stay without success when the layer that stops them first is not there.
struct SecondLine {
  const char* name;
  std::vector<std::string> attack;
  std::vector<Layer> without;
  std::string outcome;
};

void PrintTo(const SecondLine& line, std::ostream* out) { *out << line.name; }

std::vector<SecondLine> SecondLines() {
  return {
      {"ProcRootWithoutUndumpable",
       {"host_file_by_proc_root", "1", "{canary}"},
       {Layer::kUndumpable},
       kEnoent},
      {"ChrootWithoutSeccomp", {"chroot_escape", "{canary}"}, {Layer::kSeccomp}, kEperm},
      {"OpenByHandleWithoutSeccomp", {"open_by_handle", "/workspace"}, {Layer::kSeccomp}, kEperm},
      {"WriteWithoutLandlock",
       {"create_file_in", "/mnt/attacks"},
       {Layer::kLandlock},
       "errno EROFS"},
      {"HardLinkWithoutLandlock",
       {"hard_link", "/mnt/attacks/attacks"},
       {Layer::kLandlock},
       "errno EXDEV"},
      {"RemountWithoutSeccomp", {"remount_writable", "/usr"}, {Layer::kSeccomp}, kEperm},
      {"MountWithoutSeccomp", {"mount_tmpfs", "/workspace"}, {Layer::kSeccomp}, kEperm},
      {"MountACgroupWithoutSeccomp",
       {"mount_file_system", "/workspace", "cgroup2"},
       {Layer::kSeccomp},
       kEperm},
      {"SetuidWithoutNoNewPrivs",
       {"setuid_program", "/mnt/attacks/setuid"},
       {Layer::kSeccomp, Layer::kLandlock, Layer::kNoNewPrivs},
       kEperm},
      {"BlockDeviceWithoutSeccomp",
       {"make_block_device"},
       {Layer::kSeccomp, Layer::kLandlock},
       kEperm},
      {"HostNameWithoutSeccomp", {"set_host_name"}, {Layer::kSeccomp}, kEperm},
      {"RawSocketWithoutSeccomp", {"raw_socket"}, {Layer::kSeccomp}, kEperm},
      {"TraceTheWorkerWithoutSeccomp", {"trace_worker"}, {Layer::kSeccomp}, kEperm},
      {"StealTheChannelWithoutSeccomp", {"steal_channel"}, {Layer::kSeccomp}, kEperm},
      {"OverwriteTheWorkerWithoutUndumpable",
       {"overwrite_program", "1", "-"},
       {Layer::kUndumpable},
       "errno ETXTBSY"},
      {"ReadTheWorkersMemoryWithoutSeccomp", {"read_workers_memory"}, {Layer::kSeccomp}, kEperm},
      {"ReadMemoryWithoutSeccomp",
       {"read_memory_of", "{test_pid}", "{secret_address}"},
       {Layer::kSeccomp},
       "errno ESRCH"},
      {"ManyProcessesWithoutCgroup", {"many_processes", "60"}, {Layer::kCgroup}, "errno EAGAIN"},
  };
}

class AttackTest : public EscapeTest {
 protected:
  void SetUp() override {
    EscapeTest::SetUp();
    spec_.limits.open_files = 256;
    spec_.limits.file_bytes = 2 << 20;
    spec_.limits.processes = 20;
  }
  std::vector<std::string> Filled(const std::vector<std::string>& arguments) {
    return host().Fill(arguments, missing_);
  }
  bool HasLandlock(const sandbox::LocalSandbox& sandbox) {
    return std::ranges::any_of(sandbox.layers(), [](const sandbox::LayerEvidence& layer) {
      return layer.layer == "landlock" && layer.how != "missing";
    });
  }
  std::string missing_;
};

class Attacks : public AttackTest, public testing::WithParamInterface<Case> {
 protected:
  void Skip(const char* what, const std::string& why) {
    NoteSkipped(std::string(what) + " " + GetParam().name, why);
    GTEST_SKIP() << why;
  }
  void ExpectSuccess(const std::string& outcome) {
    // Of a kernel that was built without it, or of a container that shows it read-only.
    constexpr std::string_view kAbsent[] = {"errno ENOSYS", "errno EAFNOSUPPORT",
                                            "errno EPROTONOSUPPORT", "errno EROFS", "errno ENODEV"};
    if (std::ranges::find(kAbsent, outcome) != std::end(kAbsent))
      return Skip("control", "this machine does not have it: " + outcome);
    EXPECT_EQ(outcome, "succeeded");
  }
};

TEST_P(Attacks, FailsInTheSandbox) {
  const Case& attack = GetParam();
  const auto arguments = Filled(attack.attack);
  if (!attack.needs.empty()) Filled({attack.needs});
  if (!missing_.empty()) return Skip("attack", missing_);
  auto sandbox = Make();
  ASSERT_NE(sandbox, nullptr);
  if (std::string_view(attack.name) == "FileWithoutARule" && !HasLandlock(*sandbox))
    return Skip("attack", "this kernel has no Landlock");
  EXPECT_EQ(Attack(*sandbox, arguments).outcome, attack.outcome);
  EXPECT_TRUE(sandbox->Ping(Deadline::After(std::chrono::seconds(20))));
  ExpectNothingSurvives(std::move(sandbox));
}

TEST_P(Attacks, SucceedsWithoutWhatStopsIt) {
  const Case& attack = GetParam();
  const Control& control =
      !AsRoot() && attack.control_of_user ? *attack.control_of_user : attack.control;
  auto arguments = Filled(control.arguments.empty() ? attack.attack : control.arguments);
  if (control.refused_anyway && missing_.empty()) missing_ = control.refused_anyway();
  if (control.capability >= 0 && !HasCapability(control.capability))
    missing_ = "the test itself lacks " + CapabilityName(control.capability);
  if (!missing_.empty()) return Skip("control", missing_);
  if (control.place == Control::Place::kOutside) {
    if (!control.own.empty()) arguments.insert(arguments.begin(), "--own=" + control.own);
    const OutsideOptions options{.uid = control.uid, .leak = control.leak};
    ExpectSuccess(AttackOutside(arguments, options));
  } else {
    auto sandbox = Make(control.without);
    ASSERT_NE(sandbox, nullptr);
    ExpectSuccess(Attack(*sandbox, arguments).outcome);
  }
}

INSTANTIATE_TEST_SUITE_P(Escape, Attacks, testing::ValuesIn(Cases()),
                         [](const auto& test) { return std::string(test.param.name); });

class SecondLineOfDefence : public AttackTest, public testing::WithParamInterface<SecondLine> {};

TEST_P(SecondLineOfDefence, Holds) {
  const auto arguments = Filled(GetParam().attack);
  if (arguments[0] == "setuid_program") Filled({"{setuid}"});
  if (!missing_.empty()) {
    NoteSkipped(std::string("second line ") + GetParam().name, missing_);
    GTEST_SKIP() << missing_;
  }
  auto sandbox = Make(GetParam().without);
  ASSERT_NE(sandbox, nullptr);
  EXPECT_EQ(Attack(*sandbox, arguments).outcome, GetParam().outcome);
}

INSTANTIATE_TEST_SUITE_P(Escape, SecondLineOfDefence, testing::ValuesIn(SecondLines()),
                         [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace cofferdam::escape
