// Trees of files for tests, and who may do what with them.
#pragma once

#include <fcntl.h>
#include <sched.h>
#include <sys/fsuid.h>
#include <sys/mount.h>
#include <unistd.h>

#include <string>
#include <string_view>

#include "base/check.h"
#include "sys/file.h"

namespace cofferdam::projects {

/// Writes a file, and the directories that lead to it.
inline void Put(const std::string& path, std::string_view text) {
  CHECK(sys::MakeDirectories(path.substr(0, path.rfind('/')), 0700));
  const sys::UniqueFd file = *sys::Open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  CHECK(sys::WriteAll(file.get(), text));
}

/// A mount namespace of this thread's own until it ends: what is mounted in it is nobody else's.
class OwnMounts {
 public:
  OwnMounts() : before_(*sys::Open("/proc/thread-self/ns/mnt", O_RDONLY)) {
    // setns to a mount namespace asks for a thread that shares no file system state.
    CHECK(::unshare(CLONE_FS | CLONE_NEWNS) == 0);
    CHECK(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0);
  }
  ~OwnMounts() { CHECK(::setns(before_.get(), CLONE_NEWNS) == 0); }
  OwnMounts(const OwnMounts&) = delete;
  OwnMounts& operator=(const OwnMounts&) = delete;

 private:
  sys::UniqueFd before_;
};

/// While it lives this thread has no rights on files but those of nobody's.
class OrdinaryUser {
 public:
  OrdinaryUser() { ::setfsuid(65534); }
  ~OrdinaryUser() { ::setfsuid(0); }
  OrdinaryUser(const OrdinaryUser&) = delete;
  OrdinaryUser& operator=(const OrdinaryUser&) = delete;
};

}  // namespace cofferdam::projects
