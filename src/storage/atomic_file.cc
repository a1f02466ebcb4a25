#include "storage/atomic_file.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>

#include "base/check.h"
#include "sys/fd.h"
#include "sys/file.h"

namespace cofferdam::storage {
namespace {

bool IsOneComponent(const std::string& name) {
  return !name.empty() && name != "." && name != ".." &&
         name.find_first_of(std::string_view("/\0", 2)) == std::string::npos;
}

// Unpredictable, so that nobody who can write to the directory can have it there first.
std::string TemporaryName() {
  std::array<std::uint8_t, 16> random;
  CHECK(::getrandom(random.data(), random.size(), 0) == static_cast<ssize_t>(random.size()));
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string name = ".tmp-";
  for (const std::uint8_t byte : random) {
    name += kHex[byte >> 4];
    name += kHex[byte & 0xF];
  }
  return name;
}

// Removes the temporary file unless it has become the real one.
class Temporary {
 public:
  explicit Temporary(int directory) : directory_(directory), name_(TemporaryName()) {}
  Temporary(const Temporary&) = delete;
  Temporary& operator=(const Temporary&) = delete;
  ~Temporary() {
    if (exists_) ::unlinkat(directory_, name_.c_str(), 0);
  }

  Result<sys::UniqueFd> Create() {
    constexpr int kFlags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;
    auto fd = sys::OpenAt(directory_, name_, kFlags, 0600);
    exists_ = fd.has_value();
    return fd;
  }

  Status Rename(const std::string& name) {
    if (::renameat(directory_, name_.c_str(), directory_, name.c_str()) != 0)
      return ErrnoError(errno, "renaming a new file into place");
    exists_ = false;
    return {};
  }

 private:
  int directory_;
  std::string name_;
  bool exists_ = false;
};

Status Write(int directory, const std::string& name, std::string_view bytes, mode_t mode) {
  Temporary temporary(directory);
  ASSIGN_OR_RETURN(const sys::UniqueFd fd, temporary.Create());
  RETURN_IF_ERROR(sys::WriteAll(fd.get(), bytes));
  if (::fchmod(fd.get(), mode) != 0) return ErrnoError(errno, "setting permissions");
  if (::fsync(fd.get()) != 0) return ErrnoError(errno, "syncing a file");
  RETURN_IF_ERROR(temporary.Rename(name));
  return SyncDirectory(directory);
}

}  // namespace

Status WriteFileAtomically(int directory, const std::string& name, std::string_view bytes,
                           mode_t mode) {
  if (!IsOneComponent(name))
    return Err(ErrorCode::kInvalidArgument, "a file name with a '/' or none at all");
  const Status written = Write(directory, name, bytes, mode);
  if (!written) return std::unexpected(written.error().With("writing file '" + name + "'"));
  return {};
}

Status WriteFileAtomically(const std::string& path, std::string_view bytes, mode_t mode) {
  const std::size_t slash = path.rfind('/');
  const std::string parent = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  ASSIGN_OR_RETURN(const sys::UniqueFd directory, sys::Open(parent, O_PATH | O_DIRECTORY));
  return WriteFileAtomically(directory.get(), name, bytes, mode);
}

Status SyncDirectory(int directory) {
  // fsync refuses an O_PATH descriptor.
  ASSIGN_OR_RETURN(const sys::UniqueFd open, sys::OpenAt(directory, ".", O_RDONLY | O_DIRECTORY));
  if (::fsync(open.get()) != 0) return ErrnoError(errno, "syncing a directory");
  return {};
}

}  // namespace cofferdam::storage
