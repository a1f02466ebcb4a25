// A directory of the test's own that is gone afterwards.
#pragma once

#include <fcntl.h>
#include <stdlib.h>

#include <string>

#include "base/check.h"
#include "sys/file.h"

namespace cofferdam::sys {

class TempDir {
 public:
  TempDir() : TempDir(::getenv("TMPDIR") != nullptr ? ::getenv("TMPDIR") : "/tmp") {}
  explicit TempDir(const std::string& base) : path_(base + "/cofferdam-test-XXXXXX") {
    CHECK(::mkdtemp(path_.data()) != nullptr);
  }
  ~TempDir() { static_cast<void>(RemoveTree(AT_FDCWD, path_)); }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::string& path() const { return path_; }
  std::string operator/(std::string_view name) const { return path_ + "/" + std::string(name); }

 private:
  std::string path_;
};

}  // namespace cofferdam::sys
