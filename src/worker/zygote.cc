#include "worker/zygote.h"

#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>
#include <utility>

#include "base/check.h"
#include "sandbox/layers/confine.h"
#include "sandbox/layers/landlock.h"
#include "sandbox/layers/launch.h"
#include "sys/message.h"
#include "sys/process.h"
#include "worker/sandbox_mounts.h"
#include "worker/tool_server.h"

namespace cofferdam::worker {
namespace {

using sandbox::Access;
using sandbox::LaunchReply;
using sandbox::LaunchRequest;
using sandbox::Layer;
using sandbox::LayerSet;
using sandbox::Step;
using sandbox::ZygoteReport;

constexpr auto kUnchanged = static_cast<uid_t>(-1);

int Unshare(int flag) { return ::unshare(flag) == 0 ? 0 : errno; }

int JoinCgroups(const std::vector<sys::UniqueFd>& files) {
  for (const sys::UniqueFd& file : files)
    if (::write(file.get(), "0", 1) != 1) return errno;
  return 0;
}

// A loopback interface that is up, and nothing else. The namespace belongs to the launcher's user
// namespace, so that nobody in a sandbox has any capability over it.
int NewNetwork() {
  if (const int error_number = Unshare(CLONE_NEWNET)) return error_number;
  const sys::UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return errno;
  ifreq request{};
  std::strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  return ::ioctl(socket.get(), SIOCSIFFLAGS, &request) == 0 ? 0 : errno;
}

int SetHostname(const char* name, std::size_t size) {
  return ::sethostname(name, ::strnlen(name, size)) == 0 ? 0 : errno;
}

// Death is only signalled to those who asked for it in time.
void EndIfGone(const sys::UniqueFd& launcher) {
  pollfd waiting{launcher.get(), POLLIN, 0};
  if (::poll(&waiting, 1, 0) != 0) ::_exit(1);
}

// In the clone: goes on when the zygote has closed its end.
void WaitForZygote(sys::Pipe& gate) {
  gate.write_end.Reset();
  char byte;
  while (gate.read_end.valid() && ::read(gate.read_end.get(), &byte, 1) < 0 && errno == EINTR) {
  }
}

class Zygote {
 public:
  explicit Zygote(ZygoteParts parts) : parts_(std::move(parts)) {}

  void Run() {
    Prepare();
    const std::span report(reinterpret_cast<const char*>(&report_), sizeof(report_));
    if (!sys::SendMessage(parts_.socket.get(), report, {})) return;
    auto message = sys::ReceiveMessage(
        parts_.socket.get(), std::span(reinterpret_cast<char*>(&request_), sizeof(request_)));
    if (!message || message->size == 0) return;
    LaunchReply reply{};
    sys::UniqueFd pidfd;
    const Failure failure = message->size == sizeof(request_) &&
                                    request_.mount_count <= sandbox::kMaxMounts &&
                                    message->fds.size() == request_.mount_count
                                ? Launch(message->fds, reply, pidfd)
                                : Failure{Step::kRequest, EINVAL};
    reply.failed_step = failure.step;
    reply.error_number = failure.error_number;
    reply.mount = failure.mount;
    const int fds[] = {pidfd.get()};
    const std::span bytes(reinterpret_cast<const char*>(&reply), sizeof(reply));
    const auto passed = pidfd.valid() ? std::span(fds) : std::span<const int>();
    if (sys::SendMessage(parts_.socket.get(), bytes, passed)) WaitForTheHost();
  }

 private:
  // Ending takes a namespace apart; that is not to be done while the sandbox starts.
  void WaitForTheHost() {
    char byte;
    while (::recv(parts_.socket.get(), &byte, 1, 0) < 0 && errno == EINTR) {
    }
  }

