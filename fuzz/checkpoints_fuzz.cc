// Whatever checkpoints.db holds, opening it, taking a checkpoint and going back to each ends, and
// nothing is written outside of the upper and the checkpoints' own folder.
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "base/clock.h"
#include "projects/checkpoints.h"
#include "sys/file.h"

namespace cofferdam {
namespace {

constexpr std::size_t kMaxRestores = 4;
constexpr std::uint64_t kMaxFileBytes = 1 << 16;

void Write(const std::string& path, std::string_view bytes) {
  const auto file = sys::Open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  CHECK(file && sys::WriteAll(file->get(), bytes));
}

std::vector<std::string> Names(const std::string& path) {
  return *sys::ListDirectory(sys::Open(path, O_PATH | O_DIRECTORY)->get());
}

/// A folder with an upper and a database, and around it a folder where nothing is to appear.
class Ground {
 public:
  explicit Ground(std::string_view database) {
    CHECK(::mkdtemp(path_.data()) != nullptr);
    CHECK(sys::MakeDirectories(folder() + "/upper/dir", 0700));
    CHECK(sys::MakeDirectories(folder() + "/checkpoints", 0700));
    Write(folder() + "/upper/a", "one");
    Write(folder() + "/checkpoints/checkpoints.db", database);
    root_ = *sys::Open(folder() + "/upper", O_PATH | O_DIRECTORY);
  }
  ~Ground() {
    CHECK(Names(path_) == std::vector<std::string>{"folder"});
    CHECK(Names(folder()).size() == 2);
    CHECK(sys::RemoveTree(AT_FDCWD, path_));
  }
  Ground(const Ground&) = delete;
  Ground& operator=(const Ground&) = delete;

  std::string folder() const { return path_ + "/folder"; }
  projects::Upper upper() const {
    return {root_.get(), projects::UpperFormat::kUser, {::geteuid(), ::getegid()}};
  }

 private:
  std::string path_ = "/dev/shm/cofferdam-fuzz-XXXXXX";
  sys::UniqueFd root_;
};

void Use(projects::Checkpoints& checkpoints, const projects::Upper& upper) {
  // What the seeds name is there to be restored.
  CHECK(checkpoints.objects().AddBytes("one") && checkpoints.objects().AddBytes("two") &&
        checkpoints.objects().Sync());
  static_cast<void>(checkpoints.Unfinished("work"));
  static_cast<void>(checkpoints.FindBase("work", "a"));
  static_cast<void>(checkpoints.Take("work", upper, {.reason = "turn"}));
  const auto listed = checkpoints.List();
  for (std::size_t i = 0; listed && i < listed->size() && i < kMaxRestores; ++i) {
    const projects::Checkpoint& checkpoint = (*listed)[i];
    static_cast<void>(
        checkpoints.Restore(checkpoint.view, checkpoint.id, upper, {.reason = "rewind"}));
  }
  static_cast<void>(checkpoints.Collect());
}

}  // namespace
}  // namespace cofferdam

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cofferdam;
  const Ground ground({reinterpret_cast<const char*>(data), size});
  const SystemClock clock;
  auto checkpoints = projects::Checkpoints::Open(ground.folder(), clock, kMaxFileBytes);
  if (checkpoints) Use(*checkpoints, ground.upper());
  return 0;
}
