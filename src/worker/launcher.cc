#include "worker/launcher.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "sandbox/layers/confine.h"
#include "sandbox/layers/tree.h"
#include "sys/file.h"
#include "sys/message.h"
#include "sys/process.h"
#include "worker/network_pool.h"
#include "worker/tool_server.h"

namespace cofferdam::worker {
namespace {

using sandbox::LaunchReply;
using sandbox::LaunchRequest;
using sandbox::Layer;
using sandbox::LayerSet;
using sandbox::MountRequest;
using sandbox::Step;

struct Failure {
  Step step = Step::kNone;
  int error_number = 0;
};

constexpr std::uint64_t kRequiredNamespaces = CLONE_NEWUSER | CLONE_NEWNS;
constexpr std::pair<Layer, std::uint64_t> kOtherNamespaces[] = {
    {Layer::kPidNamespace, CLONE_NEWPID},
    {Layer::kIpcNamespace, CLONE_NEWIPC},
    {Layer::kUtsNamespace, CLONE_NEWUTS},
};

// Mounts that belong to the sandbox being made: in the launcher's namespace only while it is
// cloned.
class AttachedMounts {
 public:
  ~AttachedMounts() { Detach(); }
  void Detach() {
    for (auto target = targets_.rbegin(); target != targets_.rend(); ++target)
      CHECK(::umount2(target->c_str(), MNT_DETACH) == 0);
    targets_.clear();
  }
  int Attach(int tree, const std::string& target) {
    if (::move_mount(tree, "", AT_FDCWD, target.c_str(), MOVE_MOUNT_F_EMPTY_PATH) != 0)
      return errno;
    targets_.push_back(target);
    return 0;
  }

 private:
  std::vector<std::string> targets_;
};

// Opens what the host's descriptor shows in the namespace of sources, and makes sure that it is
// that.
int OpenSource(int proc, const MountRequest& request, int host_fd, sys::UniqueFd& tree) {
  char path[4096];
  const std::string link = "self/fd/" + std::to_string(host_fd);
  const ssize_t length = ::readlinkat(proc, link.c_str(), path, sizeof(path) - 1);
  if (length < 0) return errno;
  path[length] = '\0';
  tree = sys::UniqueFd(
      ::open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW));
  if (!tree.valid()) return errno;
  struct stat info;
  if (::fstat(tree.get(), &info) != 0) return errno;
  if (info.st_dev != request.device || info.st_ino != request.inode) return ESTALE;
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
  if (request.read_only != 0) attributes.attr_set |= MOUNT_ATTR_RDONLY;
  if (::mount_setattr(tree.get(), "", AT_EMPTY_PATH, &attributes, sizeof(attributes)) != 0)
    return errno;
  return 0;
}

int MakeTarget(const std::string& target, bool directory) {
  for (std::size_t slash = target.find('/', 1); slash != std::string::npos;
       slash = target.find('/', slash + 1))
    if (::mkdir(target.substr(0, slash).c_str(), 0755) != 0 && errno != EEXIST) return errno;
  if (directory) return ::mkdir(target.c_str(), 0755) == 0 || errno == EEXIST ? 0 : errno;
  const sys::UniqueFd fd(::open(target.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0444));
  return fd.valid() ? 0 : errno;
}

constexpr char kExtraMounts[] = "/mnt";

bool IsExtra(const std::string& target) { return target.starts_with("/mnt/"); }

// A place for mount points that belong to this sandbox alone; the shared root takes none.
int AttachExtraMountsRoot(AttachedMounts& mounts) {
  const sys::UniqueFd context(::fsopen("tmpfs", FSOPEN_CLOEXEC));
  if (!context.valid()) return errno;
  for (const auto& [key, value] : {std::pair{"mode", "0755"}, {"size", "1m"}, {"nr_inodes", "256"}})
    if (::fsconfig(context.get(), FSCONFIG_SET_STRING, key, value, 0) != 0) return errno;
  if (::fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) return errno;
  const sys::UniqueFd tree(
      ::fsmount(context.get(), FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV));
  if (!tree.valid()) return errno;
  return mounts.Attach(tree.get(), kExtraMounts);
}

// In the clone: goes on when the launcher has closed its end.
void WaitForLauncher(sys::Pipe& gate) {
  gate.write_end.Reset();
  char byte;
  while (gate.read_end.valid() && ::read(gate.read_end.get(), &byte, 1) < 0 && errno == EINTR) {
  }
}

int MakeReadOnly(const char* target) {
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_RDONLY;
  return ::mount_setattr(AT_FDCWD, target, 0, &attributes, sizeof(attributes)) == 0 ? 0 : errno;
}

constexpr auto kUnchanged = static_cast<uid_t>(-1);

class Launcher {
 public:
  explicit Launcher(int socket) : socket_(socket) {}