  void Prepare() {
    // Whoever waits here for a launcher that has died would wait for nothing.
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    EndIfGone(parts_.host->launcher);
    Try(Step::kZygote, Layer::kMountNamespace, [] { return Unshare(CLONE_NEWNS); });
    own_mounts_ =
        sys::UniqueFd(::openat(parts_.host->proc.get(), "self/ns/mnt", O_RDONLY | O_CLOEXEC));
    Try(Step::kCgroupJoin, Layer::kCgroup, [&] {
      return parts_.cgroup_error != 0 ? parts_.cgroup_error : JoinCgroups(parts_.cgroups);
    });
    parts_.cgroups.clear();
    // After joining, so that the sandbox sees its own groups as the root.
    Try(Step::kCgroupNamespace, Layer::kCgroupNamespace, [] { return Unshare(CLONE_NEWCGROUP); });
    Try(Step::kNetwork, Layer::kNetNamespace, [] { return NewNetwork(); });
    Try(Step::kIpcNamespace, Layer::kIpcNamespace, [] { return Unshare(CLONE_NEWIPC); });
    Try(Step::kUtsNamespace, Layer::kUtsNamespace, [] {
      if (const int error_number = Unshare(CLONE_NEWUTS)) return error_number;
      return SetHostname(sandbox::kUsualHostname, sizeof(sandbox::kUsualHostname));
    });
    Try(Step::kMountTmp, Layer::kRoot, [] { return MountTemporary(); });
    Try(Step::kMountPts, Layer::kRoot, [] { return MountTerminals(); });
    PrepareLandlock();
    for (const auto& [name, field] : {std::pair{"self/ns/net", &ids_.net},
                                      {"self/ns/ipc", &ids_.ipc},
                                      {"self/ns/uts", &ids_.uts},
                                      {"self/ns/cgroup", &ids_.cgroup}})
      *field = NamespaceAt(name);
  }

  template <typename Function>
  void Try(Step step, Layer layer, Function&& function) {
    if (parts_.skip_layers.Has(layer)) return;
    const int error_number = function();
    if (error_number == 0) return;
    report_.missing_layers |= LayerSet().With(layer).bits();
    if (report_.failed_step != Step::kNone) return;
    report_.failed_step = step;
    report_.error_number = error_number;
  }

  // The mount plan once more, as far as it is known. "/" itself may only be listed, so that
  // kLandlockProbePath is out.
  void PrepareLandlock() {
    constexpr std::pair<const char*, Access> kRules[] = {
        {"/", Access::kList},         {"/usr", Access::kRead},      {"/bin", Access::kRead},
        {"/sbin", Access::kRead},     {"/lib", Access::kRead},      {"/lib32", Access::kRead},
        {"/lib64", Access::kRead},    {"/libx32", Access::kRead},   {"/etc", Access::kRead},
        {"/dev", Access::kReadWrite}, {"/tmp", Access::kReadWrite}, {"/run", Access::kReadWrite},
    };
    landlock_abi_ = sandbox::LandlockAbi();
    landlock_error_ = landlock_.Create(landlock_abi_);
    for (const auto& [path, access] : kRules)
      if (landlock_error_ == 0) landlock_error_ = landlock_.Allow(path, access);
  }

  std::uint64_t NamespaceAt(const std::string& path) const {
    struct stat info;
    return ::fstatat(parts_.host->proc.get(), path.c_str(), &info, 0) == 0 ? info.st_ino : 0;
  }

  Failure Launch(const std::vector<sys::UniqueFd>& sources, LaunchReply& reply,
                 sys::UniqueFd& pidfd) {
    std::vector<sys::UniqueFd> trees;
    Failure failure = AttachSources(*parts_.host, own_mounts_.get(), request_, sources, trees);
    if (failure.step != Step::kNone) return failure;
    for (std::size_t i = 0; i < trees.size() && landlock_error_ == 0; ++i)
      landlock_error_ = landlock_.Allow(
          trees[i].get(), request_.mounts[i].read_only != 0 ? Access::kRead : Access::kReadWrite);
    trees.clear();
    if (!parts_.skip_layers.Has(Layer::kRoot))
      if (const int error_number = FitTemporary(request_)) return {Step::kMountTmp, error_number};
    if (const int error_number = FitHostname()) return {Step::kUtsNamespace, error_number};
    // What is known of an undumpable process is the superuser's to see. A zygote that is not the
    // superuser has to look before the clone has become that.
    sys::Pipe gate;
    if (::getuid() != 0) {
      auto pipe = sys::NewPipe();
      if (!pipe) return {Step::kClone, pipe.error().sys_errno};
      gate = std::move(*pipe);
    }
    auto child = CloneAsTenant(gate);
    if (!child) return {Step::kClone, child.error().sys_errno};
    // The worker's alone from here on, so that its death can be noticed.
    parts_.channel.Reset();
    reply.pid = child->pid;
    reply.namespaces = ids_;
    const std::string process = std::to_string(child->pid);
    reply.namespaces.user = NamespaceAt(process + "/ns/user");
    reply.namespaces.mount = NamespaceAt(process + "/ns/mnt");
    reply.namespaces.pid = NamespaceAt(process + "/ns/pid");
    pidfd = std::move(child->pidfd);
    return {};
  }

