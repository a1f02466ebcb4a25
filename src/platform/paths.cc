#include "platform/paths.h"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <string_view>

#include "sys/file.h"

namespace cofferdam::platform {
namespace {

constexpr std::array<std::string_view, 20> kSystemDirectories = {
    "/",    "/root", "/proc", "/sys", "/dev", "/boot",  "/run",  "/tmp", "/var", "/etc",
    "/bin", "/sbin", "/usr",  "/lib", "/opt", "/lib64", "/home", "/srv", "/mnt", "/media"};

/// Neither these nor anything below them is ever a source.
constexpr std::array<std::string_view, 13> kRefusedTrees = {
    "/root",         "/proc",        "/sys",         "/dev",
    "/boot",         "/home",        "/run",         "/var/run",
    "/etc/shadow",   "/etc/sudoers", "/etc/gshadow", "/etc/master.passwd",
    "/etc/sudoers.d"};

/// Whether `path` is `tree` or below it. Both are absolute and end without a slash, or are "/".
bool IsWithin(std::string_view path, std::string_view tree) {
  if (tree == "/" || path == tree) return true;
  return path.starts_with(tree) && path.substr(tree.size()).starts_with('/');
}

std::string Trimmed(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

std::unexpected<Error> Refused(const std::string& source, const std::string& why,
                               const std::string& hint = {}) {
  return Err(ErrorCode::kMountRefused, "mount source " + source + " " + why, hint);
}

}  // namespace

Result<std::string> ResolvePath(const std::string& path) {
  if (path.empty()) return Err(ErrorCode::kInvalidArgument, "the path is empty");
  std::error_code error;
  const std::filesystem::path absolute = std::filesystem::absolute(path, error);
  if (error) return ErrnoError(error.value(), "resolving " + path);
  const std::filesystem::path resolved = std::filesystem::weakly_canonical(absolute, error);
  if (error) return ErrnoError(error.value(), "resolving " + path);
  return Trimmed(resolved.string());
}

Status CheckStateDirectory(const std::string& path) {
  if (std::ranges::find(kSystemDirectories, path) == kSystemDirectories.end()) return {};
  return Err(ErrorCode::kInvalidArgument,
             path + " is a sensitive system path and cannot be the state directory",
             "take a directory of its own, for example one below it");
}

Status CheckMountSource(const std::string& source, const std::string& state_directory) {
  const std::string path = std::filesystem::path(source).lexically_normal().string();
  if (Trimmed(path) != Trimmed(source))
    return Refused(source, "must be written without '.', '..' and double slashes");
  const std::string plain = Trimmed(path);
  for (const std::string_view tree : kRefusedTrees) {
    if (IsWithin(plain, tree)) return Refused(source, "is a sensitive host path");
    if (IsWithin(tree, plain))
      return Refused(source, "contains " + std::string(tree) + ", a sensitive host path",
                     "mount what you need below it");
  }
  if (IsWithin(plain, state_directory) || IsWithin(state_directory, plain))
    return Refused(source, "is in the state directory, or contains it");

  ASSIGN_OR_RETURN(const sys::UniqueFd root, sys::Open("/", O_PATH | O_DIRECTORY));
  const auto opened = sys::OpenBeneath(root.get(), plain.substr(1), O_PATH, sys::Links::kRefuse);
  if (opened) return {};
  if (opened.error().code == ErrorCode::kNotFound) return Refused(source, "does not exist");
  // An errno of the kernel's means something else than the link that OpenBeneath refuses.
  if (opened.error().code == ErrorCode::kPermissionDenied && opened.error().sys_errno == 0)
    return Refused(source, "has a symbolic link in its path (not allowed)",
                   "write the path that the link leads to");
  return Refused(source, "cannot be opened: " + opened.error().message);
}

}  // namespace cofferdam::platform