  void Serve() {
    for (;;) {
      explicit_bzero(&request_, sizeof(request_));
      auto message = sys::ReceiveMessage(
          socket_, std::span(reinterpret_cast<char*>(&request_), sizeof(request_)));
      if (!message || message->size == 0) return;
      LaunchReply reply{};
      sys::UniqueFd pidfd;
      Handle(*message, reply, pidfd);
      const int fds[] = {pidfd.get()};
      const std::span bytes(reinterpret_cast<const char*>(&reply), sizeof(reply));
      const auto passed = pidfd.valid() ? std::span(fds) : std::span<const int>();
      const bool sent = sys::SendMessage(socket_, bytes, passed).has_value();
      // Off the path of the answer: the kernel waits for its readers here.
      attached_.Detach();
      if (!sent) return;
      while (host_.own_mounts.valid() && networks_.WantsMore() && !RequestIsWaiting())
        if (!networks_.Fill()) break;
    }
  }

  // Every sandbox dies with its worker. Then nothing is in the cgroups, and they can go.
  void EndSandboxes() {
    if (!host_.proc.valid()) return;
    const auto children = sys::Children(host_.proc.get());
    if (children)
      for (const pid_t pid : *children) ::kill(pid, SIGKILL);
    // SIGCHLD is ignored, so this waits for all of them and then fails.
    while (::waitpid(-1, nullptr, 0) >= 0 || errno == EINTR) {
    }
    for (const KeptCgroup& kept : cgroups_) {
      const auto names = sys::ListDirectory(kept.directory.get());
      if (!names) continue;
      for (const std::string& name : *names) RemoveGroup(kept.directory.get(), name);
      RemoveGroup(kept.parent.get(), cgroup_name_);
    }
  }

 private:
  struct KeptCgroup {
    sys::UniqueFd parent;
    sys::UniqueFd directory;
  };

  void KeepCgroups(std::vector<sys::UniqueFd>& fds) {
    request_.cgroup_name[sizeof(request_.cgroup_name) - 1] = '\0';
    cgroup_name_ = request_.cgroup_name;
    for (std::size_t i = 0; i + 1 < fds.size(); i += 2)
      cgroups_.push_back({std::move(fds[i]), std::move(fds[i + 1])});
  }

  // Files of a cgroup directory are no directories and stay. The kernel may need a moment to let go
  // of ended processes.
  static void RemoveGroup(int directory, const std::string& name) {
    constexpr int kAttempts = 1000;
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
      if (::unlinkat(directory, name.c_str(), AT_REMOVEDIR) == 0 || errno != EBUSY) return;
      ::poll(nullptr, 0, 1);
    }
  }

  void Handle(sys::ReceivedMessage& message, LaunchReply& reply, sys::UniqueFd& pidfd) {
    Failure failure{Step::kRequest, EINVAL};
    if (message.size == sizeof(request_)) {
      if (request_.kind == sandbox::RequestKind::kPrepare && !host_.own_mounts.valid() &&
          message.fds.size() == 2 * request_.cgroup_count) {
        KeepCgroups(message.fds);
        const auto prepared = sandbox::PrepareTree(host_);
        failure = {prepared.step, prepared.error_number};
        if (prepared.step == Step::kNone) failure = PrepareNetworks();
        // From here on ended children leave no zombies; the host watches them by pidfd.
        ::signal(SIGCHLD, SIG_IGN);
      } else if (request_.kind == sandbox::RequestKind::kLaunch && host_.own_mounts.valid() &&
                 request_.mount_count <= sandbox::kMaxMounts &&
                 request_.cgroup_count <= sandbox::kMaxCgroups &&
                 message.fds.size() == 1 + request_.cgroup_count + request_.mount_count) {
        failure = Launch(message.fds, reply, pidfd);
      }
    }
    reply.failed_step = failure.step;
    reply.error_number = failure.error_number;
  }

