// The test program. With --as-user the superuser runs it again as an ordinary user without any
// right, so that everything is shown for sandboxes that such a user makes, too. With --harness the
// sandboxes have the seccomp profile of that name.

#include <fcntl.h>
#include <grp.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "base/check.h"
#include "fixture.h"
#include "sys/file.h"
#include "sys/testing/temp_dir.h"

namespace cofferdam::escape {
namespace {

// Nobody's: in the range that systemd leaves unused, far from the uids of sandboxes.
constexpr uid_t kOrdinaryUid = 1'879'113'728;

void CopyProgram(const std::string& from, const std::string& to) {
  const auto bytes = sys::ReadFile(from, std::size_t{1} << 30);
  CHECK(bytes.has_value());
  const auto fd = sys::Open(to, O_WRONLY | O_CREAT | O_EXCL, 0755);
  CHECK(fd.has_value() && ::fchmod(fd->get(), 0755) == 0);
  CHECK(sys::WriteAll(fd->get(), *bytes).has_value());
}

[[noreturn]] void BecomeOrdinaryUser(const std::string& home, std::vector<char*> argv) {
  if (::syscall(SYS_setgroups, 0, nullptr) != 0 ||
      ::setresgid(kOrdinaryUid, kOrdinaryUid, kOrdinaryUid) != 0 ||
      ::setresuid(kOrdinaryUid, kOrdinaryUid, kOrdinaryUid) != 0) {
    std::printf("ALL TESTS SKIPPED: no ordinary user can be made here: %s\n",
                ::strerrorname_np(errno));
    std::fflush(stdout);
    ::_exit(0);
  }
  const std::string attacks = home + "/attacks-given";
  const std::string temporary = home + "/tmp";
  CHECK(::mkdir(temporary.c_str(), 0755) == 0 && ::chdir(home.c_str()) == 0);
  CHECK(::setenv("HOME", home.c_str(), 1) == 0 && ::setenv("TMPDIR", temporary.c_str(), 1) == 0);
  CHECK(::setenv("COFFERDAM_ESCAPE_ATTACKS", attacks.c_str(), 1) == 0);
  const std::string program = home + "/escape_tests";
  ::execv(program.c_str(), argv.data());
  std::perror("running the tests as an ordinary user");
  ::_exit(1);
}

// Build folders may be closed to others, so the programs are copied to a place of the user's own.
int RunAsOrdinaryUser(std::vector<char*> argv) {
  const sys::TempDir home;
  CHECK(::chmod(home.path().c_str(), 0755) == 0);
  CopyProgram("/proc/self/exe", home / "escape_tests");
  CopyProgram(ESCAPE_ATTACKS, home / "attacks-given");
  CHECK(::chown(home.path().c_str(), kOrdinaryUid, kOrdinaryUid) == 0);
  const pid_t pid = ::fork();
  CHECK(pid >= 0);
  if (pid == 0) BecomeOrdinaryUser(home.path(), std::move(argv));
  int status = 0;
  CHECK(::waitpid(pid, &status, 0) == pid);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

}  // namespace
}  // namespace cofferdam::escape

int main(int argc, char** argv) {
  std::vector<char*> arguments(argv, argv + argc);
  const auto is_flag = [](const char* text) { return std::string_view(text) == "--as-user"; };
  const bool as_user = std::erase_if(arguments, is_flag) > 0;
  arguments.push_back(nullptr);
  if (as_user && ::geteuid() == 0)
    return cofferdam::escape::RunAsOrdinaryUser(std::move(arguments));
  const bool harness = std::erase_if(arguments, [](const char* text) {
                         return text != nullptr && std::string_view(text) == "--harness";
                       }) > 0;
  if (harness)
    cofferdam::escape::EscapeTest::UseProfile(cofferdam::sandbox::SeccompProfile::kHarness);
  // A write to a program that has ended is an error here, no signal.
  std::signal(SIGPIPE, SIG_IGN);
  int count = static_cast<int>(arguments.size()) - 1;
  testing::InitGoogleTest(&count, arguments.data());
  return RUN_ALL_TESTS();
}
