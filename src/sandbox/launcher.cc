#include "sandbox/launcher.h"

#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

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
      {Step::kKeyring, Layer::kIdentity, "leaving the host's keyrings",
       "a container must allow keyctl, or the kernel be built without keyrings"},
      {Step::kLauncherNamespaces, Layer::kMountNamespace, "entering the launcher's namespaces",
       kUserNamespaceRemedy},
      {Step::kLauncherTree, Layer::kRoot, "building the sandbox's root", kProcRemedy},
      {Step::kZygote, Layer::kMountNamespace, "preparing a sandbox ahead",
       "see that neither processes nor memory have run out on this machine"},
      {Step::kCgroupJoin, Layer::kCgroup, "joining the control groups",
       "run as root or delegate a cgroup to this user"},
      {Step::kCgroupNamespace, Layer::kCgroupNamespace, "unsharing the cgroup namespace",
       "see that user.max_cgroup_namespaces is above 0"},
      {Step::kNetwork, Layer::kNetNamespace, "making a network namespace",
       "see that user.max_net_namespaces is not reached"},
      {Step::kIpcNamespace, Layer::kIpcNamespace, "making an IPC namespace",
       "see that user.max_ipc_namespaces is not reached"},
      {Step::kUtsNamespace, Layer::kUtsNamespace, "making a namespace for the host name",
       "see that user.max_uts_namespaces is not reached"},
      {Step::kMountTmp, Layer::kRoot, "mounting a tmpfs", kBug},
      {Step::kMountPts, Layer::kRoot, "mounting /dev/pts",
       "see that kernel.pty.max is not reached"},
      {Step::kMountSource, std::nullopt, "opening a mount source",
       "see that the directory still exists"},
      {Step::kMountShared, std::nullopt, "entering the namespace of a shared mount",
       "the launcher that made it has ended; it is made anew with the next run"},
      {Step::kMountIdMap, std::nullopt, "showing a directory's files as the sandbox's own",
       "the file system has to know idmapped mounts, as ext4, xfs and btrfs do: use project_mode "
       "copy, or a directory that belongs to the workspace's uid"},
      {Step::kMountAttach, std::nullopt, "attaching a mount", "the destination must be below /mnt"},
      {Step::kClone, Layer::kUserNamespace, "cloning into new namespaces", kUserNamespaceRemedy},
      {Step::kIdMaps, Layer::kUserNamespace, "writing the uid and gid maps", kUserNamespaceRemedy},
      {Step::kMountProc, Layer::kRoot, "mounting /proc", kProcRemedy},
      {Step::kIdentity, Layer::kIdentity, "taking the sandbox's ids", kBug},
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

std::span<const char> BytesOf(const auto& message) {
  return {reinterpret_cast<const char*>(&message), sizeof(message)};
}

std::unexpected<Error> Gone(const char* who) {
  return Err(ErrorCode::kSandboxLost, std::string("the ") + who + " has ended",
             "it is started again with the next run");
}

// A whole message of a process that is ours until it has made a sandbox.
template <typename Message>
Result<std::vector<sys::UniqueFd>> ReceiveWhole(int socket, Message& message, const char* who) {
  auto received = sys::ReceiveMessage(socket, {reinterpret_cast<char*>(&message), sizeof(message)});
  const bool reset = !received && received.error().sys_errno == ECONNRESET;
  if (reset || (received && received->size != sizeof(message))) return Gone(who);
  if (!received) return std::unexpected(received.error());
  return std::move(received->fds);
}

Status Send(int socket, std::span<const char> bytes, std::span<const int> fds, const char* who) {
  const Status sent = sys::SendMessage(socket, bytes, fds);
  if (!sent && (sent.error().sys_errno == EPIPE || sent.error().sys_errno == ECONNRESET))
    return Gone(who);
  return sent;
}

NamespaceIds OwnNamespaces() {
  NamespaceIds ids{};
  for (const auto& [name, field] : {std::pair{"user", &ids.user},
                                    {"mnt", &ids.mount},
                                    {"pid", &ids.pid},
                                    {"net", &ids.net},
                                    {"ipc", &ids.ipc},
                                    {"uts", &ids.uts},
                                    {"cgroup", &ids.cgroup}}) {
    struct stat info;
    const std::string path = std::string("/proc/self/ns/") + name;
    *field = ::stat(path.c_str(), &info) == 0 ? info.st_ino : 0;
  }
  return ids;
}

constexpr char kLauncher[] = "launcher";
constexpr char kZygote[] = "zygote";
constexpr char kMounter[] = "mounter";

bool IsAboutAMount(Step step) {
  return step == Step::kMountSource || step == Step::kMountShared || step == Step::kMountIdMap ||
         step == Step::kMountAttach;
}

