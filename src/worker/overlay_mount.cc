#include "worker/overlay_mount.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>
#include <vector>

#include "sandbox/layers/launch.h"
#include "sys/message.h"
#include "worker/source.h"

namespace cofferdam::worker {
namespace {

using sandbox::Ids;
using sandbox::OverlayLayerRequest;
using sandbox::OverlayReply;
using sandbox::OverlayRequest;
using sandbox::OverlayStep;

// Up to kernel 6.13 the parts of an overlay must be attached where it is made. Their paths are
// short, so that those of all layers fit into a page of options.
constexpr char kPlace[] = "/mnt";
constexpr char kParent[] = "/mnt/u";
constexpr char kMerged[] = "/mnt/m";

std::string LayerPath(std::size_t layer) { return "/mnt/" + std::to_string(layer); }

int Attach(int tree, const std::string& target) {
  if (::mkdir(target.c_str(), 0700) != 0) return errno;
  return ::move_mount(tree, "", AT_FDCWD, target.c_str(), MOVE_MOUNT_F_EMPTY_PATH) == 0 ? 0 : errno;
}

int CheckDirectory(const std::string& path, const sandbox::Place& place) {
  const sys::UniqueFd fd(::open(path.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  return fd.valid() ? CheckPlace(fd.get(), place) : errno;
}

class Mounter {
 public:
  Mounter(const sandbox::HostHandles& host, const OverlayRequest& request,
          std::vector<sys::UniqueFd> sources)
      : host_(host), request_(request), sources_(std::move(sources)) {}

  OverlayReply Run(sys::UniqueFd& mount_namespace, sys::UniqueFd& root) {
    if (const int error_number = EnterOwnNamespace())
      return {OverlayStep::kNamespace, error_number, 0};
    OverlayReply failure = OpenTrees();
    if (failure.failed_step == OverlayStep::kNone) failure = MapTrees();
    if (failure.failed_step == OverlayStep::kNone) failure = AttachTrees();
    if (failure.failed_step != OverlayStep::kNone) return failure;
    if (const int error_number = CheckAttributes())
      return {OverlayStep::kAttributes, error_number, 0};
    if (const int error_number = MountIt()) return {OverlayStep::kOverlay, error_number, 0};
    if (const int error_number = MakeItTheRoot()) return {OverlayStep::kRoot, error_number, 0};
    mount_namespace = OpenOwnNamespace();
    root = sys::UniqueFd(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!mount_namespace.valid() || !root.valid()) return {OverlayStep::kRoot, errno, 0};
    return {};
  }

 private:
  sys::UniqueFd OpenOwnNamespace() const {
    return sys::UniqueFd(::openat(host_.proc.get(), "self/ns/mnt", O_RDONLY | O_CLOEXEC));
  }

  int EnterOwnNamespace() {
    if (::unshare(CLONE_NEWNS) != 0) return errno;
    own_mounts_ = OpenOwnNamespace();
    return own_mounts_.valid() ? 0 : errno;
  }

  OverlayReply OpenTrees() {
    const int proc = host_.proc.get();
    if (::setns(host_.source_mounts.get(), CLONE_NEWNS) != 0)
      return {OverlayStep::kNamespace, errno, 0};
    if (const int error_number = OpenSource(proc, sources_[0].get(), request_.parent, parent_))
      return {OverlayStep::kParent, error_number, 0};
    layers_.resize(request_.layer_count);
    for (std::uint32_t i = 0; i < request_.layer_count; ++i)
      if (const int error_number =
              OpenSource(proc, sources_[i + 1].get(), request_.layers[i].place, layers_[i]))
        return {OverlayStep::kLayer, error_number, i};
    if (::setns(own_mounts_.get(), CLONE_NEWNS) != 0) return {OverlayStep::kNamespace, errno, 0};
    return {};
  }

  // Layers of one owner, as those that one workspace left, have one map.
  OverlayReply MapTrees() {
    sys::UniqueFd map;
    Ids mapped = request_.identity;
    for (std::uint32_t i = 0; i < request_.layer_count; ++i) {
      const Ids& owner = request_.layers[i].owner;
      if (owner == request_.identity) continue;
      if (owner != mapped)
        if (const int error_number = MakeIdMap(host_.proc.get(), owner, request_.identity, map))
          return {OverlayStep::kIdMap, error_number, i};
      mapped = owner;
      if (const int error_number = MapIds(layers_[i].get(), map.get()))
        return {OverlayStep::kMapLayer, error_number, i};
    }
    return {};
  }

  OverlayReply AttachTrees() {
    if (::mount("cofferdam", kPlace, "tmpfs", MS_NOSUID | MS_NODEV,
                "mode=0700,size=64k,nr_inodes=64") != 0 ||
        ::mkdir(kMerged, 0700) != 0)
      return {OverlayStep::kNamespace, errno, 0};
    for (std::uint32_t i = 0; i < request_.layer_count; ++i)
      if (const int error_number = Attach(layers_[i].get(), LayerPath(i)))
        return {OverlayStep::kAttach, error_number, i};
    int error_number = Attach(parent_.get(), kParent);
    if (error_number == 0) error_number = CheckDirectory(Upper(), request_.upper_place);
    if (error_number == 0) error_number = CheckDirectory(Work(), request_.work_place);
    return error_number == 0 ? OverlayReply{} : OverlayReply{OverlayStep::kParent, error_number, 0};
  }

  // Without them the kernel makes an overlay that cannot replace a directory.
  int CheckAttributes() const {
    const std::string work = Work();
    const char* name = request_.trusted != 0 ? "trusted.overlay.opaque" : "user.overlay.opaque";
    if (::setxattr(work.c_str(), name, "y", 1, 0) != 0) return errno;
    return ::removexattr(work.c_str(), name) == 0 ? 0 : errno;
  }

  // What a kernel's builder chose is said anew: with an index an upper would be tied to the layers
  // that it had first; without metacopy a file is in the upper whole. Numbers of inodes are kept
  // from layers on other file systems, where theirs are short enough, so that the tree is one
  // device to whoever looks.
  int MountIt() const {
    std::string options = request_.trusted != 0 ? "redirect_dir=on" : "userxattr";
    options += ",metacopy=off,index=off,xino=auto,lowerdir=" + LayerPath(0);
    for (std::uint32_t i = 1; i < request_.layer_count; ++i) options += ":" + LayerPath(i);
    options += ",upperdir=" + Upper() + ",workdir=" + Work();
    const bool done =
        ::mount("cofferdam", kMerged, "overlay", MS_NOSUID | MS_NODEV, options.c_str()) == 0;
    return done ? 0 : errno;
  }

  static int MakeItTheRoot() {
    if (::chdir(kMerged) != 0 || ::syscall(SYS_pivot_root, ".", ".") != 0) return errno;
    // The old root now lies on top of the new one.
    if (::umount2(".", MNT_DETACH) != 0) return errno;
    return ::chdir("/") == 0 ? 0 : errno;
  }

  std::string Upper() const { return kParent + std::string("/") + request_.upper; }
  std::string Work() const { return kParent + std::string("/") + request_.work; }

  const sandbox::HostHandles& host_;
  const OverlayRequest& request_;
  std::vector<sys::UniqueFd> sources_;
  sys::UniqueFd own_mounts_;
  sys::UniqueFd parent_;
  std::vector<sys::UniqueFd> layers_;
};

bool IsSound(OverlayRequest& request, std::size_t size, std::size_t sources) {
  request.upper[sizeof(request.upper) - 1] = '\0';
  request.work[sizeof(request.work) - 1] = '\0';
  return size == sizeof(request) && request.layer_count > 0 &&
         request.layer_count <= sandbox::kMaxOverlayLayers && sources == request.layer_count + 1;
}

}  // namespace

void MountOverlay(int socket, const sandbox::HostHandles& host) {
  OverlayRequest request{};
  auto message =
      sys::ReceiveMessage(socket, std::span(reinterpret_cast<char*>(&request), sizeof(request)));
  if (!message || message->size == 0) return;
  sys::UniqueFd mount_namespace;
  sys::UniqueFd root;
  OverlayReply reply{OverlayStep::kRequest, EINVAL, 0};
  if (IsSound(request, message->size, message->fds.size()))
    reply = Mounter(host, request, std::move(message->fds)).Run(mount_namespace, root);
  const int made[] = {mount_namespace.get(), root.get()};
  const auto passed =
      reply.failed_step == OverlayStep::kNone ? std::span(made) : std::span<const int>();
  const std::span bytes(reinterpret_cast<const char*>(&reply), sizeof(reply));
  static_cast<void>(sys::SendMessage(socket, bytes, passed));
}

}  // namespace cofferdam::worker
