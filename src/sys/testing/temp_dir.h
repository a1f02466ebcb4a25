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
  TempDir() {
    const char* base = ::getenv("TMPDIR");
    path_ = std::string(base != nullptr ? base : "/tmp") + "/cofferdam-test-XXXXXX";
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
