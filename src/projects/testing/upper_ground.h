// An upper directory with its checkpoints, and what is in it as a naive look sees it.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>

#include "base/check.h"
#include "base/testing/fake_clock.h"
#include "projects/checkpoints.h"
#include "sys/file.h"
#include "sys/testing/temp_dir.h"

namespace cofferdam::projects {

/// Everything below a directory, told so that two are equal when nobody could tell them apart.
using Picture = std::map<std::string, std::string>;

inline std::string Mark(const std::string& path, UpperFormat format, const std::string& mark) {
  const std::string name =
      (format == UpperFormat::kTrusted ? "trusted.overlay." : "user.overlay.") + mark;
  std::array<char, 4096> value;
  const ssize_t size = ::lgetxattr(path.c_str(), name.c_str(), value.data(), value.size());
  return size < 0 ? ""
                  : " " + mark + "=" + std::string(value.data(), static_cast<std::size_t>(size));
}

inline std::string Portrait(const std::string& path, UpperFormat format) {
  struct stat info;
  CHECK(::lstat(path.c_str(), &info) == 0);
  const std::string mode = std::to_string(info.st_mode & 0777);
  const std::string time =
      std::to_string(info.st_mtim.tv_sec) + "." + std::to_string(info.st_mtim.tv_nsec);
  switch (info.st_mode & S_IFMT) {
    case S_IFREG: {
      std::ifstream file(path, std::ios::binary);
      return "file " + mode + " " + time + " " + std::string(std::istreambuf_iterator(file), {});
    }
    case S_IFDIR:
      if (format == UpperFormat::kPlain) return "directory " + mode;
      return "directory " + mode + Mark(path, format, "opaque") + Mark(path, format, "redirect");
    case S_IFLNK:
      return "link " + std::filesystem::read_symlink(path).string();
    case S_IFCHR:
      return info.st_rdev == 0 ? "whiteout" : "device";
    default:
      return "special";
  }
}

inline Picture PictureOf(const std::string& root, UpperFormat format = UpperFormat::kPlain) {
  Picture picture;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root))
    picture[entry.path().lexically_relative(root)] = Portrait(entry.path(), format);
  return picture;
}

/// A workspace's folder with the upper "upper" in it.
class UpperGround {
 public:
  explicit UpperGround(UpperFormat format = UpperFormat::kPlain,
                       std::uint64_t max_file_bytes = 1 << 20)
      : max_file_bytes_(max_file_bytes) {
    std::filesystem::create_directory(folder_ / "upper");
    root_ = *sys::Open(folder_ / "upper", O_PATH | O_DIRECTORY);
    const struct stat info = *sys::Stat(root_.get());
    upper_ = {root_.get(), format, {info.st_uid, info.st_gid}};
  }

  Checkpoints Open() { return *Checkpoints::Open(folder_.path(), clock_, max_file_bytes_); }

  std::string operator/(const std::string& path) const { return folder_ / ("upper/" + path); }
  const std::string& folder() const { return folder_.path(); }
  const Upper& upper() const { return upper_; }
  FakeClock& clock() { return clock_; }
  Picture Look() const { return PictureOf(folder_ / "upper", upper_.format); }

 private:
  sys::TempDir folder_;
  FakeClock clock_;
  std::uint64_t max_file_bytes_;
  sys::UniqueFd root_;
  Upper upper_;
};

}  // namespace cofferdam::projects
