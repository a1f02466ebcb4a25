#include "worker/launcher.h"

#include <fcntl.h>
#include <linux/keyctl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>
#include <vector>

#include "sandbox/layers/launch.h"
#include "sandbox/layers/tree.h"
#include "sys/cgroups.h"
#include "sys/file.h"
#include "sys/message.h"
#include "sys/process.h"
#include "worker/overlay_mount.h"
#include "worker/zygote.h"

namespace cofferdam::worker {
namespace {

using sandbox::LauncherReply;
using sandbox::LauncherRequest;
using sandbox::LayerSet;
using sandbox::RequestKind;
using sandbox::Step;

// Nothing in a sandbox may reach a keyring of the host's: all inherit one that is new, empty and
// revoked. A kernel without keyrings has none to reach.
int LeaveKeyrings() {
  if (::syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, nullptr) < 0)
    return errno == ENOSYS ? 0 : errno;
  return ::syscall(SYS_keyctl, KEYCTL_REVOKE, KEY_SPEC_SESSION_KEYRING) == 0 ? 0 : errno;
}

// Makes zygotes on request. Nothing of one stays here, so that the launcher after many sandboxes is
// the launcher that it was.
class Launcher {
 public:
  explicit Launcher(int socket) : socket_(socket) {}

  void Serve() {
    for (;;) {
      LauncherRequest request{};
      auto message = sys::ReceiveMessage(
          socket_, std::span(reinterpret_cast<char*>(&request), sizeof(request)));
      if (!message || message->size == 0) return;
      const LauncherReply reply = message->size == sizeof(request)
                                      ? Handle(request, std::move(message->fds))
                                      : LauncherReply{Step::kRequest, EINVAL};
      const std::span bytes(reinterpret_cast<const char*>(&reply), sizeof(reply));
      if (!sys::SendMessage(socket_, bytes, {})) return;
    }
  }

  // Every sandbox dies with its worker. Then nothing is in the cgroups, and they can go.
  void EndSandboxes() {
    if (!host_.proc.valid()) return;
    // A zygote that was just asked has a child of ours that is not listed yet; it dies first.
    for (bool any = true; any;) {
      const auto children = sys::Children(host_.proc.get());
      any = children && !children->empty();
      if (!any) break;
      for (const pid_t pid : *children) ::kill(pid, SIGKILL);
      // A frozen one takes the signal only now.
      for (const KeptCgroup& kept : cgroups_) sys::ThawGroups(kept.directory.get());
      // SIGCHLD is ignored, so this waits for all of them and then fails.
      while (::waitpid(-1, nullptr, 0) >= 0 || errno == EINTR) {
      }
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

  LauncherReply Handle(LauncherRequest& request, std::vector<sys::UniqueFd> fds) {
    const bool prepared = host_.own_mounts.valid();
    if (request.kind == RequestKind::kPrepare && !prepared &&
        fds.size() == 2 * request.cgroup_count)
      return Prepare(request, std::move(fds));
    if (request.kind == RequestKind::kMakeZygote && prepared &&
        fds.size() == 2 + request.cgroup_count)
      return MakeZygote(request, std::move(fds));
    if (request.kind == RequestKind::kMountOverlay && prepared && fds.size() == 1)
      return MakeMounter(std::move(fds[0]));
    return {Step::kRequest, EINVAL};
  }

  LauncherReply Prepare(LauncherRequest& request, std::vector<sys::UniqueFd> fds) {
    request.cgroup_name[sizeof(request.cgroup_name) - 1] = '\0';
    cgroup_name_ = request.cgroup_name;
    for (std::size_t i = 0; i + 1 < fds.size(); i += 2)
      cgroups_.push_back({std::move(fds[i]), std::move(fds[i + 1])});
    if (const int error_number = LeaveKeyrings()) return {Step::kKeyring, error_number};
    const auto prepared = sandbox::PrepareTree(host_);
    // From here on ended children leave no zombies; the host watches them by pidfd.
    ::signal(SIGCHLD, SIG_IGN);
    return {prepared.step, prepared.error_number};
  }

  LauncherReply MakeZygote(const LauncherRequest& request, std::vector<sys::UniqueFd> fds) {
    const bool into = request.clone_into_cgroup != 0;
    if (into && request.cgroup_count != 1) return {Step::kRequest, EINVAL};
    int cgroup_error = 0;
    auto child = into ? sys::CloneProcessInto(fds[2].get(), 0) : sys::CloneProcess(0);
    if (!child && into) {
      cgroup_error = child.error().sys_errno;
      child = sys::CloneProcess(0);
    }
    if (!child) return {Step::kZygote, child.error().sys_errno};
    if (child->pid > 0) return {};
    // The group itself is no file to join by, and nothing that a sandbox is to have.
    if (into) fds.resize(2);
    ZygoteParts parts{.socket = std::move(fds[0]),
                      .channel = std::move(fds[1]),
                      .cgroups = {},
                      .cgroup_error = cgroup_error,
                      .skip_layers = LayerSet(request.skip_layers),
                      .host = &host_};
    for (std::size_t i = 2; i < fds.size(); ++i) parts.cgroups.push_back(std::move(fds[i]));
    CloseOthers(parts);
    RunZygote(std::move(parts));
  }

  LauncherReply MakeMounter(sys::UniqueFd socket) {
    auto child = sys::CloneProcess(0);
    if (!child) return {Step::kZygote, child.error().sys_errno};
    if (child->pid > 0) return {};
    CloseAllBut({socket.get()});
    MountOverlay(socket.get(), host_);
    ::_exit(0);
  }

  void CloseOthers(const ZygoteParts& parts) {
    std::vector<int> keep = {parts.socket.get(), parts.channel.get(), host_.launcher.get()};
    for (const sys::UniqueFd& file : parts.cgroups) keep.push_back(file.get());
    CloseAllBut(std::move(keep));
  }

  // Beside what every fork of ours needs.
  void CloseAllBut(std::vector<int> keep) {
    keep.insert(keep.end(), {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO, host_.proc.get(),
                             host_.source_mounts.get()});
    sys::CloseAllExcept(keep);
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

  int socket_;
  sandbox::HostHandles host_;
  std::vector<KeptCgroup> cgroups_;
  std::string cgroup_name_;
};

}  // namespace

void RunLauncher(int socket) {
  // Whatever the host ignores, its sandboxes do not.
  for (int signal = 1; signal < NSIG; ++signal) ::signal(signal, SIG_DFL);
  ::signal(SIGPIPE, SIG_IGN);
  // No secondary group of the host's may reach a sandbox. An ordinary user cannot drop them, nor
  // can the superuser of some containers; the host sees what came of it before it uses a sandbox.
  if (::geteuid() == 0) static_cast<void>(::syscall(SYS_setgroups, 0, nullptr));
  Launcher launcher(socket);
  launcher.Serve();
  launcher.EndSandboxes();
}

}  // namespace cofferdam::worker
