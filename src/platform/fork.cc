#include "platform/fork.h"

#include <chrono>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "base/deadline.h"
#include "base/id.h"
#include "platform/layer_use.h"
#include "platform/rewind.h"
#include "platform/view.h"
#include "projects/layers.h"
#include "projects/tree_walk.h"
#include "projects/view.h"
#include "sandbox/disk_image.h"
#include "sandbox/overlay.h"
#include "sys/file.h"

namespace cofferdam::platform {
namespace {

/// Below sandbox::kMaxOverlayLayers, so that a fork with fewer can always be mounted.
constexpr std::size_t kMaxLayers = 24;

constexpr char kStood[] = "a run or a command works with the files; it stood still for the copy";
constexpr char kWentOn[] =
    "a run or a command works with the files, and could not be made to stand still: what it wrote "
    "meanwhile may be in the copy or not, and half written";

Status CheckTarget(const StateDirectory& directory, const std::string& to) {
  const auto there = directory.OpenWorkspace(to);
  if (there) return Err(ErrorCode::kAlreadyExists, "workspace '" + to + "' already exists");
  return there.error().code == ErrorCode::kNotFound ? Status() : std::unexpected(there.error());
}

Status CheckNoImage(const Workspace::State& from) {
  ASSIGN_OR_RETURN(const auto image, sandbox::FindDiskImage(from.folder()));
  if (!image) return {};
  return Err(ErrorCode::kUnsupported,
             "the files of workspace '" + from.id() +
                 "' lie in an image (disk_limit=hard), which the host does not look into",
             "make a new workspace and copy the files into it through a sandbox");
}

std::vector<std::string> LayersBelow(const ViewParts& parts) {
  return parts.record() ? parts.record()->layers : std::vector<std::string>();
}

class Fork {
 public:
  Fork(Platform::State& platform, Workspace::State& from, const std::string& to,
       const projects::Layers& layers)
      : platform_(platform), from_(from), to_(to), layers_(layers) {}

  Result<ForkResult> Run() {
    auto view = ExclusiveView::Open(from_, ViewChoice());
    if (!view && view.error().code == ErrorCode::kBusy) return CopyLive();
    if (!view) return std::unexpected(view.error());
    const ViewParts& parts = view->parts();
    ASSIGN_OR_RETURN(const bool empty, parts.upper_is_empty());
    if (empty) return ShareLayers(LayersBelow(parts));
    if (IsDeep(parts))
      return Copied(parts, "there are " + std::to_string(LayersBelow(parts).size()) +
                               " layers, of which the new workspace has one");
    const Status possible = layers_.CheckTakeOver(parts.parent(), parts.paths().upper);
    if (!possible && possible.error().code == ErrorCode::kUnsupported)
      return Copied(parts, possible.error().message);
    if (!possible) return std::unexpected(possible.error());
    return ShareUpper(*view);
  }

 private:
  /// There is nothing above the layers.
  Result<ForkResult> ShareLayers(const std::vector<std::string>& layers) {
    RETURN_IF_ERROR(MakeWorkspace(layers));
    return ForkResult{.method = "shared"};
  }

  Result<ForkResult> ShareUpper(ExclusiveView& view) {
    const ViewParts& parts = view.parts();
    const projects::Layer layer = NewLayer(parts);
    ASSIGN_OR_RETURN(const struct stat upper, sys::Stat(parts.upper_layer().root));
    RETURN_IF_ERROR(layers_.MakeEmpty(layer, upper.st_mode));
    const std::vector<std::string> layers = WithBelow(layer, parts);
    const auto take_over = [&]() -> Status {
      RETURN_IF_ERROR(WriteRecord(view.checkpoints(), layers, parts.record()));
      // What is said of the upper goes with it: a new one begins.
      RETURN_IF_ERROR(view.checkpoints().BeginEpoch(projects::kWorkView, {.reason = "fork"}));
      return layers_.TakeOver(layer.id, parts.parent(), parts.paths().upper);
    };
    RETURN_IF_ERROR(MakeWorkspace(layers, take_over));
    return ForkResult{.method = "shared", .layer = layer.id};
  }

  Result<ForkResult> CopyLive() {
    if (const auto live = from_.views().Live(projects::kWorkView)) {
      std::optional<CopiedLayer> copied;
      bool is_still = false;
      const auto copy = [&](bool frozen) -> Status {
        is_still = frozen;
        ASSIGN_OR_RETURN(copied, CopyFiles(*live->parts()));
        return {};
      };
      RETURN_IF_ERROR(live->WhileStill(copy));
      return Named(std::move(*copied), is_still ? kStood : kWentOn);
    }
    ASSIGN_OR_RETURN(projects::Checkpoints checkpoints,
                     projects::Checkpoints::Open(from_.path(), platform_.clock()));
    ASSIGN_OR_RETURN(const ViewParts parts, ViewParts::Open(from_, ViewChoice(), checkpoints));
    ASSIGN_OR_RETURN(CopiedLayer copied, CopyFiles(parts));
    // Another fork may have made a layer of the upper just before it was opened.
    ASSIGN_OR_RETURN(const auto record,
                     projects::ReadView(checkpoints.database(), projects::kWorkView));
    if ((record ? record->layers : std::vector<std::string>()) != LayersBelow(parts))
      return Err(ErrorCode::kBusy, "workspace '" + from_.id() + "' is being forked", "try again");
    return Named(std::move(copied), kWentOn);
  }

