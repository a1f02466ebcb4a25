#include "projects/object_store.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <limits>
#include <map>
#include <mutex>
#include <set>
#include <vector>

#include "crypto/hex.h"
#include "crypto/sha256.h"
#include "projects/temporary_name.h"
#include "storage/atomic_file.h"
#include "sys/file.h"
#include "sys/flock.h"

namespace cofferdam::projects {
namespace {

constexpr std::size_t kDigits = 64;
constexpr std::size_t kShardDigits = 2;
constexpr std::size_t kBlock = std::size_t{256} << 10;
constexpr std::size_t kMaxSyncedEach = 256;
constexpr std::string_view kTemporary = ".tmp-";

bool IsHex(std::string_view text) {
  return text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

std::string ShardOf(const ObjectId& id) { return id.substr(0, kShardDigits); }
std::string PathOf(const ObjectId& id) { return ShardOf(id) + "/" + id.substr(kShardDigits); }

Status CheckId(const ObjectId& id) {
  if (IsObjectId(id)) return {};
  return Err(ErrorCode::kInvalidArgument, "an object's name is 64 hexadecimal digits");
}

Error Missing(const Error& error, const ObjectId& id) {
  return error.code == ErrorCode::kNotFound
             ? Error{ErrorCode::kNotFound, "the content " + id + " is not in the store", "", 0}
             : error;
}

// ---- Copying

/// Copies what is data and leaves holes; hashes both when it is asked to.
class Copier {
 public:
  Copier(int from, int to, std::uint64_t max_bytes, crypto::Sha256Stream* hash)
      : from_(from), to_(to), max_bytes_(max_bytes), hash_(hash), buffer_(kBlock) {}

  Status Run() {
    if (::ioctl(to_, FICLONE, from_) == 0) return HashClone();
    for (;;) {
      const off_t data = ::lseek(from_, offset_, SEEK_DATA);
      if (data < 0) return errno == ENXIO ? Finish() : Failure("reading a file");
      RETURN_IF_ERROR(Skip(static_cast<std::uint64_t>(data)));
      const off_t end = ::lseek(from_, data, SEEK_HOLE);
      // It has become shorter meanwhile.
      if (end < 0) return errno == ENXIO ? Truncate() : Failure("reading a file");
      ASSIGN_OR_RETURN(const bool more, CopyUntil(static_cast<std::uint64_t>(end)));
      if (!more) return Truncate();
    }
  }

 private:
  static Status Failure(std::string_view what) { return ErrnoError(errno, what); }

  // The clone is nobody else's, so its bytes are those that are hashed.
  Status HashClone() {
    ASSIGN_OR_RETURN(const struct stat info, sys::Stat(to_));
    RETURN_IF_ERROR(CheckLength(static_cast<std::uint64_t>(info.st_size)));
    if (hash_ == nullptr) return {};
    for (off_t offset = 0;;) {
      const ssize_t got = ::pread(to_, buffer_.data(), buffer_.size(), offset);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return Failure("reading a file");
      if (got == 0) return {};
      hash_->Update({buffer_.data(), static_cast<std::size_t>(got)});
      offset += got;
    }
  }

  Status CheckLength(std::uint64_t length) const {
    if (length <= max_bytes_) return {};
    return Err(ErrorCode::kTooLarge,
               "a file has more than " + std::to_string(max_bytes_) + " bytes");
  }

  Status Skip(std::uint64_t end) {
    RETURN_IF_ERROR(CheckLength(end));
    const std::uint64_t begin = static_cast<std::uint64_t>(offset_);
    offset_ = static_cast<off_t>(end);
    if (hash_ == nullptr || end == begin) return {};
    std::ranges::fill(buffer_, '\0');
    for (std::uint64_t left = end - begin; left > 0;) {
      const std::size_t part = std::min<std::uint64_t>(left, buffer_.size());
      hash_->Update({buffer_.data(), part});
      left -= part;
    }
    return {};
  }

  /// False when the file ended before.
  Result<bool> CopyUntil(std::uint64_t end) {
    while (static_cast<std::uint64_t>(offset_) < end) {
      const std::size_t wanted =
          std::min<std::uint64_t>(end - static_cast<std::uint64_t>(offset_), buffer_.size());
      const ssize_t got = ::pread(from_, buffer_.data(), wanted, offset_);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return ErrnoError(errno, "reading a file");
      if (got == 0) return false;
      const std::string_view bytes(buffer_.data(), static_cast<std::size_t>(got));
      RETURN_IF_ERROR(CheckLength(static_cast<std::uint64_t>(offset_ + got)));
      RETURN_IF_ERROR(Write(bytes));
      if (hash_ != nullptr) hash_->Update(bytes);
      offset_ += got;
    }
    return true;
  }

  Status Write(std::string_view bytes) const {
    for (off_t offset = offset_; !bytes.empty();) {
      const ssize_t put = ::pwrite(to_, bytes.data(), bytes.size(), offset);
      if (put < 0 && errno == EINTR) continue;
      if (put < 0) return Failure("writing a copy");
      bytes.remove_prefix(static_cast<std::size_t>(put));
      offset += put;
    }
    return {};
  }

  /// Behind the last data there may be a hole up to the end.
  Status Finish() {
    ASSIGN_OR_RETURN(const struct stat info, sys::Stat(from_));
    if (info.st_size > offset_) RETURN_IF_ERROR(Skip(static_cast<std::uint64_t>(info.st_size)));
    return Truncate();
  }

  Status Truncate() const {
    if (::ftruncate(to_, offset_) != 0) return Failure("writing a copy");
    return {};
  }

  int from_;
  int to_;
  std::uint64_t max_bytes_;
  crypto::Sha256Stream* hash_;
  std::vector<char> buffer_;
  off_t offset_ = 0;
};

}  // namespace

bool IsObjectId(std::string_view text) { return text.size() == kDigits && IsHex(text); }

Status CopyContent(int from, int to) {
  return Copier(from, to, std::numeric_limits<off_t>::max(), nullptr).Run();
}

// ---- Adding

/// What has been added and has no name yet.
struct ObjectStore::Added {
  const int directory;
  std::mutex mutex = {};
  sys::UniqueFd lock = {};
  std::map<ObjectId, TemporaryName> contents = {};
  /// The directories whose names are to be synced. Also those of contents that were there: whoever
  /// named them may not have got that far.
  std::set<std::string> shards = {};

