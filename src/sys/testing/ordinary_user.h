// The superuser's tests, run as an ordinary user without any right: a test program that is given
// --as-user calls itself again as one.
#pragma once

#include <grp.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "sys/file.h"
#include "sys/testing/temp_dir.h"

namespace cofferdam::sys {

/// Nobody's: in the range that systemd leaves unused, far from the uids of sandboxes.
inline constexpr uid_t kOrdinaryUid = 1'879'113'728;

/// Takes the flag out of the arguments; whether it stood there.
inline bool TakeFlag(std::vector<char*>& arguments, std::string_view flag) {
  return std::erase_if(arguments,
                       [&](const char* text) { return text != nullptr && flag == text; }) > 0;
}

/// A program that the tests need, and the variable that says where it lies.
struct NeededProgram {
  std::string variable;
  std::string path;
};

inline void CopyProgram(const std::string& from, const std::string& to) {
  const auto bytes = ReadFile(from, std::size_t{1} << 30);
  CHECK(bytes.has_value());
  const auto fd = Open(to, O_WRONLY | O_CREAT | O_EXCL, 0755);
  CHECK(fd.has_value() && ::fchmod(fd->get(), 0755) == 0);
  CHECK(WriteAll(fd->get(), *bytes).has_value());
}

[[noreturn]] inline void BecomeOrdinaryUser(const std::string& home, std::vector<char*> argv) {
  if (::syscall(SYS_setgroups, 0, nullptr) != 0 ||
      ::setresgid(kOrdinaryUid, kOrdinaryUid, kOrdinaryUid) != 0 ||
      ::setresuid(kOrdinaryUid, kOrdinaryUid, kOrdinaryUid) != 0) {
    std::printf("ALL TESTS SKIPPED: no ordinary user can be made here: %s\n",
                ::strerrorname_np(errno));
    std::fflush(stdout);
    ::_exit(0);
  }
  const std::string temporary = home + "/tmp";
  CHECK(::mkdir(temporary.c_str(), 0755) == 0 && ::chdir(home.c_str()) == 0);
  CHECK(::setenv("HOME", home.c_str(), 1) == 0 && ::setenv("TMPDIR", temporary.c_str(), 1) == 0);
  const std::string program = home + "/tests";
  ::execv(program.c_str(), argv.data());
  std::perror("running the tests as an ordinary user");
  ::_exit(1);
}

/// Runs this program with `argv` (ended by a null) as an ordinary user; its exit code. Build
/// folders may be closed to others, so the programs are copied to a place of the user's own.
inline int RunAsOrdinaryUser(std::vector<char*> argv,
                             const std::vector<NeededProgram>& programs = {}) {
  const TempDir home;
  CHECK(::chmod(home.path().c_str(), 0755) == 0);
  CopyProgram("/proc/self/exe", home / "tests");
  for (const NeededProgram& needed : programs) {
    const std::string copy = home / needed.variable;
    CopyProgram(needed.path, copy);
    CHECK(::setenv(needed.variable.c_str(), copy.c_str(), 1) == 0);
  }
  CHECK(::chown(home.path().c_str(), kOrdinaryUid, kOrdinaryUid) == 0);
  const pid_t pid = ::fork();
  CHECK(pid >= 0);
  if (pid == 0) BecomeOrdinaryUser(home.path(), std::move(argv));
  int status = 0;
  CHECK(::waitpid(pid, &status, 0) == pid);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

}  // namespace cofferdam::sys
