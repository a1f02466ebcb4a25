// What is made under a name that nobody else has, to be renamed when it is complete.
#pragma once

#include <stdio.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <string_view>
#include <utility>

#include "base/clock.h"
#include "base/error.h"
#include "base/id.h"

namespace cofferdam::projects {

/// Removes what has the name (no directory), unless it was renamed. `directory` is borrowed.
class TemporaryName {
 public:
  TemporaryName(int directory, std::string_view prefix)
      : directory_(directory), name_(std::string(prefix) + NewId(SystemClock())) {}
  TemporaryName(TemporaryName&& other) noexcept
      : directory_(other.directory_), name_(std::exchange(other.name_, {})) {}
  TemporaryName& operator=(TemporaryName&&) = delete;
  ~TemporaryName() {
    if (!name_.empty()) ::unlinkat(directory_, name_.c_str(), 0);
  }

  const std::string& name() const { return name_; }

  /// Within the directory; replaces what is there.
  Status Rename(const std::string& path) {
    if (::renameat(directory_, name_.c_str(), directory_, path.c_str()) != 0)
      return ErrnoError(errno, "renaming a new file into place");
    name_.clear();
    return {};
  }

 private:
  int directory_;
  std::string name_;
};

}  // namespace cofferdam::projects
