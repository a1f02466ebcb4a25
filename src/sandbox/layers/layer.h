// The layers of a sandbox, by name, and sets of them. Values only.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace cofferdam::sandbox {

/// In the order in which they are put on.
enum class Layer : std::uint8_t {
  kUserNamespace,
  kMountNamespace,
  kPidNamespace,
  kNetNamespace,
  kIpcNamespace,
  kUtsNamespace,
  kCgroup,  // limits on memory, processes and CPU
  kCgroupNamespace,
  kRoot,      // a root of its own, everything inherited locked read-only, nosuid, nodev
  kIdentity,  // an unprivileged uid and gid, no groups
  kRlimits,
  kCapabilities,  // none, also not in the bounding set
  kNoNewPrivs,
  kLandlock,
  kSeccomp,
  kUndumpable,  // the worker can be neither traced nor opened
};
inline constexpr int kLayerCount = 16;

std::string_view LayerName(Layer layer);
std::optional<Layer> LayerFromName(std::string_view name);

/// A set of layers; a plain number, so that it crosses to the launcher as it is.
class LayerSet {
 public:
  constexpr LayerSet() = default;
  constexpr explicit LayerSet(std::uint32_t bits) : bits_(bits) {}
  constexpr LayerSet With(Layer layer) const { return LayerSet(bits_ | Bit(layer)); }
  constexpr LayerSet Without(Layer layer) const { return LayerSet(bits_ & ~Bit(layer)); }
  constexpr bool Has(Layer layer) const { return (bits_ & Bit(layer)) != 0; }
  constexpr bool empty() const { return bits_ == 0; }
  constexpr std::uint32_t bits() const { return bits_; }
  friend constexpr bool operator==(LayerSet, LayerSet) = default;

 private:
  static constexpr std::uint32_t Bit(Layer layer) { return 1u << static_cast<unsigned>(layer); }
  std::uint32_t bits_ = 0;
};

/// What no caller can declare acceptable: without these there is no sandbox at all.
inline constexpr LayerSet kIndispensable = LayerSet()
                                               .With(Layer::kUserNamespace)
                                               .With(Layer::kMountNamespace)
                                               .With(Layer::kPidNamespace)
                                               .With(Layer::kRoot)
                                               .With(Layer::kIdentity)
                                               .With(Layer::kNoNewPrivs);

}  // namespace cofferdam::sandbox
