#include "sandbox/launcher.h"

#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/check.h"
#include "sandbox/worker_image.h"
#include "sys/message.h"

extern "C" {
extern const char cofferdam_worker_image_begin[];
extern const char cofferdam_worker_image_end[];
}

namespace cofferdam::sandbox {

std::span<const char> WorkerImage() {
  return {cofferdam_worker_image_begin, cofferdam_worker_image_end};
}

namespace {

struct StepInfo {
  Step step;
  std::optional<Layer> layer;
  const char* what;
  const char* remedy;
};

constexpr char kUserNamespaceRemedy[] =
    "see that user.max_user_namespaces is above 0 and that "
    "kernel.apparmor_restrict_unprivileged_userns and "
    "kernel.unprivileged_userns_clone do not forbid user namespaces; in a container allow "
    "CAP_SYS_ADMIN or unshare";
constexpr char kProcRemedy[] =
    "a container that masks /proc forbids a new one: run it with --security-opt "
    "systempaths=unconfined";
constexpr char kBug[] = "this is not expected; run `cofferdam doctor` and report what it prints";

const StepInfo& InfoFor(Step step) {
  static constexpr StepInfo kSteps[] = {
      {Step::kNone, std::nullopt, "nothing", ""},
      {Step::kRequest, std::nullopt, "the launcher understanding the request", kBug},
      {Step::kLauncherNamespaces, Layer::kMountNamespace, "entering the launcher's namespaces",
       kUserNamespaceRemedy},
      {Step::kLauncherTree, Layer::kRoot, "building the sandbox's root", kProcRemedy},
      {Step::kMountSource, std::nullopt, "opening a mount source",
       "see that the directory still exists"},
      {Step::kMountAttach, std::nullopt, "attaching a mount", "the destination must be below /mnt"},
      {Step::kNetwork, Layer::kNetNamespace, "making a network namespace",
       "see that user.max_net_namespaces is not reached"},
      {Step::kClone, Layer::kUserNamespace, "cloning into new namespaces", kUserNamespaceRemedy},
      {Step::kCgroupJoin, Layer::kCgroup, "joining the control groups",
       "run as root or delegate a cgroup to this user"},
      {Step::kCgroupNamespace, Layer::kCgroupNamespace, "unsharing the cgroup namespace",
       "see that user.max_cgroup_namespaces is above 0"},
      {Step::kIdMaps, Layer::kUserNamespace, "writing the uid and gid maps", kUserNamespaceRemedy},
      {Step::kMountProc, Layer::kRoot, "mounting /proc", kProcRemedy},
      {Step::kMountTmp, Layer::kRoot, "mounting a tmpfs", kBug},
      {Step::kMountPts, Layer::kRoot, "mounting /dev/pts",
       "see that kernel.pty.max is not reached"},
      {Step::kHostname, Layer::kUtsNamespace, "setting the host name", kBug},
      {Step::kIdentity, Layer::kIdentity, "taking the sandbox's ids", kBug},
      {Step::kKeyring, Layer::kIdentity, "joining a new session keyring",
       "see that kernel.keys.maxkeys is not reached"},
      {Step::kRlimits, Layer::kRlimits, "setting resource limits", kBug},
      {Step::kCapabilities, Layer::kCapabilities, "dropping capabilities", kBug},
      {Step::kNoNewPrivs, Layer::kNoNewPrivs, "setting no_new_privs", kBug},
      {Step::kLandlock, Layer::kLandlock, "restricting paths with Landlock",
       "boot with landlock in the lsm= list, or leave it out with --allow-missing=landlock"},
      {Step::kSeccomp, Layer::kSeccomp, "loading the seccomp filter",
       "the kernel needs CONFIG_SECCOMP_FILTER"},
      {Step::kUndumpable, Layer::kUndumpable, "making the worker undumpable", kBug},
      {Step::kParentDeath, Layer::kIdentity, "setting the parent-death signal", kBug},
  };
  for (const StepInfo& info : kSteps)
    if (info.step == step) return info;
  // A worker that reports a step which does not exist is not ours.
  return kSteps[1];
}

LaunchRequest PrepareRequest(const Result<CgroupRoot>& cgroups, std::vector<int>& fds) {
  LaunchRequest request{};
  request.kind = RequestKind::kPrepare;
  if (cgroups) {
    fds = cgroups->Descriptors();
    request.cgroup_count = static_cast<std::uint32_t>(fds.size() / 2);
    std::strncpy(request.cgroup_name, cgroups->directory_name().c_str(),
                 sizeof(request.cgroup_name) - 1);
  }
  return request;
}

}  // namespace

Error StepError(Step step, int error_number) {
  const StepInfo& info = InfoFor(step);
  Error error = ErrnoError(error_number, info.what, info.remedy).error();
  if (info.layer) {
    error.code = ErrorCode::kLayerMissing;
    error.message = "the sandbox layer '" + std::string(LayerName(*info.layer)) +
                    "' cannot be had: " + error.message;
  }
  return error;
}

std::optional<Layer> LayerOf(const Error& error) {
  for (int i = 0; i < kLayerCount; ++i) {
    const auto layer = static_cast<Layer>(i);
    const std::string name = "the sandbox layer '" + std::string(LayerName(layer)) + "'";
    if (error.message.starts_with(name)) return layer;
  }
  return std::nullopt;
}

Result<std::unique_ptr<Launcher>> Launcher::Start() {
  std::unique_ptr<Launcher> launcher(new Launcher);
  const std::lock_guard lock(launcher->mutex_);
  RETURN_IF_ERROR(launcher->StartProcess());
  return launcher;
}

Launcher::~Launcher() {
  const std::lock_guard lock(mutex_);
  EndProcess();
}

Status Launcher::StartProcess() {
  ASSIGN_OR_RETURN(sys::SocketPair pair, sys::NewSocketPair(SOCK_SEQPACKET));
  ASSIGN_OR_RETURN(process_, sys::SpawnImage(WorkerImage(), "cofferdam-worker", pair.second.get()));
  pair.second.Reset();
  socket_ = std::move(pair.first);
  std::vector<int> fds;
  const LaunchRequest request = PrepareRequest(cgroups_, fds);
  const auto prepared = Ask(request, fds);
  if (!prepared) {
    EndProcess();
    return std::unexpected(prepared.error());
  }
  return {};
}

void Launcher::EndProcess() {
  // End of file is the launcher's word to end every sandbox, and then itself. Closing alone would
  // not give it while a fork of this process still holds the socket.
  if (socket_.valid()) ::shutdown(socket_.get(), SHUT_RDWR);
  socket_.Reset();
  if (process_.pid > 0) static_cast<void>(sys::Reap(process_.pid));
  process_ = {};
}

Result<Launched> Launcher::Ask(const LaunchRequest& request, std::span<const int> fds) {
  const std::span bytes(reinterpret_cast<const char*>(&request), sizeof(request));
  RETURN_IF_ERROR(sys::SendMessage(socket_.get(), bytes, fds));
  Launched launched;
  const std::span buffer(reinterpret_cast<char*>(&launched.reply), sizeof(launched.reply));
  ASSIGN_OR_RETURN(sys::ReceivedMessage message, sys::ReceiveMessage(socket_.get(), buffer));
  if (message.size != sizeof(launched.reply))
    return Err(ErrorCode::kSandboxLost, "the launcher has ended",
               "it is started again with the next run");
  if (launched.reply.failed_step != Step::kNone)
    return std::unexpected(StepError(launched.reply.failed_step, launched.reply.error_number));
  if (request.kind == RequestKind::kLaunch) {
    CHECK(message.fds.size() == 1);
    launched.pidfd = std::move(message.fds[0]);
  }
  return launched;
}

Result<Launched> Launcher::Launch(const LaunchRequest& request, std::span<const int> fds) {
  const std::lock_guard lock(mutex_);
  if (socket_.valid()) {
    auto launched = Ask(request, fds);
    const bool launcher_gone = !launched && (launched.error().code == ErrorCode::kSandboxLost ||
                                             launched.error().sys_errno == EPIPE ||
                                             launched.error().sys_errno == ECONNRESET);
    if (!launcher_gone) return launched;
    EndProcess();
  }
  RETURN_IF_ERROR(StartProcess());
  return Ask(request, fds);
}

Result<pid_t> Launcher::Pid() const {
  const std::lock_guard lock(mutex_);
  return sys::PidOf(process_.pidfd.get());
}

}  // namespace cofferdam::sandbox
