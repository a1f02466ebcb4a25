#include "sandbox/overlay.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/check.h"
#include "base/split.h"
#include "sandbox/launcher.h"
#include "sys/file.h"

namespace cofferdam::sandbox {
namespace {

constexpr char kCopyInstead[] = "use project_mode copy";

Ids IdsOf(const HostIdentity& identity) { return {identity.uid, identity.gid}; }

// They stand in the options of a mount, where much else has a meaning.
bool IsPlainName(std::string_view name) {
  constexpr std::string_view kAllowed =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
  return !name.empty() && name.size() < sizeof(OverlayRequest::upper) && name != "." &&
         name != ".." && name.find_first_not_of(kAllowed) == std::string_view::npos;
}

Status CheckSpec(const OverlaySpec& spec) {
  if (spec.lowers.empty())
    return Err(ErrorCode::kInvalidArgument, "an overlay needs a layer below it");
  if (spec.lowers.size() > kMaxOverlayLayers)
    return Err(ErrorCode::kTooLarge,
               std::to_string(spec.lowers.size()) + " layers are more than the " +
                   std::to_string(kMaxOverlayLayers) + " that an overlay may have",
               "copy the workspace's files into a new workspace, which then has none below it");
  if (!IsPlainName(spec.upper) || !IsPlainName(spec.work) || spec.upper == spec.work)
    return Err(ErrorCode::kInvalidArgument, "the upper and the work directory need plain names");
  if (::geteuid() == 0) return {};
  for (const OverlayLayer& layer : spec.lowers)
    if (layer.owner != spec.identity)
      return Err(ErrorCode::kUnsupported,
                 "the layer '" + layer.source +
                     "' belongs to somebody else, whose files only the superuser can show as the "
                     "agent's own",
                 std::string("run as its owner or as root, or ") + kCopyInstead);
  return {};
}

Result<Place> PlaceOf(int fd) {
  ASSIGN_OR_RETURN(const struct stat info, sys::Stat(fd));
  return Place{info.st_dev, info.st_ino};
}

Result<Place> PlaceOf(int parent, const std::string& name) {
  ASSIGN_OR_RETURN(const sys::UniqueFd fd,
                   sys::OpenAt(parent, name, O_PATH | O_DIRECTORY | O_NOFOLLOW));
  return PlaceOf(fd.get());
}

// Whoever made it keeps it to himself: what lies in it for a moment is on its way into the upper.
Status MakeWorkDirectory(int parent, const std::string& name) {
  RETURN_IF_ERROR(sys::RemoveTree(parent, name));
  if (::mkdirat(parent, name.c_str(), 0700) != 0)
    return ErrnoError(errno, "making the work directory of an overlay");
  return {};
}

Status CheckParent(int parent, const std::string& path) {
  struct statfs info;
  if (::fstatfs(parent, &info) != 0) return ErrnoError(errno, "looking at '" + path + "'");
  if (info.f_type == OVERLAYFS_SUPER_MAGIC)
    return Err(ErrorCode::kUnsupported,
               "'" + path + "' lies on an overlay itself, which cannot take the changes of another",
               "keep the state directory on a file system like ext4 or xfs");
  return {};
}

/// What a request needs to be kept open until it is answered.
struct Opened {
  OverlayRequest request{};
  std::vector<sys::UniqueFd> owned;
  std::vector<int> fds() const {
    std::vector<int> all;
    for (const sys::UniqueFd& fd : owned) all.push_back(fd.get());
    return all;
  }
};

Status OpenParent(const OverlaySpec& spec, Opened& opened) {
  ASSIGN_OR_RETURN(sys::UniqueFd path, OpenMountSource(spec.parent));
  ASSIGN_OR_RETURN(const sys::UniqueFd parent,
                   sys::OpenAt(path.get(), ".", O_RDONLY | O_DIRECTORY));
  RETURN_IF_ERROR(CheckParent(parent.get(), spec.parent));
  RETURN_IF_ERROR(MakeWorkDirectory(parent.get(), spec.work));
  OverlayRequest& request = opened.request;
  ASSIGN_OR_RETURN(request.parent, PlaceOf(parent.get()));
  ASSIGN_OR_RETURN(request.upper_place, PlaceOf(parent.get(), spec.upper));
  ASSIGN_OR_RETURN(request.work_place, PlaceOf(parent.get(), spec.work));
  std::strncpy(request.upper, spec.upper.c_str(), sizeof(request.upper) - 1);
  std::strncpy(request.work, spec.work.c_str(), sizeof(request.work) - 1);
  opened.owned.push_back(std::move(path));
  return {};
}

Status OpenLayer(const OverlayLayer& layer, Opened& opened) {
  ASSIGN_OR_RETURN(sys::UniqueFd fd, OpenMountSource(layer.source));
  ASSIGN_OR_RETURN(const struct stat info, sys::Stat(fd.get()));
  if (!S_ISDIR(info.st_mode)) return ErrnoError(ENOTDIR, "opening it");
  opened.request.layers[opened.request.layer_count++] = {{info.st_dev, info.st_ino},
                                                         IdsOf(layer.owner)};
  opened.owned.push_back(std::move(fd));
  return {};
}

std::string LayerName(const OverlaySpec& spec, std::uint32_t layer) {
  return "the layer '" + (layer < spec.lowers.size() ? spec.lowers[layer].source : "?") + "'";
}

std::string AllLayers(const OverlaySpec& spec) {
  std::string text;
  for (const OverlayLayer& layer : spec.lowers)
    text += (text.empty() ? "'" : ", '") + layer.source + "'";
  return text;
}

Error Unsupported(Error error) {
  error.code = ErrorCode::kUnsupported;
  return error;
}

Error Gone(int error_number, const std::string& what) {
  if (error_number == ESTALE)
    return Err(ErrorCode::kNotFound, what + " is another directory by now than it was just before",
               "see that nobody replaces it while a run begins")
        .error();
  const char* hint = error_number == EINVAL
                         ? "file systems that are mounted below it cannot be taken along by an "
                           "ordinary user: run as root, or use project_mode copy"
                         : "see that it still exists";
  return ErrnoError(error_number, "opening " + what, hint).error();
}

Error OverlayError(const OverlayReply& reply, const OverlaySpec& spec) {
  const int number = reply.error_number;
  switch (reply.failed_step) {
    case OverlayStep::kParent:
      return Gone(number, "the directory of changes '" + spec.parent + "'");
    case OverlayStep::kLayer:
      return Gone(number, LayerName(spec, reply.layer));
    case OverlayStep::kMapLayer:
      return Unsupported(
          ErrnoError(number,
                     LayerName(spec, reply.layer) +
                         " cannot be shown as the agent's own: its file "
                         "system has no idmapped mounts, which ext4, xfs and btrfs have",
                     kCopyInstead)
              .error());
    case OverlayStep::kAttributes:
      return Unsupported(ErrnoError(number,
                                    "the file system of '" + spec.parent +
                                        "' keeps no extended attributes (" +
                                        (OverlaysAreTrusted() ? "trusted" : "user") +
                                        ".*), which an overlay needs for what is replaced",
                                    "keep the state directory on a file system like ext4 or xfs")
                             .error());
    case OverlayStep::kOverlay:
      return Unsupported(ErrnoError(number,
                                    "the kernel makes no overlay of " + AllLayers(spec) +
                                        " with the changes in '" + spec.parent + "'",
                                    std::string("a file system over the network and an overlay of "
                                                "overlays cannot be layers: ") +
                                        kCopyInstead)
                             .error());
    default:
      break;
  }
  Error error = ErrnoError(number, "the launcher cannot make an overlay",
                           "see that user.max_mnt_namespaces and user.max_user_namespaces are "
                           "not reached; `cofferdam doctor` says more")
                    .error();
  error.code = ErrorCode::kLayerMissing;
  return error;
}

// The attributes trusted.* are only for the superuser of the whole machine.
bool IsInitialUserNamespace() {
  const auto map = sys::ReadFile("/proc/self/uid_map");
  return map && SplitNonEmpty(SplitNonEmpty(*map, '\n')[0], ' ') ==
                    std::vector<std::string_view>{"0", "0", "4294967295"};
}

}  // namespace

bool OverlaysAreTrusted() { return ::geteuid() == 0 && IsInitialUserNamespace(); }

Result<std::shared_ptr<const SharedMount>> MountOverlay(Launcher& launcher,
                                                        const OverlaySpec& spec) {
  RETURN_IF_ERROR(CheckSpec(spec));
  Opened opened;
  if (const Status parent = OpenParent(spec, opened); !parent)
    return std::unexpected(parent.error().With("the directory of changes '" + spec.parent + "'"));
  for (const OverlayLayer& layer : spec.lowers)
    if (const Status opening = OpenLayer(layer, opened); !opening)
      return std::unexpected(opening.error().With("the layer '" + layer.source + "'"));
  const bool trusted = OverlaysAreTrusted();
  opened.request.trusted = trusted ? 1 : 0;
  opened.request.identity = IdsOf(spec.identity);
  ASSIGN_OR_RETURN(Launcher::Overlay overlay, launcher.MountOverlay(opened.request, opened.fds()));
  if (overlay.reply.failed_step != OverlayStep::kNone)
    return std::unexpected(OverlayError(overlay.reply, spec));
  return std::make_shared<const SharedMount>(std::move(overlay.mount_namespace),
                                             std::move(overlay.root), trusted);
}

}  // namespace cofferdam::sandbox