Error LaunchError(const LaunchReply& reply, const LaunchRequest& request) {
  Error error = StepError(reply.failed_step, reply.error_number);
  if (!IsAboutAMount(reply.failed_step) || reply.mount >= request.mount_count) return error;
  return error.With("the mount at '" + std::string(request.mounts[reply.mount].target) + "'");
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
  if (step == Step::kMountShared) error.code = ErrorCode::kSandboxLost;
  if (step == Step::kMountIdMap) error.code = ErrorCode::kUnsupported;
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

Launcher::Launcher(std::size_t pool_size)
    : tool_identity_(ToolIdentity()),
      host_namespaces_(OwnNamespaces()),
      cgroups_(CgroupRoot::Open()),
      cgroup_pool_(cgroups_ ? std::make_unique<CgroupPool>(*cgroups_, pool_size) : nullptr) {
  if (pool_size > 0)
    zygotes_ = std::make_unique<ZygotePool>([this] { return MakeUsualZygote(); }, pool_size);
}

Result<std::unique_ptr<Launcher>> Launcher::Start(std::size_t pool_size) {
  std::unique_ptr<Launcher> launcher(new Launcher(pool_size));
  const std::lock_guard lock(launcher->mutex_);
  RETURN_IF_ERROR(launcher->StartProcess());
  return launcher;
}

Launcher::~Launcher() {
  // Their groups go quickly when the launcher has ended them.
  std::vector<Zygote> unused;
  if (zygotes_ != nullptr) unused = zygotes_->Stop();
  const std::lock_guard lock(mutex_);
  EndProcess();
}

Status Launcher::StartProcess() {
  ASSIGN_OR_RETURN(sys::SocketPair pair, sys::NewSocketPair(SOCK_SEQPACKET));
  ASSIGN_OR_RETURN(process_, sys::SpawnImage(WorkerImage(), "cofferdam-worker", pair.second.get()));
  pair.second.Reset();
  socket_ = std::move(pair.first);
  LauncherRequest request{};
  request.kind = RequestKind::kPrepare;
  std::vector<int> fds;
  if (cgroups_) {
    fds = cgroups_->Descriptors();
    request.cgroup_count = static_cast<std::uint32_t>(fds.size() / 2);
    std::strncpy(request.cgroup_name, cgroups_->directory_name().c_str(),
                 sizeof(request.cgroup_name) - 1);
  }
  const Status prepared = AskLocked(request, fds);
  if (!prepared) EndProcess();
  return prepared;
}

void Launcher::EndProcess() {
  // End of file is the launcher's word to end every sandbox, and then itself. Closing alone would
  // not give it while a fork of this process still holds the socket.
  if (socket_.valid()) ::shutdown(socket_.get(), SHUT_RDWR);
  socket_.Reset();
  if (process_.pid > 0) static_cast<void>(sys::Reap(process_.pid));
  process_ = {};
}

Status Launcher::AskLocked(const LauncherRequest& request, std::span<const int> fds) {
  if (!socket_.valid()) return Gone(kLauncher);
  RETURN_IF_ERROR(Send(socket_.get(), BytesOf(request), fds, kLauncher));
  LauncherReply reply{};
  RETURN_IF_ERROR(ReceiveWhole(socket_.get(), reply, kLauncher));
  if (reply.failed_step == Step::kNone) return {};
  return std::unexpected(StepError(reply.failed_step, reply.error_number));
}

Status Launcher::Ask(const LauncherRequest& request, std::span<const int> fds, WhenGone when_gone) {
  const std::lock_guard lock(mutex_);
  const Status answered = AskLocked(request, fds);
  const bool gone = !answered && answered.error().code == ErrorCode::kSandboxLost;
  if (!gone || when_gone == WhenGone::kFail) return answered;
  EndProcess();
  if (zygotes_ != nullptr) zygotes_->Discard();
  RETURN_IF_ERROR(StartProcess());
  return AskLocked(request, fds);
}

Result<Zygote> Launcher::MakeZygote(LayerSet skip, const Limits& limits, WhenGone when_gone) {
  Zygote zygote;
  ASSIGN_OR_RETURN(sys::SocketPair socket, sys::NewSocketPair(SOCK_SEQPACKET));
  ASSIGN_OR_RETURN(sys::SocketPair channel, sys::NewSocketPair(SOCK_STREAM));
  std::vector<int> fds = {socket.second.get(), channel.second.get()};
  std::vector<sys::UniqueFd> join_files;
  LauncherRequest request{};
  request.kind = RequestKind::kMakeZygote;
  request.skip_layers = skip.bits();
  if (cgroup_pool_ != nullptr && !skip.Has(Layer::kCgroup)) {
    ASSIGN_OR_RETURN(zygote.cgroup, cgroup_pool_->Take(limits));
    request.clone_into_cgroup = cgroups_->is_v2() ? 1 : 0;
    if (cgroups_->is_v2()) {
      ASSIGN_OR_RETURN(sys::UniqueFd directory, zygote.cgroup->OpenDirectory());
      join_files.push_back(std::move(directory));
    } else {
      ASSIGN_OR_RETURN(join_files, zygote.cgroup->OpenJoinFiles());
    }
    for (const sys::UniqueFd& file : join_files) fds.push_back(file.get());
    request.cgroup_count = static_cast<std::uint32_t>(join_files.size());
  }
  RETURN_IF_ERROR(Ask(request, fds, when_gone));
  // Now only the zygote has its ends, so that its death can be noticed.
  socket.second.Reset();
  channel.second.Reset();
  RETURN_IF_ERROR(ReceiveWhole(socket.first.get(), zygote.report, kZygote));
  zygote.socket = std::move(socket.first);
  zygote.channel = std::move(channel.first);
  return zygote;
}

Result<Zygote> Launcher::MakeUsualZygote() {
  Limits limits;
  {
    const std::lock_guard lock(mutex_);
    limits = usual_limits_;
  }
  return MakeZygote(LayerSet(), limits, WhenGone::kFail);
}

Result<Launched> Launcher::AskZygote(Zygote zygote, const LaunchRequest& request,
                                     std::span<const int> mounts, const Limits& limits) const {
  const LayerSet missing(zygote.report.missing_layers & ~request.optional_layers);
  if (!missing.empty())
    return std::unexpected(StepError(zygote.report.failed_step, zygote.report.error_number));
  if (zygote.cgroup) RETURN_IF_ERROR(zygote.cgroup->SetLimits(limits));
  RETURN_IF_ERROR(Send(zygote.socket.get(), BytesOf(request), mounts, kZygote));
  Launched launched;
  ASSIGN_OR_RETURN(std::vector<sys::UniqueFd> fds,
                   ReceiveWhole(zygote.socket.get(), launched.reply, kZygote));
  if (launched.reply.failed_step != Step::kNone)
    return std::unexpected(LaunchError(launched.reply, request));
  CHECK(fds.size() == 1);
  launched.pidfd = std::move(fds[0]);
  launched.channel = std::move(zygote.channel);
  launched.cgroup = std::move(zygote.cgroup);
  launched.missing_layers = zygote.report.missing_layers;
  launched.zygote = std::move(zygote.socket);
  return launched;
}

Result<Launched> Launcher::Launch(const LaunchRequest& request, std::span<const int> mounts,
                                  const Limits& limits) {
  const LayerSet skip(request.skip_layers);
  if (!cgroups_ && !skip.Has(Layer::kCgroup) &&
      !LayerSet(request.optional_layers).Has(Layer::kCgroup))
    return std::unexpected(cgroups_.error());
  if (zygotes_ != nullptr && skip.empty()) {
    {
      const std::lock_guard lock(mutex_);
      usual_limits_ = limits;
    }
    if (auto ready = zygotes_->Take()) {
      auto launched = AskZygote(std::move(*ready), request, mounts, limits);
      // One that waited for a launcher that has died is dead, too.
      if (launched || launched.error().code != ErrorCode::kSandboxLost) return launched;
    }
  }
  ASSIGN_OR_RETURN(Zygote zygote, MakeZygote(skip, limits, WhenGone::kStartAnother));
  return AskZygote(std::move(zygote), request, mounts, limits);
}

Result<Launcher::Overlay> Launcher::MountOverlay(const OverlayRequest& request,
                                                 std::span<const int> fds) {
  ASSIGN_OR_RETURN(sys::SocketPair socket, sys::NewSocketPair(SOCK_SEQPACKET));
  LauncherRequest ask{};
  ask.kind = RequestKind::kMountOverlay;
  const int ends[] = {socket.second.get()};
  RETURN_IF_ERROR(Ask(ask, ends, WhenGone::kStartAnother));
  socket.second.Reset();
  RETURN_IF_ERROR(Send(socket.first.get(), BytesOf(request), fds, kMounter));
  Overlay overlay;
  ASSIGN_OR_RETURN(std::vector<sys::UniqueFd> answer,
                   ReceiveWhole(socket.first.get(), overlay.reply, kMounter));
  if (overlay.reply.failed_step != OverlayStep::kNone) return overlay;
  CHECK(answer.size() == 2);
  overlay.mount_namespace = std::move(answer[0]);
  overlay.root = std::move(answer[1]);
  return overlay;
}

void Launcher::Recycle(Cgroup cgroup) {
  CHECK(cgroup_pool_ != nullptr);
  cgroup_pool_->Return(std::move(cgroup));
}

void Launcher::WaitUntilFilled() {
  if (zygotes_ != nullptr) zygotes_->WaitUntilFilled();
}

Result<pid_t> Launcher::Pid() const {
  const std::lock_guard lock(mutex_);
  return sys::PidOf(process_.pidfd.get());
}

}  // namespace cofferdam::sandbox