  void Drop() {
    contents.clear();
    shards.clear();
    lock.Reset();
  }

  /// Held while there is something: Collect stays away.
  Status Lock() {
    if (lock.valid()) return {};
    ASSIGN_OR_RETURN(sys::UniqueFd opened, sys::OpenAt(directory, ".", O_RDONLY | O_DIRECTORY));
    RETURN_IF_ERROR(sys::Flock(opened.get(), LOCK_SH));
    lock = std::move(opened);
    return {};
  }

  Status Sync() {
    // A file system as a whole may have much to write for others, but many files are slow, too.
    const bool is_all_at_once = contents.size() > kMaxSyncedEach;
    RETURN_IF_ERROR(is_all_at_once ? SyncFileSystem() : SyncContents());
    ASSIGN_OR_RETURN(const bool has_new_shard, Name());
    if (is_all_at_once) return SyncFileSystem();
    for (const std::string& shard : shards) {
      ASSIGN_OR_RETURN(const sys::UniqueFd opened,
                       sys::OpenAt(directory, shard, O_PATH | O_DIRECTORY | O_NOFOLLOW));
      RETURN_IF_ERROR(storage::SyncDirectory(opened.get()));
    }
    return has_new_shard ? storage::SyncDirectory(directory) : Status{};
  }

  Status SyncFileSystem() const {
    if (::syncfs(lock.get()) != 0) return ErrnoError(errno, "syncing contents");
    return {};
  }

  Status SyncContents() const {
    for (const auto& [id, temporary] : contents) {
      ASSIGN_OR_RETURN(const sys::UniqueFd file,
                       sys::OpenAt(directory, temporary.name(), O_RDONLY | O_NOFOLLOW));
      if (::fsync(file.get()) != 0) return ErrnoError(errno, "syncing a content");
    }
    return {};
  }

