#include "fixture.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

#include "base/check.h"
#include "sys/file.h"

namespace cofferdam::escape {
namespace {

using sandbox::LocalSandbox;

constexpr char kCanary[] = "canary: not for sandboxes\n";

void MakeDirectory(const std::string& path) {
  CHECK(::mkdir(path.c_str(), 0755) == 0 && ::chmod(path.c_str(), 0755) == 0);
}

void MakeFile(const std::string& path, std::string_view text, mode_t mode) {
  const auto fd = sys::Open(path, O_WRONLY | O_CREAT | O_TRUNC, mode);
  CHECK(fd.has_value() && sys::WriteAll(fd->get(), text).has_value());
  CHECK(::fchmod(fd->get(), mode) == 0);
}

std::string Why(const char* what) { return std::string(what) + ": " + ::strerrorname_np(errno); }

std::map<std::string, std::string>& Skipped() {
  static std::map<std::string, std::string> skipped;
  return skipped;
}

// Printed after everything, also by a test run that prints failures only.
class SkippedAtEnd : public testing::Environment {
 public:
  void TearDown() override {
    for (const auto& [what, why] : Skipped())
      std::printf("cannot run here: %s: %s\n", what.c_str(), why.c_str());
    std::fflush(stdout);
  }
};
[[maybe_unused]] const auto* const kSkippedAtEnd =
    testing::AddGlobalTestEnvironment(new SkippedAtEnd);

}  // namespace

void NoteSkipped(const std::string& what, const std::string& why) { Skipped()[what] = why; }

FastDirectory::FastDirectory() {
  CHECK(::mkdtemp(path_.data()) != nullptr && ::chmod(path_.c_str(), 0755) == 0);
  const auto tools = sandbox::ToolIdentity();
  CHECK(::chown(path_.c_str(), tools.uid, tools.gid) == 0);
}
FastDirectory::~FastDirectory() { static_cast<void>(sys::RemoveTree(AT_FDCWD, path_)); }

// ---- Host

Host::Host() : host_name_(HostName()) {
  CHECK(::chmod(directory_.path().c_str(), 0755) == 0);
  attacks_ = directory_ / "attacks";
  scratch_ = directory_ / "scratch";
  program_ = attacks_ + "/attacks";
  MakeFiles();
  MakePrivilegedFiles();
  MakeListeners();
  MakeVictim();
  FindDevices();
  FindKernelFiles();
}

Host::~Host() {
  ::kill(victim_, SIGKILL);
  ::waitpid(victim_, nullptr, 0);
}

void Host::MakeFiles() {
  const char* const given = ::getenv("COFFERDAM_ESCAPE_ATTACKS");
  const auto image = sys::ReadFile(given != nullptr ? given : ESCAPE_ATTACKS, 64 << 20);
  CHECK(image.has_value());
  MakeDirectory(attacks_);
  MakeDirectory(scratch_);
  CHECK(::chmod(scratch_.c_str(), 0777) == 0);
  MakeFile(program_, *image, 0755);
  // Whoever reaches it may read and write it: only the sandbox stands before it.
  facts_["canary"] = {directory_ / "canary"};
  MakeFile(facts_["canary"].value, kCanary, 0666);
  facts_["attacks_directory"] = {attacks_};
  facts_["scratch"] = {scratch_};
  facts_["attack_program"] = {program_};
  facts_["own_program"] = {directory_ / "own"};
  MakeFile(facts_["own_program"].value, *image, 0755);
  struct stat info;
  CHECK(::stat("/", &info) == 0);
  facts_["root_device"] = {std::to_string(major(info.st_dev)) + ":" +
                           std::to_string(minor(info.st_dev))};
  facts_["secret_address"] = {std::to_string(reinterpret_cast<std::uintptr_t>(kCanary))};
  facts_["test_pid"] = {std::to_string(::getpid())};
  CHECK(::setenv("COFFERDAM_TEST_SECRET", "s3cret", 1) == 0);
}

// Programs and devices that would make an attacker the superuser.
void Host::MakePrivilegedFiles() {
  for (const char* name : {"setuid", "capable", "device"})
    facts_[name].missing = "only the superuser can make such a file";
  if (::geteuid() != 0) return;
  const auto image = sys::ReadFile(program_, 64 << 20);
  MakeFile(attacks_ + "/setuid", *image, 04755);
  facts_["setuid"] = {attacks_ + "/setuid"};

  MakeFile(attacks_ + "/capable", *image, 0755);
  const vfs_cap_data capabilities{VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE,
                                  {{1u << CAP_SETUID, 0}, {0, 0}}};
  if (::setxattr((attacks_ + "/capable").c_str(), "security.capability", &capabilities,
                 sizeof(capabilities), 0) == 0)
    facts_["capable"] = {attacks_ + "/capable"};
  else
    facts_["capable"].missing = Why("giving a file capabilities");

  const std::string node = attacks_ + "/device";
  if (::mknod(node.c_str(), S_IFCHR | 0666, makedev(1, 3)) != 0)
    facts_["device"].missing = Why("making a device node");
  else if (const auto opened = sys::Open(node, O_RDONLY); !opened)
    facts_["device"].missing = "the file system of the temporary files takes no devices";
  else
    facts_["device"] = {node};
  if (facts_["device"].missing.empty()) CHECK(::chmod(node.c_str(), 0666) == 0);
}

void Host::MakeListeners() {
  sys::UniqueFd loopback(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  CHECK(::bind(loopback.get(), reinterpret_cast<sockaddr*>(&address), length) == 0 &&
        ::listen(loopback.get(), 16) == 0 &&
        ::getsockname(loopback.get(), reinterpret_cast<sockaddr*>(&address), &length) == 0);
  facts_["port"] = {std::to_string(ntohs(address.sin_port))};
  open_.push_back(std::move(loopback));

  const std::string name = "cofferdam-escape-" + std::to_string(::getpid());
  sys::UniqueFd abstract(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un path{};
  path.sun_family = AF_UNIX;
  std::memcpy(path.sun_path + 1, name.data(), name.size());
  CHECK(::bind(abstract.get(), reinterpret_cast<sockaddr*>(&path),
               static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size())) == 0 &&
        ::listen(abstract.get(), 16) == 0);
  facts_["abstract"] = {name};
  open_.push_back(std::move(abstract));

  sys::UniqueFd terminal(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (terminal.valid() && ::grantpt(terminal.get()) == 0 && ::unlockpt(terminal.get()) == 0)
    facts_["terminal"] = {::ptsname(terminal.get())};
  else
    facts_["terminal"].missing = Why("opening a terminal");
  open_.push_back(std::move(terminal));
}

void Host::MakeVictim() {
  const pid_t test = ::getpid();
  victim_ = ::fork();
  CHECK(victim_ >= 0);
  if (victim_ == 0) {
    // A launcher ends when the last descriptor of its socket is closed.
    ::close_range(0, ~0U, 0);
    while (::getppid() == test) ::pause();
    ::_exit(0);
  }
  facts_["victim"] = {std::to_string(victim_)};
  facts_["victims_network"] = {"/proc/" + std::to_string(victim_) + "/ns/net"};
}

// Settings that would have the kernel run a program of the attacker's, or show its memory. An
// attack opens them and writes nothing.
void Host::FindKernelFiles() {
  constexpr std::pair<const char*, const char*> kFiles[] = {
      {"sysrq", "/proc/sysrq-trigger"},
      {"kcore", "/proc/kcore"},
      {"modprobe", "/proc/sys/kernel/modprobe"},
      {"uevent_helper", "/sys/kernel/uevent_helper"},
      {"binary_formats", "/proc/sys/fs/binfmt_misc/register"},
      {"release_agent", "/sys/fs/cgroup/memory/release_agent"},
      {"notify_on_release", "/sys/fs/cgroup/memory/notify_on_release"}};
  for (const auto& [name, path] : kFiles) {
    facts_[name] = {path};
    if (::access(path, F_OK) != 0)
      facts_[name].missing = "this machine has no " + std::string(path);
  }
}

void Host::FindDevices() {
  facts_["block_device"].missing = "there is no block device in /dev";
  facts_["open_block_device"].missing = "there is no block device in /dev that can be opened";
  const auto devices = sys::Open("/dev", O_RDONLY | O_DIRECTORY);
  const auto names = sys::ListDirectory(devices->get());
  for (const std::string& name : *names) {
    struct stat info;
    const std::string path = "/dev/" + name;
    if (::lstat(path.c_str(), &info) != 0 || !S_ISBLK(info.st_mode)) continue;
    facts_["block_device"] = {path};
    if (sys::Open(path, O_RDONLY | O_NONBLOCK)) facts_["open_block_device"] = {path};
  }
  facts_["cgroup_file"].missing = "no cgroup hierarchy is mounted";
  for (const char* path :
       {"/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/memory/tasks", "/sys/fs/cgroup/pids/tasks"})
    if (::access(path, F_OK) == 0) facts_["cgroup_file"] = {path};
}

const Fact& Host::Find(const std::string& name) const {
  const auto found = facts_.find(name);
  CHECK(found != facts_.end());
  return found->second;
}

std::vector<std::string> Host::Fill(std::vector<std::string> arguments,
                                    std::string& missing) const {
  for (std::string& argument : arguments) {
    if (!argument.starts_with('{')) continue;
    const Fact& fact = Find(argument.substr(1, argument.size() - 2));
    if (!fact.missing.empty()) missing = fact.missing;
    argument = fact.value;
  }
  return arguments;
}

std::string Host::Changes() const {
  const auto canary = sys::ReadFile(Find("canary").value);
  if (!canary || *canary != kCanary) return "the canary file was changed";
  if (HostName() != host_name_) return "the host's name is now " + HostName();
  if (::kill(victim_, 0) != 0 || ::waitpid(victim_, nullptr, WNOHANG) != 0)
    return "a process of the host's was ended";
  return {};
}

// ---- EscapeTest

bool EscapeTest::AsRoot() { return ::geteuid() == 0; }

void EscapeTest::SetUpTestSuite() {
  auto launcher = sandbox::Launcher::Start();
  ASSERT_TRUE(launcher) << launcher.error().ToString();
  launcher_ = std::move(*launcher);
  host_ = std::make_unique<Host>();
}

void EscapeTest::TearDownTestSuite() {
  launcher_.reset();
  host_.reset();
}

void EscapeTest::SetUp() {
  ASSERT_NE(launcher_, nullptr);
  const std::string work = files_ / "work";
  MakeDirectory(work);
  const auto tools = sandbox::ToolIdentity();
  ASSERT_EQ(::chown(work.c_str(), tools.uid, tools.gid), 0);
  mark_ = "escape-" + std::to_string(::getpid()) + "-" + std::to_string(++count_);
  spec_.mounts = {{work, "/workspace", true}, {host().attacks_directory(), "/mnt/attacks", false}};
  spec_.seccomp_profile = profile_;
  spec_.allow_missing = spec_.allow_missing.With(sandbox::Layer::kLandlock);
  // An ordinary user has no control groups unless somebody gave it some.
  if (!AsRoot()) spec_.allow_missing = spec_.allow_missing.With(sandbox::Layer::kCgroup);
}

void EscapeTest::TearDown() {
  EXPECT_EQ(host().Changes(), "");
  EXPECT_TRUE(AllGone(ProcessesMarked(mark_))) << "a process of the attack is still there";
}

std::unique_ptr<LocalSandbox> EscapeTest::Make(const std::vector<sandbox::Layer>& without) {
  sandbox::SandboxSpec spec = spec_;
  spec.id = mark_ + "-" + std::to_string(++count_);
  for (const sandbox::Layer layer : without)
    spec = sandbox::TestControl::WithoutForTest(std::move(spec), layer);
  auto made = MakeFrom(spec);
  EXPECT_TRUE(made) << made.error().ToString();
  return made ? std::move(*made) : nullptr;
}

Result<std::unique_ptr<LocalSandbox>> EscapeTest::MakeFrom(const sandbox::SandboxSpec& spec) {
  return LocalSandbox::Create(*launcher_, spec, Deadline::Never());
}

std::shared_ptr<const sandbox::SharedMount> EscapeTest::ShareOverlay() {
  const auto tools = sandbox::ToolIdentity();
  const sandbox::HostIdentity owner = {::geteuid(), ::getegid()};
  for (const char* name : {"project", "changes", "changes/upper"})
    if (::access((files_ / name).c_str(), F_OK) != 0) MakeDirectory(files_ / name);
  CHECK(::chown((files_ / "changes/upper").c_str(), tools.uid, tools.gid) == 0);
  auto shared = sandbox::MountOverlay(*launcher_, {.lowers = {{files_ / "project", owner}},
                                                   .parent = files_ / "changes",
                                                   .upper = "upper",
                                                   .work = "work",
                                                   .identity = tools});
  EXPECT_TRUE(shared) << shared.error().ToString();
  if (!shared) return nullptr;
  spec_.mounts[0] = {.target = "/workspace", .writable = true, .shared = *shared};
  return *shared;
}

EscapeTest::Attempt EscapeTest::Attack(LocalSandbox& sandbox, std::vector<std::string> arguments,
                                       const std::string& program) {
  arguments.insert(arguments.begin(), program);
  arguments.push_back(mark_);
  std::string printed;
  auto result =
      sandbox.Exec({.argv = std::move(arguments)},
                   [&](sandbox::OutputStream, std::string_view part) { printed += part; }, {});
  std::string outcome = result ? Describe(printed, result->signal) : result.error().ToString();
  return {std::move(result), std::move(outcome)};
}

EscapeTest::Attempt EscapeTest::Attack(LocalSandbox& sandbox, std::vector<std::string> arguments,
                                       const std::function<void(const std::string& outcome)>& then,
                                       sandbox::ExecRequest request, std::stop_token stop) {
  arguments.insert(arguments.begin(), kProgramInside);
  arguments.push_back(mark_);
  request.argv = std::move(arguments);
  std::string printed;
  auto result = sandbox.Exec(
      request,
      [&](sandbox::OutputStream, std::string_view part) {
        printed += part;
        if (printed.ends_with('\n')) then(Describe(printed, 0));
      },
      std::move(stop));
  return {std::move(result), Describe(printed, 0)};
}

std::string EscapeTest::AttackOutside(std::vector<std::string> arguments, OutsideOptions options) {
  arguments.insert(arguments.begin(), host().attack_program());
  arguments.push_back(mark_);
  if (options.working_directory.empty()) options.working_directory = host().scratch_directory();
  return RunOutside(arguments, options).outcome;
}

std::set<pid_t> EscapeTest::ProcessesOf(const LocalSandbox& sandbox) const {
  std::set<pid_t> pids = ProcessesMarked(mark_);
  if (const std::uint64_t id = PidNamespaceOf(sandbox.worker_pid())) pids.merge(ProcessesIn(id));
  pids.erase(sandbox.worker_pid());
  return pids;
}

void EscapeTest::ExpectNothingSurvives(std::unique_ptr<LocalSandbox> sandbox) {
  ASSERT_NE(sandbox, nullptr);
  const std::uint64_t pid_namespace = PidNamespaceOf(sandbox->worker_pid());
  std::set<pid_t> pids = ProcessesOf(*sandbox);
  pids.insert(sandbox->worker_pid());
  sandbox.reset();
  EXPECT_TRUE(AllGone(pids));
  if (pid_namespace != 0 && pid_namespace != PidNamespaceOf(::getpid())) {
    EXPECT_TRUE(ProcessesIn(pid_namespace).empty());
  }
}

void EscapeTest::ExpectWorking(LocalSandbox& sandbox) {
  const auto alive = sandbox.Ping(Deadline::After(std::chrono::seconds(20)));
  EXPECT_TRUE(alive) << alive.error().ToString();
  const Attempt attempt = Attack(sandbox, {"inherited_descriptor"});
  EXPECT_TRUE(attempt.result) << attempt.outcome;
}

}  // namespace cofferdam::escape
