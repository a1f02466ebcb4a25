#include "peers.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cstdio>
#include <memory>

#include "base/check.h"
#include "forked.h"
#include "json/json.h"
#include "measure.h"
#include "sandbox/layers/seccomp/filters.h"
#include "sys/file.h"

namespace cofferdam::bench {
namespace {

std::optional<double> FirstInstruction(const std::vector<std::string>& argv, StartBy how) {
  const double start = Now();
  const auto running = StartProgram(argv, how);
  if (!running) {
    std::fprintf(stderr, "%s\n", running.error().ToString().c_str());
    return std::nullopt;
  }
  const auto output = sys::ReadAll(running->output.get(), 1 << 16);
  const int status = WaitFor(running->pid);
  const auto stamp = output ? ParseStamp(*output) : std::nullopt;
  if (stamp) return *stamp - start;
  std::fprintf(stderr, "%s does not run here: no row of it (wait status %d)\n", argv[0].c_str(),
               status);
  return std::nullopt;
}

Peer Plain(std::string name, std::vector<std::string> argv, StartBy how) {
  return {std::move(name), [argv = std::move(argv), how] { return FirstInstruction(argv, how); }};
}

// The filter that ships, as a file that bubblewrap reads from a descriptor.
int FilterFile() {
  const auto filter =
      sandbox::seccomp::Filter(sandbox::seccomp::kNativeMachine, sandbox::SeccompProfile::kTools,
                               sandbox::seccomp::Denials::kAnswered);
  const int fd = ::memfd_create("filter", 0);
  const auto size = static_cast<ssize_t>(filter.size_bytes());
  CHECK(::write(fd, filter.data(), filter.size_bytes()) == size);
  return fd;
}

Peer Bubblewrap() {
  const int filter = FilterFile();
  const std::vector<std::string> argv = {"bwrap",
                                         "--unshare-all",
                                         "--die-with-parent",
                                         "--ro-bind",
                                         "/usr",
                                         "/usr",
                                         "--symlink",
                                         "usr/bin",
                                         "/bin",
                                         "--symlink",
                                         "usr/lib",
                                         "/lib",
                                         "--symlink",
                                         "usr/lib64",
                                         "/lib64",
                                         "--proc",
                                         "/proc",
                                         "--dev",
                                         "/dev",
                                         "--tmpfs",
                                         "/tmp",
                                         "--ro-bind",
                                         PayloadDirectory(),
                                         "/m",
                                         "--seccomp",
                                         std::to_string(filter),
                                         "/m/bench_stamp"};
  return {"bwrap", [argv, filter] {
            CHECK(::lseek(filter, 0, SEEK_SET) == 0);
            return FirstInstruction(argv, StartBy::kSpawn);
          }};
}

Peer Firejail() {
  return Plain("firejail",
               {"firejail", "--quiet", "--noprofile", "--net=none", "--seccomp", "--caps.drop=all",
                "--nonewprivs", "--private-dev", PayloadOutside("stamp")},
               StartBy::kSpawn);
}

// ---- crun

json::Json MountOf(const char* target, const char* type, const std::string& source,
                   std::vector<std::string> options) {
  return {{"destination", target}, {"type", type}, {"source", source}, {"options", options}};
}

json::Json CrunConfig() {
  json::Json config = {
      {"ociVersion", "1.0.2"},
      {"hostname", "sandbox"},
      {"root", {{"path", "root"}, {"readonly", true}}},
      {"process",
       {{"user", {{"uid", 1000}, {"gid", 1000}}},
        {"args", {"/m/bench_stamp"}},
        {"env", {"PATH=/usr/bin"}},
        {"cwd", "/"},
        {"noNewPrivileges", true}}},
      {"linux",
       {{"uidMappings", {{{"containerID", 0}, {"hostID", 100000}, {"size", 65536}}}},
        {"gidMappings", {{{"containerID", 0}, {"hostID", 100000}, {"size", 65536}}}}}}};
  for (const char* kind : {"pid", "network", "ipc", "uts", "mount", "cgroup", "user"})
    config["linux"]["namespaces"].push_back({{"type", kind}});
  config["mounts"] = {MountOf("/proc", "proc", "proc", {"nosuid", "noexec", "nodev"}),
                      MountOf("/dev", "tmpfs", "tmpfs", {"nosuid", "mode=755"}),
                      MountOf("/dev/pts", "devpts", "devpts", {"nosuid", "noexec", "newinstance"}),
                      MountOf("/dev/shm", "tmpfs", "shm", {"nosuid", "noexec", "nodev"}),
                      MountOf("/tmp", "tmpfs", "tmpfs", {"nosuid", "nodev"}),
                      MountOf("/usr", "bind", "/usr", {"rbind", "ro"}),
                      MountOf("/m", "bind", PayloadDirectory(), {"rbind", "ro"})};
  return config;
}

// Its root and its configuration, below `directory`.
void WriteBundle(const std::string& directory) {
  for (const char* name :
       {"", "/root", "/root/proc", "/root/dev", "/root/tmp", "/root/usr", "/root/m"})
    CHECK(::mkdir((directory + name).c_str(), 0755) == 0);
  const auto file = sys::Open(directory + "/config.json", O_WRONLY | O_CREAT, 0644);
  CHECK(file.has_value());
  CHECK(sys::WriteAll(file->get(), json::Dump(CrunConfig())).has_value());
}

// crun 1.8 refuses a hybrid host; it gets a mount namespace in which there is version 2 alone.
bool ShowOnlyCgroup2() {
  struct statfs info;
  if (::statfs("/sys/fs/cgroup", &info) == 0 && info.f_type == CGROUP2_SUPER_MAGIC) return true;
  if (::unshare(CLONE_NEWNS) != 0) return false;
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return false;
  return ::umount2("/sys/fs/cgroup", MNT_DETACH) == 0 &&
         ::mount("none", "/sys/fs/cgroup", "cgroup2", 0, nullptr) == 0;
}

Peer Crun(const std::string& directory) {
  struct Question {
    int number;
  };
  struct Answer {
    bool runs;
    double micros;
  };
  const std::string bundle = directory + "/crun";
  WriteBundle(bundle);
  const auto in_child = [bundle]() -> Answerer<Question, Answer>::Serve {
    if (!ShowOnlyCgroup2()) {
      std::fprintf(stderr, "crun gets no cgroup version 2 here: no row of it\n");
      return [](const Question&) { return Answer{}; };
    }
    return [bundle](const Question& question) {
      const auto micros =
          FirstInstruction({"crun", "--root", bundle + "-state", "--cgroup-manager=disabled", "run",
                            "--bundle", bundle, "bench-" + std::to_string(question.number)},
                           StartBy::kSpawn);
      return micros ? Answer{true, *micros} : Answer{};
    };
  };
  const auto answerer = std::make_shared<Answerer<Question, Answer>>(in_child);
  return {"crun", [answerer, number = 0]() mutable -> std::optional<double> {
            Answer answer{};
            if (!answerer->Ask({number++}) || !answerer->Take(answer) || !answer.runs)
              return std::nullopt;
            return answer.micros;
          }};
}

}  // namespace

std::vector<Peer> AllPeers(const std::string& directory) {
  return {Bubblewrap(), Crun(directory), Firejail(),
          Plain("spawn", {PayloadOutside("stamp")}, StartBy::kSpawn),
          Plain("fork", {PayloadOutside("stamp")}, StartBy::kFork)};
}

}  // namespace cofferdam::bench
