// Mounts that several sandboxes share: an overlay of immutable layers below one upper, made once by
// the launcher in a mount namespace of its own, from which each sandbox takes a clone. The kernel
// knows one file system then, whoever writes in it: two overlays above one upper would not see each
// other's files.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "sandbox/layers/launch.h"
#include "sandbox/spec.h"
#include "sys/fd.h"

namespace cofferdam::sandbox {

struct OverlayLayer {
  std::string source;  // absolute, on the host
  /// Who its files belong to on the disk. They appear as `OverlaySpec::identity`'s by an idmapped
  /// mount; those of others appear as nobody's and cannot be changed. The same as the identity: no
  /// id map is needed.
  HostIdentity owner;
};

struct OverlaySpec {
  std::vector<OverlayLayer> lowers;  // the uppermost first; at least one
  /// The directory that holds the upper and the work directory, absolute; both are names in it.
  std::string parent;
  std::string upper;
  std::string work;
  HostIdentity identity;
};

/// Whether a host can have them, and how: as the superuser attributes trusted.overlay.* with
/// redirect_dir=on; as an ordinary user user.overlay.* without it, so that renaming a directory of
/// a layer is EXDEV, which programs answer by copying.
bool OverlaysAreTrusted();

/// Owns the namespace and with it the mount. Immutable; safe to share. A sandbox that has it holds
/// it until the sandbox is destroyed, when its processes have ended. It outlives the launcher that
/// made it, but for an ordinary user's other launchers it cannot be had: LocalSandbox::Create says
/// kSandboxLost, and it is to be made anew.
class SharedMount {
 public:
  SharedMount(sys::UniqueFd mount_namespace, sys::UniqueFd root, bool trusted)
      : namespace_(std::move(mount_namespace)), root_(std::move(root)), trusted_(trusted) {}

  /// For the launcher: the namespace whose root is the mount.
  int mount_namespace() const { return namespace_.get(); }
  /// The merged tree, O_PATH, for a look from the host.
  int root() const { return root_.get(); }
  bool trusted() const { return trusted_; }

 private:
  sys::UniqueFd namespace_;
  sys::UniqueFd root_;
  bool trusted_;
};

class Launcher;

/// Makes the overlay. `work` is emptied first. kLayerMissing or kUnsupported when the kernel or a
/// file system refuses: the message names the layer and says why (no idmapped mounts, no extended
/// attributes, an overlay itself), the hint what to do about it.
Result<std::shared_ptr<const SharedMount>> MountOverlay(Launcher& launcher,
                                                        const OverlaySpec& spec);

}  // namespace cofferdam::sandbox
