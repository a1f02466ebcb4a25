// A file that is renamed away when it is full, and of which only so many are kept.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"

namespace cofferdam::log {

/// Appends lines to `path`. A line that would make it longer than `max_bytes` goes into a fresh
/// file, after x.log became x.1.log, x.1.log became x.2.log and so on; x.<max_files>.log is
/// deleted. So at most 1 + max_files files stay, each of at most max_bytes or one line. New files
/// are 0600. Belongs to one thread.
class RotatingFile {
 public:
  /// Opens or makes the file; its folder must exist. `max_bytes` and `max_files` are at least 1.
  static Result<std::unique_ptr<RotatingFile>> Open(std::string path, std::uint64_t max_bytes,
                                                    std::size_t max_files);

  /// Appends `line`, given without its '\n', and hands it to the kernel. After an error the object
  /// is of no more use.
  Status Write(std::string_view line);

  ~RotatingFile();

 private:
  struct Implementation;
  explicit RotatingFile(std::unique_ptr<Implementation> implementation);

  std::unique_ptr<Implementation> implementation_;
};

}  // namespace cofferdam::log
