// A folder for log files that is gone after the test, and what is in them.
#pragma once

#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"

namespace cofferdam::log {

class LogFolder {
 public:
  LogFolder() {
    std::string path = (std::filesystem::temp_directory_path() / "cofferdam-log-XXXXXX").string();
    CHECK(::mkdtemp(path.data()) != nullptr);
    path_ = path;
  }
  ~LogFolder() { std::filesystem::remove_all(path_); }
  LogFolder(const LogFolder&) = delete;
  LogFolder& operator=(const LogFolder&) = delete;

  std::string operator/(std::string_view name) const { return (path_ / name).string(); }

  std::vector<std::string> Lines(std::string_view name) const {
    std::ifstream file(path_ / name);
    std::vector<std::string> lines;
    for (std::string line; std::getline(file, line);) lines.push_back(line);
    return lines;
  }

  std::set<std::string> Names() const {
    std::set<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(path_))
      names.insert(entry.path().filename().string());
    return names;
  }

 private:
  std::filesystem::path path_;
};

}  // namespace cofferdam::log
