#include "platform/paths.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <string_view>

#include "base/error.h"

namespace cofferdam::platform {
namespace {

constexpr std::array<std::string_view, 20> kSystemDirectories = {
    "/",    "/root", "/proc", "/sys", "/dev", "/boot",  "/run",  "/tmp", "/var", "/etc",
    "/bin", "/sbin", "/usr",  "/lib", "/opt", "/lib64", "/home", "/srv", "/mnt", "/media"};

std::string Trimmed(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
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

}  // namespace cofferdam::platform