  Failure Launch(const std::vector<sys::UniqueFd>& fds, LaunchReply& reply, sys::UniqueFd& pidfd) {
    const Failure failure = AttachAll(fds, attached_);
    if (failure.step != Step::kNone) return failure;
    // What is known of an undumpable process is the superuser's to see. A launcher that is not the
    // superuser has to look before the clone has become that.
    sys::Pipe gate;
    if (::getuid() != 0) {
      auto pipe = sys::NewPipe();
      if (!pipe) return {Step::kClone, pipe.error().sys_errno};
      gate = std::move(*pipe);
    }
    if (const int error_number = EnterNetwork(reply)) return {Step::kNetwork, error_number};
    std::uint64_t flags = WantedNamespaces();
    auto child = CloneAsTenant(flags, fds, gate);
    if (!child) {
      flags &= ~MissingOptionalNamespaces(reply);
      child = CloneAsTenant(flags, fds, gate);
    }
    networks_.Leave();
    if (!child) return {Step::kClone, child.error().sys_errno};
    reply.pid = child->pid;
    ReadNamespaces(child->pid, reply.namespaces);
    pidfd = std::move(child->pidfd);
    return {};
  }

  Failure PrepareNetworks() {
    const Status prepared = networks_.Prepare(host_.proc.get());
    return prepared ? Failure{} : Failure{Step::kNetwork, prepared.error().sys_errno};
  }

  // 0, or an errno when a network namespace cannot be had and may not be missing.
  int EnterNetwork(LaunchReply& reply) {
    if (LayerSet(request_.skip_layers).Has(Layer::kNetNamespace)) return 0;
    const Status entered = networks_.Enter();
    if (entered) return 0;
    if (!LayerSet(request_.optional_layers).Has(Layer::kNetNamespace))
      return entered.error().sys_errno;
    reply.missing_layers |= LayerSet().With(Layer::kNetNamespace).bits();
    return 0;
  }

  bool RequestIsWaiting() const {
    pollfd waiting{socket_, POLLIN, 0};
    return ::poll(&waiting, 1, 0) != 0;
  }

  Failure AttachAll(const std::vector<sys::UniqueFd>& fds, AttachedMounts& mounts) {
    std::vector<sys::UniqueFd> trees(request_.mount_count);
    if (::setns(host_.source_mounts.get(), CLONE_NEWNS) != 0) return {Step::kMountSource, errno};
    int error_number = 0;
    for (std::uint32_t i = 0; i < request_.mount_count && error_number == 0; ++i)
      error_number = OpenSource(host_.proc.get(), request_.mounts[i],
                                fds[1 + request_.cgroup_count + i].get(), trees[i]);
    CHECK(::setns(host_.own_mounts.get(), CLONE_NEWNS) == 0);
    if (error_number != 0) return {Step::kMountSource, error_number};
    error_number = AttachTrees(trees, mounts);
    return error_number == 0 ? Failure{} : Failure{Step::kMountAttach, error_number};
  }

  int AttachTrees(const std::vector<sys::UniqueFd>& trees, AttachedMounts& mounts) {
    bool has_extra = false;
    for (std::uint32_t i = 0; i < request_.mount_count; ++i) {
      MountRequest& mount = request_.mounts[i];
      mount.target[sizeof(mount.target) - 1] = '\0';
      const std::string target = mount.target;
      if (IsExtra(target)) {
        if (!std::exchange(has_extra, true))
          if (const int error_number = AttachExtraMountsRoot(mounts)) return error_number;
        struct stat info;
        if (::fstat(trees[i].get(), &info) != 0) return errno;
        if (const int error_number = MakeTarget(target, S_ISDIR(info.st_mode))) return error_number;
      }
      if (const int error_number = mounts.Attach(trees[i].get(), target)) return error_number;
    }
    return has_extra ? MakeReadOnly(kExtraMounts) : 0;
  }

