#include "projects/layers.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>
#include <string_view>

#include "base/check.h"
#include "base/clock.h"
#include "base/id.h"
#include "json/fields.h"
#include "json/json.h"
#include "projects/tree_copy.h"
#include "sandbox/disk_quota.h"
#include "storage/atomic_file.h"
#include "sys/flock.h"

namespace cofferdam::projects {
namespace {

constexpr std::int64_t kFormat = 1;
constexpr char kLayerFile[] = "layer.json";
constexpr char kTree[] = "tree";
constexpr std::size_t kMaxLayerFileBytes = 64 << 10;
/// A layer that is being made.
constexpr std::string_view kNewPrefix = ".new-";
/// Somebody has a Hold, or had one and died.
constexpr std::string_view kMarkPrefix = ".hold-";

constexpr std::array<std::pair<UpperFormat, std::string_view>, 3> kFormats = {{
    {UpperFormat::kPlain, "none"},
    {UpperFormat::kTrusted, "trusted"},
    {UpperFormat::kUser, "user"},
}};

std::string_view FormatName(UpperFormat format) {
  return std::ranges::find(kFormats, format, &std::pair<UpperFormat, std::string_view>::first)
      ->second;
}

Result<UpperFormat> FormatFromName(std::string_view name) {
  for (const auto& [format, text] : kFormats)
    if (text == name) return format;
  return Err(ErrorCode::kMalformed, "'attributes' is none of none, trusted and user");
}

Status CheckId(const std::string& id) {
  if (IsId(id)) return {};
  return Err(ErrorCode::kInvalidArgument, "that is not the id of a layer");
}

Status MakeDirectoryAt(int directory, const std::string& name) {
  if (::mkdirat(directory, name.c_str(), 0700) == 0) return {};
  return ErrnoError(errno, "making '" + name + "'");
}

Status WriteLayerFile(int folder, const Layer& layer) {
  const json::Json document = {{"format", kFormat},
                               {"id", layer.id},
                               {"uid", layer.owner.uid},
                               {"gid", layer.owner.gid},
                               {"attributes", FormatName(layer.format)}};
  return storage::WriteFileAtomically(folder, kLayerFile, document.dump(2) + "\n", 0600);
}

Result<Layer> ParseLayerFile(std::string_view text) {
  constexpr json::IntRange kIds{.min = 0, .max = 0xFFFF'FFFE};
  ASSIGN_OR_RETURN(const json::Json document, json::Parse(text));
  ASSIGN_OR_RETURN(const std::int64_t format, json::GetInt(document, "format"));
  if (format != kFormat)
    return Err(ErrorCode::kUnsupported, "format " + std::to_string(format) + " is not known",
               "use a newer version");
  Layer layer;
  ASSIGN_OR_RETURN(layer.id, json::GetString(document, "id"));
  ASSIGN_OR_RETURN(const std::int64_t uid, json::GetInt(document, "uid", kIds));
  ASSIGN_OR_RETURN(const std::int64_t gid, json::GetInt(document, "gid", kIds));
  layer.owner = {static_cast<uid_t>(uid), static_cast<gid_t>(gid)};
  ASSIGN_OR_RETURN(const std::string attributes, json::GetString(document, "attributes"));
  ASSIGN_OR_RETURN(layer.format, FormatFromName(attributes));
  return layer;
}

bool IsSuperuser() { return ::geteuid() == 0; }

/// A layer in the making, which is gone again unless it becomes one.
class NewLayer {
 public:
  static Result<NewLayer> Make(int layers, const Layer& layer) {
    RETURN_IF_ERROR(CheckId(layer.id));
    NewLayer made(layers, layer.id);
    RETURN_IF_ERROR(MakeDirectoryAt(layers, made.temporary_));
    made.exists_ = true;
    ASSIGN_OR_RETURN(made.folder_, sys::OpenAt(layers, made.temporary_, O_RDONLY | O_DIRECTORY));
    RETURN_IF_ERROR(MakeDirectoryAt(made.folder_.get(), kTree));
    ASSIGN_OR_RETURN(made.tree_, sys::OpenAt(made.folder_.get(), kTree, O_RDONLY | O_DIRECTORY));
    // Syncs the folder, too.
    RETURN_IF_ERROR(WriteLayerFile(made.folder_.get(), layer));
    return made;
  }
  NewLayer(NewLayer&& other) noexcept
      : layers_(other.layers_),
        id_(std::move(other.id_)),
        temporary_(std::move(other.temporary_)),
        exists_(std::exchange(other.exists_, false)),
        folder_(std::move(other.folder_)),
        tree_(std::move(other.tree_)) {}
  NewLayer& operator=(NewLayer&&) = delete;
  ~NewLayer() {
    if (exists_) static_cast<void>(sys::RemoveTree(layers_, temporary_));
  }

  int tree() const { return tree_.get(); }

  /// With what was written into its tree.
  Status PublishSynced() {
    if (::syncfs(tree_.get()) != 0) return ErrnoError(errno, "syncing a layer");
    return Publish();
  }

  Status Publish() {
    if (::renameat2(layers_, temporary_.c_str(), layers_, id_.c_str(), RENAME_NOREPLACE) != 0)
      return ErrnoError(errno, "making layer " + id_);
    exists_ = false;
    return storage::SyncDirectory(layers_);
  }

 private:
  NewLayer(int layers, std::string id)
      : layers_(layers), id_(std::move(id)), temporary_(std::string(kNewPrefix) + id_) {}

  int layers_;
  std::string id_;
  std::string temporary_;
  bool exists_ = false;
  sys::UniqueFd folder_;
  sys::UniqueFd tree_;
};

bool IsPerLayer(const std::string& name) { return name.starts_with(kNewPrefix) || IsId(name); }

}  // namespace

void Layers::Hold::Done() {
  // What stays only makes somebody look in vain.
  static_cast<void>(::unlinkat(directory_.get(), mark_.c_str(), 0));
}

Result<Layers> Layers::Open(const std::string& state) {
  std::string path = state + "/layers";
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST)
    return ErrnoError(errno, "making '" + path + "'");
  ASSIGN_OR_RETURN(sys::UniqueFd directory, sys::Open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  return Layers(std::move(path), std::move(directory));
}

Result<Layers::Hold> Layers::Take() const {
  // A description of its own, since a lock belongs to one.
  ASSIGN_OR_RETURN(sys::UniqueFd directory,
                   sys::OpenAt(directory_.get(), ".", O_RDONLY | O_DIRECTORY));
  RETURN_IF_ERROR(sys::Flock(directory.get(), LOCK_SH));
  std::string mark = std::string(kMarkPrefix) + NewId(SystemClock());
  ASSIGN_OR_RETURN(const sys::UniqueFd made,
                   sys::OpenAt(directory.get(), mark, O_WRONLY | O_CREAT | O_EXCL, 0600));
  return Hold(std::move(directory), std::move(mark));
}

Status Layers::MakeEmpty(const Layer& layer, mode_t mode) const {
  ASSIGN_OR_RETURN(NewLayer made, NewLayer::Make(directory_.get(), layer));
  if (IsSuperuser() && ::fchown(made.tree(), layer.owner.uid, layer.owner.gid) != 0)
    return ErrnoError(errno, "giving a layer to its owner");
  if (::fchmod(made.tree(), mode & 0777) != 0) return ErrnoError(errno, "closing a layer");
  return made.Publish();
}

Status Layers::CheckTakeOver(int parent, const std::string& name) const {
  ASSIGN_OR_RETURN(const sys::UniqueFd directory,
                   sys::OpenBeneath(parent, name, O_RDONLY | O_DIRECTORY, sys::Links::kRefuse));
  ASSIGN_OR_RETURN(const struct stat there, sys::Stat(directory.get()));
  ASSIGN_OR_RETURN(const struct stat here, sys::Stat(directory_.get()));
  if (there.st_dev != here.st_dev)
    return Err(ErrorCode::kUnsupported, "the files lie on another file system than the layers");
  // Those would go on being counted for somebody who does not have them any more. A file system
  // without projects says so.
  if (sandbox::ProjectOf(directory.get()).value_or(0) != 0)
    return Err(ErrorCode::kUnsupported, "the files are counted for a project quota");
  return {};
}

Status Layers::TakeOver(const std::string& id, int parent, const std::string& name) const {
  RETURN_IF_ERROR(CheckId(id));
  RETURN_IF_ERROR(CheckTakeOver(parent, name));
  ASSIGN_OR_RETURN(
      const sys::UniqueFd folder,
      sys::OpenBeneath(directory_.get(), id, O_RDONLY | O_DIRECTORY, sys::Links::kRefuse));
  if (::renameat2(parent, name.c_str(), folder.get(), kTree, RENAME_EXCHANGE) != 0) {
    if (errno == EXDEV || errno == EINVAL)
      return Err(ErrorCode::kUnsupported, "the files lie where they cannot be renamed to a layer");
    return ErrnoError(errno, "making a layer of '" + name + "'");
  }
  RETURN_IF_ERROR(storage::SyncDirectory(folder.get()));
  return storage::SyncDirectory(parent);
}

Result<std::vector<LeftOut>> Layers::Copy(const Layer& layer, int parent, const std::string& name,
                                          const std::stop_token& stop) const {
  ASSIGN_OR_RETURN(const sys::UniqueFd source,
                   sys::OpenBeneath(parent, name, O_PATH | O_DIRECTORY, sys::Links::kRefuse));
  ASSIGN_OR_RETURN(const struct stat info, sys::Stat(source.get()));
  ASSIGN_OR_RETURN(NewLayer made, NewLayer::Make(directory_.get(), layer));
  ASSIGN_OR_RETURN(std::vector<LeftOut> left_out,
                   CopyTree({source.get(), layer.format}, made.tree(),
                            {.from = {info.st_uid, info.st_gid}, .to = layer.owner}, stop));
  RETURN_IF_ERROR(made.PublishSynced());
  return left_out;
}

Result<std::vector<LeftOut>> Layers::Flatten(const Layer& layer, const std::vector<Part>& parts,
                                             const std::stop_token& stop) const {
  CHECK(layer.format == UpperFormat::kPlain);
  std::vector<LayerView> views;
  std::vector<NewOwner> owners;
  for (const Part& part : parts) {
    views.push_back(part.view);
    owners.push_back({.from = part.owner, .to = layer.owner});
  }
  ASSIGN_OR_RETURN(NewLayer made, NewLayer::Make(directory_.get(), layer));
  ASSIGN_OR_RETURN(std::vector<LeftOut> left_out, CopyMergedTree(views, made.tree(), owners, stop));
  RETURN_IF_ERROR(made.PublishSynced());
  return left_out;
}

Result<Layer> Layers::Read(const std::string& id) const {
  RETURN_IF_ERROR(CheckId(id));
  const auto file =
      sys::OpenBeneath(directory_.get(), id + "/" + kLayerFile, O_RDONLY, sys::Links::kRefuse);
  if (!file && file.error().code == ErrorCode::kNotFound)
    return Err(ErrorCode::kNotFound, "there is no layer " + id);
  if (!file) return std::unexpected(file.error());
  ASSIGN_OR_RETURN(const std::string text, sys::ReadAll(file->get(), kMaxLayerFileBytes));
  auto layer = ParseLayerFile(text);
  if (!layer && layer.error().code != ErrorCode::kUnsupported)
    return Err(ErrorCode::kCorrupt,
               "layer.json of layer " + id + " is damaged: " + layer.error().message,
               "it was left as it is; restore it from a backup");
  if (layer && layer->id != id)
    return Err(ErrorCode::kCorrupt, "layer " + id + " says that it is another one");
  return layer;
}

Result<sys::UniqueFd> Layers::OpenTree(const std::string& id) const {
  RETURN_IF_ERROR(CheckId(id));
  auto tree = sys::OpenBeneath(directory_.get(), id + "/" + kTree, O_PATH | O_DIRECTORY,
                               sys::Links::kRefuse);
  if (!tree && tree.error().code == ErrorCode::kNotFound)
    return Err(ErrorCode::kNotFound, "there is no layer " + id);
  return tree;
}

std::string Layers::TreePath(const std::string& id) const { return path_ + "/" + id + "/" + kTree; }

Result<bool> Layers::NeedsCollect() const {
  ASSIGN_OR_RETURN(const std::vector<std::string> names, sys::ListDirectory(directory_.get()));
  return std::ranges::any_of(names,
                             [](const std::string& name) { return name.starts_with(kMarkPrefix); });
}

Status Layers::Collect(const std::function<Result<bool>(const std::string&)>& is_used) const {
  ASSIGN_OR_RETURN(const sys::UniqueFd lock,
                   sys::OpenAt(directory_.get(), ".", O_RDONLY | O_DIRECTORY));
  const Status alone = sys::Flock(lock.get(), LOCK_EX | LOCK_NB);
  if (!alone && alone.error().code == ErrorCode::kBusy) return {};
  RETURN_IF_ERROR(alone);
  ASSIGN_OR_RETURN(const std::vector<std::string> names, sys::ListDirectory(lock.get()));
  for (const std::string& name : names) {
    if (!IsPerLayer(name)) continue;
    if (IsId(name)) {
      ASSIGN_OR_RETURN(const bool used, is_used(name));
      if (used) continue;
    }
    RETURN_IF_ERROR(sys::RemoveTree(lock.get(), name));
  }
  // Last: until then another one would have to do all of it.
  for (const std::string& name : names)
    if (name.starts_with(kMarkPrefix) && ::unlinkat(lock.get(), name.c_str(), 0) != 0 &&
        errno != ENOENT)
      return ErrnoError(errno, "removing '" + name + "'");
  return {};
}

}  // namespace cofferdam::projects