  Result<ForkResult> Copied(const ViewParts& parts, const std::string& reason) {
    ASSIGN_OR_RETURN(CopiedLayer copied, CopyFiles(parts));
    return Named(std::move(copied), reason);
  }

  struct CopiedLayer {
    std::string id;
    std::vector<std::string> layers;  // the new one, and those below it
    std::vector<projects::LeftOut> left_out = {};
  };

  static bool IsDeep(const ViewParts& parts) { return LayersBelow(parts).size() >= kMaxLayers; }

  Result<CopiedLayer> CopyFiles(const ViewParts& parts) {
    return IsDeep(parts) ? Flatten(parts) : CopyUpper(parts);
  }

  Result<CopiedLayer> CopyUpper(const ViewParts& parts) {
    const projects::Layer layer = NewLayer(parts);
    CopiedLayer copied{.id = layer.id, .layers = WithBelow(layer, parts)};
    ASSIGN_OR_RETURN(copied.left_out, layers_.Copy(layer, parts.parent(), parts.paths().upper));
    return copied;
  }

  Result<CopiedLayer> Flatten(const ViewParts& parts) {
    projects::Layer layer = NewLayer(parts);
    layer.format = projects::UpperFormat::kPlain;
    std::vector<projects::Layers::Part> all = {{parts.upper_layer(), layer.owner}};
    for (const ViewLower& lower : parts.lowers())
      all.push_back({{lower.root.get(), lower.format}, {lower.owner.uid, lower.owner.gid}});
    CopiedLayer copied{.id = layer.id, .layers = {layer.id}};
    ASSIGN_OR_RETURN(copied.left_out, layers_.Flatten(layer, all));
    return copied;
  }

  Result<ForkResult> Named(CopiedLayer copied, const std::string& reason) {
    RETURN_IF_ERROR(MakeWorkspace(copied.layers));
    ForkResult result{.method = "copied", .reason = reason, .layer = std::move(copied.id)};
    for (const projects::LeftOut& left_out : copied.left_out)
      result.left_out.push_back(projects::PathForPerson(left_out.path));
    return result;
  }

  /// The second workspace, whole, above `layers`. `before_named` is called when everything is
  /// there but its name.
  Status MakeWorkspace(const std::vector<std::string>& layers,
                       const std::function<Status()>& before_named = {}) {
    const auto fill = [&](const std::string& folder) -> Status {
      if (!layers.empty()) {
        ASSIGN_OR_RETURN(projects::Checkpoints checkpoints,
                         projects::Checkpoints::Open(folder, platform_.clock()));
        RETURN_IF_ERROR(WriteRecord(checkpoints, layers, {}));
      }
      return before_named ? before_named() : Status();
    };
    return platform_.directory().CreateWorkspace(to_, from_.settings(), platform_.clock(), fill);
  }

  Status WriteRecord(projects::Checkpoints& checkpoints, const std::vector<std::string>& layers,
                     const std::optional<projects::ViewRecord>& old) const {
    const std::int64_t now = platform_.clock().UnixMillis();
    return projects::WriteView(
        checkpoints.database(),
        {.view = projects::kWorkView,
         .layers = layers,
         .format = sandbox::OverlaysAreTrusted() ? projects::UpperFormat::kTrusted
                                                 : projects::UpperFormat::kUser,
         .created_millis = old ? old->created_millis : now,
         .used_millis = now});
  }

  projects::Layer NewLayer(const ViewParts& parts) const {
    return {.id = NewId(platform_.clock()),
            .owner = {parts.identity().uid, parts.identity().gid},
            .format = parts.format()};
  }

  static std::vector<std::string> WithBelow(const projects::Layer& layer, const ViewParts& parts) {
    std::vector<std::string> layers = LayersBelow(parts);
    layers.insert(layers.begin(), layer.id);
    return layers;
  }

  Platform::State& platform_;
  Workspace::State& from_;
  const std::string& to_;
  const projects::Layers& layers_;
};

}  // namespace

Result<ForkResult> ForkWorkspace(Platform::State& platform, const std::string& from,
                                 const std::string& to) {
  const auto start = std::chrono::steady_clock::now();
  RETURN_IF_ERROR(CheckTarget(platform.directory(), to));
  ASSIGN_OR_RETURN(const auto state, platform.OpenWorkspace(from));
  ASSIGN_OR_RETURN(const auto in_use, state->Use());
  RETURN_IF_ERROR(CheckNoImage(*state));
  RETURN_IF_ERROR(FinishRewind(*state, Deadline::Never(), {}));
  ASSIGN_OR_RETURN(const projects::Layers layers,
                   projects::Layers::Open(platform.directory().path()));
  auto result = [&]() -> Result<ForkResult> {
    ASSIGN_OR_RETURN(auto hold, layers.Take());
    ASSIGN_OR_RETURN(ForkResult forked, Fork(platform, *state, to, layers).Run());
    hold.Done();
    return forked;
  }();
  if (!result) {
    // What cannot be removed now is when the state is opened the next time.
    static_cast<void>(CollectLayers(platform.directory(), layers, platform.clock()));
    return result;
  }
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
  result->milliseconds = took.count();
  return result;
}

}  // namespace cofferdam::platform