  std::uint64_t WantedNamespaces() const {
    std::uint64_t flags = kRequiredNamespaces;
    for (const auto& [layer, flag] : kOtherNamespaces)
      if (!LayerSet(request_.skip_layers).Has(layer)) flags |= flag;
    return flags;
  }

  // Tries each namespace that may be missing alone. What cannot be had is noted in the reply.
  std::uint64_t MissingOptionalNamespaces(LaunchReply& reply) const {
    std::uint64_t missing = 0;
    for (const auto& [layer, flag] : kOtherNamespaces) {
      if (!LayerSet(request_.optional_layers).Has(layer)) continue;
      auto child = sys::CloneProcess(kRequiredNamespaces | flag);
      if (child && child->pid == 0) ::_exit(0);
      if (child) continue;
      missing |= flag;
      reply.missing_layers |= LayerSet().With(layer).bits();
    }
    return missing;
  }

  // Under the tenant's effective ids, so that the kernel charges the tenant and accepts its id
  // maps.
  Result<sys::Child> CloneAsTenant(std::uint64_t flags, const std::vector<sys::UniqueFd>& fds,
                                   sys::Pipe& gate) {
    const bool is_root = ::getuid() == 0;
    if (is_root) RETURN_IF_ERROR(TakeEffectiveIds(request_.outer_uid, request_.outer_gid));
    // The clone opens its own /proc files to write its maps; a change of ids forbade that.
    CHECK(::prctl(PR_SET_DUMPABLE, 1) == 0);
    auto child = sys::CloneProcess(flags);
    if (child && child->pid == 0) {
      WaitForLauncher(gate);
      BecomeSandbox(fds);
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

  [[noreturn]] void BecomeSandbox(const std::vector<sys::UniqueFd>& fds) {
    // The launcher's standard streams are /dev/null, but for errors, which go to the host's.
    CHECK(::dup2(STDOUT_FILENO, STDERR_FILENO) == STDERR_FILENO);
    std::vector<int> keep;
    for (std::uint32_t i = 0; i < 1 + request_.cgroup_count; ++i) keep.push_back(fds[i].get());
    keep.insert(keep.end(), {host_.proc.get(), STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO});
    sys::CloseAllExcept(keep);
    const int channel = keep.front();
    const auto report = sandbox::Confine(
        request_, {std::span(keep).subspan(1, request_.cgroup_count), host_.proc.get()});
    for (std::uint32_t i = 0; i < request_.cgroup_count; ++i) ::close(fds[1 + i].get());
    const std::span bytes(reinterpret_cast<const char*>(&report), sizeof(report));
    if (!sys::SendMessage(channel, bytes, {}) || report.failed_step != Step::kNone) ::_exit(1);
    // Where relative paths begin; a sandbox without one begins at its root.
    if (::chdir("/workspace") != 0) CHECK(::chdir("/") == 0);
    ServeTools(channel);
    ::_exit(0);
  }

  void ReadNamespaces(pid_t pid, sandbox::NamespaceIds& ids) const {
    const std::pair<const char*, std::uint64_t*> fields[] = {
        {"user", &ids.user}, {"mnt", &ids.mount}, {"pid", &ids.pid},
        {"net", &ids.net},   {"ipc", &ids.ipc},   {"uts", &ids.uts}};
    for (const auto& [name, field] : fields) {
      struct stat info;
      const std::string path = std::to_string(pid) + "/ns/" + name;
      *field = ::fstatat(host_.proc.get(), path.c_str(), &info, 0) == 0 ? info.st_ino : 0;
    }
  }

  int socket_;
  sandbox::HostHandles host_;
  AttachedMounts attached_;
  NetworkPool networks_;
  std::vector<KeptCgroup> cgroups_;
  std::string cgroup_name_;
  LaunchRequest request_{};
};

}  // namespace

void RunLauncher(int socket) {
  ::signal(SIGPIPE, SIG_IGN);
  // No secondary group of the host's may reach a sandbox. An ordinary user cannot drop them, nor
  // can the superuser of some containers; the host sees what came of it before it uses a sandbox.
  if (::geteuid() == 0) static_cast<void>(::syscall(SYS_setgroups, 0, nullptr));
  Launcher launcher(socket);
  launcher.Serve();
  launcher.EndSandboxes();
}

}  // namespace cofferdam::worker
