#include "worker/source.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "sys/file.h"
#include "sys/process.h"

namespace cofferdam::worker {
namespace {

int WriteMap(int proc, const std::string& file, std::uint32_t owner, std::uint32_t shown) {
  const std::string line = std::to_string(owner) + " " + std::to_string(shown) + " 1\n";
  const auto written = sys::WriteFileAt(proc, file, line);
  return written ? 0 : written.error().sys_errno;
}

}  // namespace

int CheckPlace(int fd, const sandbox::Place& place) {
  struct stat info;
  if (::fstat(fd, &info) != 0) return errno;
  return sandbox::Place{info.st_dev, info.st_ino} == place ? 0 : ESTALE;
}

int OpenSource(int proc, int host_fd, const sandbox::Place& place, sys::UniqueFd& tree) {
  char path[4096];
  const std::string link = "self/fd/" + std::to_string(host_fd);
  const ssize_t length = ::readlinkat(proc, link.c_str(), path, sizeof(path) - 1);
  if (length < 0) return errno;
  path[length] = '\0';
  tree = sys::UniqueFd(
      ::open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW));
  return tree.valid() ? CheckPlace(tree.get(), place) : errno;
}

int MakeIdMap(int proc, const sandbox::Ids& owner, const sandbox::Ids& shown, sys::UniqueFd& map) {
  auto gate = sys::NewPipe();
  if (!gate) return gate.error().sys_errno;
  const auto holder = sys::CloneProcess(CLONE_NEWUSER);
  if (!holder) return holder.error().sys_errno;
  if (holder->pid == 0) {
    // Until the other end is closed, also by our maker's death.
    gate->write_end.Reset();
    char byte;
    while (::read(gate->read_end.get(), &byte, 1) < 0 && errno == EINTR) {
    }
    ::_exit(0);
  }
  const std::string process = std::to_string(holder->pid);
  int error_number = WriteMap(proc, process + "/uid_map", owner.uid, shown.uid);
  if (error_number == 0) error_number = WriteMap(proc, process + "/gid_map", owner.gid, shown.gid);
  if (error_number == 0) {
    map = sys::UniqueFd(::openat(proc, (process + "/ns/user").c_str(), O_RDONLY | O_CLOEXEC));
    if (!map.valid()) error_number = errno;
  }
  gate->write_end.Reset();
  static_cast<void>(sys::WaitForEnd(holder->pidfd.get(), Deadline::Never()));
  return error_number;
}

int MapIds(int tree, int map) {
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_IDMAP;
  attributes.userns_fd = static_cast<std::uint64_t>(map);
  return ::mount_setattr(tree, "", AT_EMPTY_PATH, &attributes, sizeof(attributes)) == 0 ? 0 : errno;
}

}  // namespace cofferdam::worker