  int FitHostname() {
    request_.hostname[sizeof(request_.hostname) - 1] = '\0';
    const bool usual = std::strcmp(request_.hostname, sandbox::kUsualHostname) == 0;
    const bool missing = LayerSet(report_.missing_layers).Has(Layer::kUtsNamespace) ||
                         parts_.skip_layers.Has(Layer::kUtsNamespace);
    return usual || missing ? 0 : SetHostname(request_.hostname, sizeof(request_.hostname));
  }

  // Under the tenant's effective ids, so that the kernel charges the tenant and accepts its id
  // maps.
  Result<sys::Child> CloneAsTenant(sys::Pipe& gate) {
    const bool is_root = ::getuid() == 0;
    if (is_root) RETURN_IF_ERROR(TakeEffectiveIds(request_.outer_uid, request_.outer_gid));
    // The clone opens its own /proc files to write its maps; a change of ids forbade that.
    CHECK(::prctl(PR_SET_DUMPABLE, 1) == 0);
    const std::uint64_t pid = parts_.skip_layers.Has(Layer::kPidNamespace) ? 0 : CLONE_NEWPID;
    auto child = sys::CloneProcess(CLONE_NEWUSER | CLONE_NEWNS | pid | CLONE_PARENT);
    if (child && child->pid == 0) {
      WaitForZygote(gate);
      BecomeSandbox();
    }
    if (is_root) ReturnToRoot();
    CHECK(::prctl(PR_SET_DUMPABLE, 0) == 0);
    return child;
  }

  static void ReturnToRoot() {
    CHECK(::setresuid(kUnchanged, 0, kUnchanged) == 0);
    CHECK(::setresgid(kUnchanged, 0, kUnchanged) == 0);
  }

  // Fails in a container whose superuser may not, or that does not map the ids.
  static Status TakeEffectiveIds(uid_t uid, gid_t gid) {
    if (::setresgid(kUnchanged, gid, kUnchanged) != 0) return ErrnoError(errno, "taking a gid");
    if (::setresuid(kUnchanged, uid, kUnchanged) == 0) return {};
    const int error_number = errno;
    ReturnToRoot();
    return ErrnoError(error_number, "taking a uid");
  }

  [[noreturn]] void BecomeSandbox() {
    // The launcher's standard streams are /dev/null, but for errors, which go to the host's.
    CHECK(::dup2(STDOUT_FILENO, STDERR_FILENO) == STDERR_FILENO);
    // Opened while it is its own; the worker becomes undumpable, and its files the superuser's.
    const int oom_score =
        ::openat(parts_.host->proc.get(), "self/oom_score_adj", O_RDWR | O_CLOEXEC);
    const int channel = parts_.channel.get();
    std::vector<int> keep = {STDIN_FILENO, STDOUT_FILENO,           STDERR_FILENO,
                             channel,      parts_.host->proc.get(), parts_.host->launcher.get()};
    if (oom_score >= 0) keep.push_back(oom_score);
    if (landlock_.fd() >= 0) keep.push_back(landlock_.fd());
    sys::CloseAllExcept(keep);
    const auto report = sandbox::Confine(
        request_, {parts_.host->proc.get(), landlock_abi_, landlock_error_, landlock_, channel});
    if (landlock_.fd() >= 0) ::close(landlock_.fd());
    EndIfGone(parts_.host->launcher);
    ::close(parts_.host->launcher.get());
    const std::span bytes(reinterpret_cast<const char*>(&report), sizeof(report));
    if (!sys::SendMessage(channel, bytes, {}) || report.failed_step != Step::kNone) ::_exit(1);
    // Where relative paths begin; a sandbox without one begins at its root.
    if (::chdir("/workspace") != 0) CHECK(::chdir("/") == 0);
    ServeTools(channel, oom_score);
    ::_exit(0);
  }

  ZygoteParts parts_;
  sys::UniqueFd own_mounts_;
  ZygoteReport report_{};
  sandbox::NamespaceIds ids_{};
  sandbox::LandlockRuleset landlock_;
  int landlock_abi_ = 0;
  int landlock_error_ = 0;
  LaunchRequest request_{};
};

}  // namespace

void RunZygote(ZygoteParts parts) {
  Zygote(std::move(parts)).Run();
  ::_exit(0);
}

}  // namespace cofferdam::worker