  /// True when that took a new directory.
  Result<bool> Name() {
    bool has_new_shard = false;
    for (auto& [id, temporary] : contents) {
      if (::mkdirat(directory, ShardOf(id).c_str(), 0700) == 0)
        has_new_shard = true;
      else if (errno != EEXIST)
        return ErrnoError(errno, "making a directory for contents");
      RETURN_IF_ERROR(temporary.Rename(PathOf(id)));
      shards.insert(ShardOf(id));
    }
    return has_new_shard;
  }
};

ObjectStore::ObjectStore(sys::UniqueFd directory)
    : directory_(std::move(directory)), added_(std::make_unique<Added>(directory_.get())) {}
ObjectStore::ObjectStore(ObjectStore&&) noexcept = default;
ObjectStore& ObjectStore::operator=(ObjectStore&& other) noexcept {
  // Before the directory that it drops things from.
  added_ = std::move(other.added_);
  directory_ = std::move(other.directory_);
  return *this;
}
ObjectStore::~ObjectStore() = default;

Result<ObjectId> ObjectStore::Add(int file, std::uint64_t max_bytes) {
  return AddFilled([&](int copy, crypto::Sha256Stream& hash) {
    return Copier(file, copy, max_bytes, &hash).Run();
  });
}

Result<ObjectId> ObjectStore::AddBytes(std::string_view bytes) {
  return AddFilled([&](int copy, crypto::Sha256Stream& hash) {
    hash.Update(bytes);
    return sys::WriteAll(copy, bytes);
  });
}

Result<ObjectId> ObjectStore::AddFilled(const Fill& fill) {
  const std::lock_guard lock(added_->mutex);
  RETURN_IF_ERROR(added_->Lock());
  TemporaryName temporary(directory_.get(), kTemporary);
  ASSIGN_OR_RETURN(const sys::UniqueFd copy,
                   sys::OpenAt(directory_.get(), temporary.name(),
                               O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
  crypto::Sha256Stream hash;
  RETURN_IF_ERROR(fill(copy.get(), hash));
  if (::fchmod(copy.get(), 0400) != 0) return ErrnoError(errno, "setting a content's permissions");
  const ObjectId id = crypto::HexEncode(hash.Finish());
  struct stat info;
  if (::fstatat(directory_.get(), PathOf(id).c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0) {
    added_->shards.insert(ShardOf(id));
  } else if (!added_->contents.contains(id)) {
    // Sync finds it written then, or nearly; a failure it meets again.
    ::sync_file_range(copy.get(), 0, 0, SYNC_FILE_RANGE_WRITE);
    added_->contents.emplace(id, std::move(temporary));
  }
  return id;
}

void ObjectStore::Discard() {
  const std::lock_guard lock(added_->mutex);
  added_->Drop();
}

Status ObjectStore::Sync() {
  const std::lock_guard lock(added_->mutex);
  Status synced = added_->Sync();
  added_->Drop();
  return synced;
}

// ---- Reading

Result<std::uint64_t> ObjectStore::SizeOf(const ObjectId& id) const {
  RETURN_IF_ERROR(CheckId(id));
  std::string name = PathOf(id);
  {
    const std::lock_guard lock(added_->mutex);
    const auto added = added_->contents.find(id);
    if (added != added_->contents.end()) name = added->second.name();
  }
  struct stat info;
  if (::fstatat(directory_.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0)
    return std::unexpected(Missing(ErrnoError(errno, "reading a content").error(), id));
  return static_cast<std::uint64_t>(info.st_size);
}

Result<sys::UniqueFd> ObjectStore::Open(const ObjectId& id) const {
  RETURN_IF_ERROR(CheckId(id));
  auto opened = sys::OpenAt(directory_.get(), PathOf(id), O_RDONLY | O_NOFOLLOW);
  if (!opened) return std::unexpected(Missing(opened.error(), id));
  return opened;
}

Status ObjectStore::CopyTo(const ObjectId& id, int target) const {
  ASSIGN_OR_RETURN(const sys::UniqueFd object, Open(id));
  crypto::Sha256Stream hash;
  RETURN_IF_ERROR(Copier(object.get(), target, std::numeric_limits<off_t>::max(), &hash).Run());
  if (crypto::HexEncode(hash.Finish()) == id) return {};
  return Err(ErrorCode::kCorrupt, "the content " + id + " is damaged: its hash is another");
}

// ---- Collecting

Status ObjectStore::RemoveLeftovers() {
  ASSIGN_OR_RETURN(const sys::UniqueFd root,
                   sys::OpenAt(directory_.get(), ".", O_RDONLY | O_DIRECTORY));
  const Status alone = sys::Flock(root.get(), LOCK_EX | LOCK_NB);
  if (!alone && alone.error().code == ErrorCode::kBusy) return {};
  RETURN_IF_ERROR(alone);
  ASSIGN_OR_RETURN(const std::vector<std::string> names, sys::ListDirectory(root.get()));
  for (const std::string& name : names)
    if (name.starts_with(kTemporary) && ::unlinkat(root.get(), name.c_str(), 0) != 0)
      return ErrnoError(errno, "removing a temporary content");
  return {};
}

Result<std::uint64_t> ObjectStore::Collect(const std::function<bool(const ObjectId&)>& is_used) {
  ASSIGN_OR_RETURN(const sys::UniqueFd root,
                   sys::OpenAt(directory_.get(), ".", O_RDONLY | O_DIRECTORY));
  RETURN_IF_ERROR(sys::Flock(root.get(), LOCK_EX | LOCK_NB));
  std::uint64_t freed = 0;
  const auto remove = [&](int directory, const std::string& name) -> Status {
    struct stat info;
    if (::fstatat(directory, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0 ||
        ::unlinkat(directory, name.c_str(), 0) != 0)
      return ErrnoError(errno, "removing a content");
    freed += static_cast<std::uint64_t>(info.st_size);
    return {};
  };
  ASSIGN_OR_RETURN(const std::vector<std::string> names, sys::ListDirectory(root.get()));
  for (const std::string& name : names) {
    if (name.starts_with(kTemporary)) RETURN_IF_ERROR(remove(root.get(), name));
    if (name.size() != kShardDigits || !IsHex(name)) continue;
    ASSIGN_OR_RETURN(const sys::UniqueFd shard,
                     sys::OpenAt(root.get(), name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    ASSIGN_OR_RETURN(const std::vector<std::string> rests, sys::ListDirectory(shard.get()));
    for (const std::string& rest : rests)
      if (IsObjectId(name + rest) && !is_used(name + rest))
        RETURN_IF_ERROR(remove(shard.get(), rest));
  }
  return freed;
}

}  // namespace cofferdam::projects
