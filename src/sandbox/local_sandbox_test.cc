#include "sandbox/local_sandbox.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <sstream>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sys/process.h"
#include "sys/testing/temp_dir.h"

namespace cofferdam::sandbox {
namespace {

using testing::HasSubstr;

class LocalSandboxTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    auto launcher = Launcher::Start();
    ASSERT_TRUE(launcher) << launcher.error().ToString();
    launcher_ = launcher->release();
  }
  static void TearDownTestSuite() { delete std::exchange(launcher_, nullptr); }

  void SetUp() override {
    ASSERT_NE(launcher_, nullptr);
    for (const char* name : {"work", "home"}) {
      const std::string path = files_ / name;
      ASSERT_EQ(::mkdir(path.c_str(), 0700), 0);
      ASSERT_EQ(::chown(path.c_str(), ToolIdentity().uid, ToolIdentity().gid), 0);
    }
    // The way to the mount sources is the host's alone.
    if (!launcher_->cgroups()) spec_.allow_missing = LayerSet().With(Layer::kCgroup);
    spec_.id = "test-" + std::to_string(++count_);
    spec_.mounts = {{files_ / "work", "/workspace", true}, {files_ / "home", "/home/agent", true}};
  }

  std::unique_ptr<LocalSandbox> Make() {
    auto sandbox = LocalSandbox::Create(*launcher_, spec_, Deadline::Never());
    EXPECT_TRUE(sandbox) << sandbox.error().ToString();
    return sandbox ? std::move(*sandbox) : nullptr;
  }

  struct Run {
    Result<ExecResult> result;
    std::string out;
    std::string err;
  };
  static Run Shell(LocalSandbox& sandbox, const std::string& line,
                   std::chrono::milliseconds timeout = {}) {
    Run run{Err(ErrorCode::kInternal, "not run"), {}, {}};
    run.result = sandbox.Exec({.argv = {"/bin/sh", "-c", line}, .timeout = timeout},
                              [&](OutputStream stream, std::string_view bytes) {
                                (stream == OutputStream::kStdout ? run.out : run.err) += bytes;
                              },
                              {});
    return run;
  }

  static inline Launcher* launcher_ = nullptr;
  static inline int count_ = 0;
  sys::TempDir files_;
  SandboxSpec spec_;
};

TEST_F(LocalSandboxTest, ShowsEveryLayerInForceBeforeTheFirstOperation) {
  if (!launcher_->cgroups()) GTEST_SKIP() << launcher_->cgroups().error().message;
  const auto sandbox = Make();
  ASSERT_NE(sandbox, nullptr);
  ASSERT_EQ(sandbox->layers().size(), static_cast<std::size_t>(kLayerCount));
  for (const LayerEvidence& layer : sandbox->layers())
    EXPECT_NE(layer.how, "missing") << layer.layer;
}

TEST_F(LocalSandboxTest, AuditedTellsWhatSeccompRefusedAndRefusesItAlike) {
  const auto plain = Make();
  spec_.id += "-audited";
  spec_.audit_syscalls = true;
  const auto audited = Make();
  ASSERT_NE(plain, nullptr);
  ASSERT_NE(audited, nullptr);
  EXPECT_TRUE(audited->denied_calls().calls.empty()) << "the start code's probes are not counted";
  constexpr char kLine[] = "unshare --user true; unshare --user true; echo $?";
  const Run as_plain = Shell(*plain, kLine);
  const Run as_audited = Shell(*audited, kLine);
  ASSERT_TRUE(as_audited.result) << as_audited.result.error().ToString();
  EXPECT_EQ(as_audited.out, as_plain.out);
  EXPECT_EQ(as_audited.err, as_plain.err);
  audited->Kill();
  const DeniedCalls denied = audited->denied_calls();
  const auto unshare = std::ranges::find(denied.calls, "unshare", &DeniedCall::syscall);
  ASSERT_NE(unshare, denied.calls.end());
  EXPECT_EQ(unshare->count, 2U);
  EXPECT_EQ(unshare->error_number, EPERM);
  EXPECT_TRUE(plain->denied_calls().calls.empty());
}

TEST_F(LocalSandboxTest, RunsACommandAndKeepsItsStreamsApart) {
  const auto sandbox = Make();
  const Run run = Shell(*sandbox, "echo out; echo err >&2; exit 7");
  ASSERT_TRUE(run.result) << run.result.error().ToString();
  EXPECT_EQ(run.result->exit_code, 7);
  EXPECT_EQ(run.out, "out\n");
  EXPECT_EQ(run.err, "err\n");
  EXPECT_EQ(run.result->stdout_bytes, 4u);
}

TEST_F(LocalSandboxTest, GivesACommandItsInputAndEnvironmentAndNothingOfTheHosts) {
  ASSERT_EQ(::setenv("COFFERDAM_TEST_SECRET", "s3cret", 1), 0);
  const auto sandbox = Make();
  std::string out;
  const auto result =
      sandbox->Exec({.argv = {"sh", "-c", "cat; env"},
                     .environment = {{"GREETING", "hi"}},
                     .stdin_bytes = "input\n"},
                    [&](OutputStream, std::string_view bytes) { out += bytes; }, {});
  ::unsetenv("COFFERDAM_TEST_SECRET");
  ASSERT_TRUE(result);
  EXPECT_THAT(out, HasSubstr("input\n"));
  EXPECT_THAT(out, HasSubstr("GREETING=hi\n"));
  EXPECT_THAT(out, HasSubstr("HOME=/home/agent\n"));
  EXPECT_THAT(out, testing::Not(HasSubstr("s3cret")));
}

TEST_F(LocalSandboxTest, SaysWhichProgramOrDirectoryIsNotThere) {
  const auto sandbox = Make();
  const auto sink = [](OutputStream, std::string_view) {};
  const auto program = sandbox->Exec({.argv = {"no-such-program"}}, sink, {});
  ASSERT_FALSE(program);
  EXPECT_EQ(program.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(program.error().message, HasSubstr("no-such-program"));
  const auto directory =
      sandbox->Exec({.argv = {"true"}, .working_directory = "/nowhere"}, sink, {});
  ASSERT_FALSE(directory);
  EXPECT_THAT(directory.error().message, HasSubstr("working directory '/nowhere'"));
}

TEST_F(LocalSandboxTest, StreamsMoreOutputThanAnyWindowHolds) {
  const auto sandbox = Make();
  std::uint64_t bytes = 0;
  const auto result =
      sandbox->Exec({.argv = {"head", "-c", "20000000", "/dev/zero"}},
                    [&](OutputStream, std::string_view part) { bytes += part.size(); }, {});
  ASSERT_TRUE(result) << result.error().ToString();
  EXPECT_EQ(bytes, 20'000'000u);
  EXPECT_EQ(result->stdout_bytes, bytes);
}

TEST_F(LocalSandboxTest, EndsACommandAtItsTimeoutWithEverythingItStarted) {
  const auto sandbox = Make();
  const Run run = Shell(*sandbox, "(setsid sleep 1000 &) ; trap '' TERM; sleep 1000",
                        std::chrono::milliseconds(200));
  ASSERT_TRUE(run.result) << run.result.error().ToString();
  EXPECT_TRUE(run.result->timed_out);
  EXPECT_EQ(Shell(*sandbox, "pgrep -c sleep").out, "0\n");
}

TEST_F(LocalSandboxTest, KillsDaemonsThatOutliveTheirCommand) {
  const auto sandbox = Make();
  ASSERT_EQ(Shell(*sandbox, "(setsid sh -c 'sleep 1000 & sleep 1000' >/dev/null 2>&1 &); exit 0")
                .result->exit_code,
            0);
  EXPECT_EQ(Shell(*sandbox, "pgrep -c sleep").out, "0\n");
}

TEST_F(LocalSandboxTest, CancelsACommandFromAnotherThread) {
  const auto sandbox = Make();
  std::stop_source stop;
  const auto result = sandbox->Exec(
      {.argv = {"sh", "-c", "echo started; exec sleep 1000"}},
      [&](OutputStream, std::string_view) { std::jthread([&] { stop.request_stop(); }).join(); },
      stop.get_token());
  ASSERT_TRUE(result) << result.error().ToString();
  EXPECT_TRUE(result->cancelled);
  EXPECT_EQ(Shell(*sandbox, "echo alive").out, "alive\n") << "the sandbox lives on";
}

TEST_F(LocalSandboxTest, SurvivesAnAgentThatKillsEverythingItCan) {
  const auto sandbox = Make();
  const Run run = Shell(*sandbox, "(setsid sleep 1000 &); kill -9 -1");
  EXPECT_FALSE(run.result);
  EXPECT_EQ(run.result.error().code, ErrorCode::kOs);
  EXPECT_THAT(run.result.error().message, HasSubstr("supervisor was killed"));
  EXPECT_EQ(Shell(*sandbox, "pgrep -c sleep").out, "0\n");
}

TEST_F(LocalSandboxTest, WritesReadsAndDescribesFiles) {
  const auto sandbox = Make();
  ASSERT_TRUE(sandbox->Write(
      {.path = "a/b/file", .bytes = "0123456789", .create_parents = true, .mode = 0600}, {}));
  ASSERT_TRUE(sandbox->Write({.path = "a/b/file", .bytes = "ab", .append = true}, {}));
  const auto read = sandbox->Read({.path = "/workspace/a/b/file", .offset = 8, .max_bytes = 3}, {});
  ASSERT_TRUE(read) << read.error().ToString();
  EXPECT_EQ(read->bytes, "89a");
  EXPECT_EQ(read->total_size, 12u);
  const auto stat = *sandbox->Stat("a/b/file");
  ASSERT_TRUE(stat);
  EXPECT_EQ(stat->mode, 0600u);
  EXPECT_EQ(stat->kind, FileKind::kFile);
  EXPECT_FALSE(sandbox->Stat("nothing")->has_value());
  struct stat info;
  ASSERT_EQ(::stat((files_ / "work/a/b/file").c_str(), &info), 0);
  EXPECT_EQ(info.st_uid, ToolIdentity().uid);
}

TEST_F(LocalSandboxTest, WritesFilesLargerThanOneChunk) {
  const auto sandbox = Make();
  std::string bytes;
  for (int i = 0; i < 300'000; ++i) bytes += std::to_string(i);
  ASSERT_TRUE(sandbox->Write({.path = "big", .bytes = bytes}, {}));
  EXPECT_EQ(sandbox->Read({.path = "big", .max_bytes = bytes.size()}, {})->bytes, bytes);
}

TEST_F(LocalSandboxTest, ListsMovesAndRemoves) {
  const auto sandbox = Make();
  ASSERT_TRUE(sandbox->MakeDirectory("d/e", true));
  ASSERT_TRUE(sandbox->Write({.path = "d/e/x", .bytes = "1"}, {}));
  EXPECT_TRUE(sandbox->Move("d/e/x", "d/y", false));
  ASSERT_TRUE(sandbox->Write({.path = "d/z", .bytes = "2"}, {}));
  EXPECT_EQ(sandbox->Move("d/z", "d/y", false).error().code, ErrorCode::kAlreadyExists);
  const auto entries = *sandbox->List("d", true);
  std::string names;
  for (const FileEntry& entry : entries) names += entry.path + " ";
  EXPECT_EQ(names, "e y z ");
  EXPECT_FALSE(sandbox->Remove("d", false));
  EXPECT_TRUE(sandbox->Remove("d", true));
  EXPECT_TRUE(sandbox->List("", false)->empty());
}

TEST_F(LocalSandboxTest, RefusesToReadWhatIsNoRegularFile) {
  const auto sandbox = Make();
  ASSERT_EQ(Shell(*sandbox, "mkfifo pipe; mkdir dir").result->exit_code, 0);
  EXPECT_EQ(sandbox->Read({.path = "pipe"}, {}).error().code, ErrorCode::kInvalidArgument);
  EXPECT_FALSE(sandbox->Read({.path = "dir"}, {}));
  EXPECT_EQ(sandbox->Read({.path = "absent"}, {}).error().code, ErrorCode::kNotFound);
}

TEST_F(LocalSandboxTest, GrepsAndFinds) {
  const auto sandbox = Make();
  ASSERT_TRUE(sandbox->Write(
      {.path = "src/a.cc", .bytes = "one\ntwo needle\nthree\n", .create_parents = true}, {}));
  ASSERT_TRUE(sandbox->Write({.path = "src/b.h", .bytes = "needle\n"}, {}));
  const auto hits = *sandbox->Grep({.pattern = "ne+dle", .glob = "*.cc", .context_lines = 1}, {});
  ASSERT_EQ(hits.lines.size(), 3u);
  EXPECT_EQ(hits.lines[1].path, "src/a.cc");
  EXPECT_EQ(hits.lines[1].line_number, 2u);
  EXPECT_TRUE(hits.lines[1].is_match);
  EXPECT_FALSE(hits.lines[0].is_match);
  EXPECT_EQ(sandbox->Grep({.pattern = "("}, {}).error().code, ErrorCode::kInvalidArgument);
  EXPECT_TRUE(sandbox->Grep({.pattern = "e", .max_matches = 1}, {})->truncated);
  EXPECT_EQ(sandbox->Find({.glob = "**/*.h"}, {})->paths, std::vector<std::string>{"src/b.h"});
}

TEST_F(LocalSandboxTest, ReportsThatMemoryRanOut) {
  if (!launcher_->cgroups()) GTEST_SKIP() << launcher_->cgroups().error().message;
  spec_.limits.memory_bytes = 48 << 20;
  const auto sandbox = Make();
  const Run run = Shell(*sandbox, "head -c 200000000 /dev/zero | tail");
  ASSERT_TRUE(run.result) << run.result.error().ToString();
  EXPECT_TRUE(run.result->out_of_memory);
  EXPECT_EQ(Shell(*sandbox, "echo alive").out, "alive\n") << "tools die before the worker";
}

TEST_F(LocalSandboxTest, ReportsThatProcessesRanOut) {
  if (!launcher_->cgroups()) GTEST_SKIP() << launcher_->cgroups().error().message;
  spec_.limits.processes = 20;
  const auto sandbox = Make();
  const Run run =
      Shell(*sandbox, "for i in $(seq 40); do sleep 1000 & done", std::chrono::seconds(20));
  ASSERT_TRUE(run.result) << run.result.error().ToString();
  EXPECT_TRUE(run.result->out_of_processes);
}

TEST_F(LocalSandboxTest, LeavesNoProcessAndNoGroupBehind) {
  auto sandbox = Make();
  const pid_t pid = sandbox->worker_pid();
  ASSERT_EQ(Shell(*sandbox, "true").result->exit_code, 0);
  sandbox->Kill();
  EXPECT_NE(::kill(pid, 0), 0);
  EXPECT_EQ(
      sandbox->Exec({.argv = {"true"}}, [](OutputStream, std::string_view) {}, {}).error().code,
      ErrorCode::kSandboxLost);
}

TEST_F(LocalSandboxTest, IsFrozenAndThawedAndEndsWhileFrozen) {
  if (!launcher_->cgroups()) GTEST_SKIP() << launcher_->cgroups().error().message;
  const auto sandbox = Make();
  ASSERT_TRUE(sandbox->Freeze());
  ASSERT_TRUE(sandbox->Thaw());
  EXPECT_EQ(Shell(*sandbox, "echo awake").out, "awake\n");
  ASSERT_TRUE(sandbox->Freeze());
  const pid_t pid = sandbox->worker_pid();
  sandbox->Kill();
  EXPECT_NE(::kill(pid, 0), 0);
}

TEST_F(LocalSandboxTest, StaysFrozenAsLongAsSomebodyHoldsIt) {
  if (!launcher_->cgroups()) GTEST_SKIP() << launcher_->cgroups().error().message;
  const auto sandbox = Make();
  ASSERT_TRUE(sandbox->Freeze());
  ASSERT_TRUE(sandbox->Freeze());
  const Status halted = sandbox->AwaitHalt(Deadline::After(std::chrono::seconds(10)));
  ASSERT_TRUE(halted) << halted.error().ToString();
  ASSERT_TRUE(sandbox->Thaw());
  EXPECT_TRUE(sandbox->AwaitHalt(Deadline::After({}))) << "one still holds it";
  ASSERT_TRUE(sandbox->Thaw());
  EXPECT_EQ(sandbox->AwaitHalt(Deadline::After({})).error().code, ErrorCode::kTimeout);
  EXPECT_EQ(Shell(*sandbox, "echo awake").out, "awake\n");
}

TEST_F(LocalSandboxTest, MountsWhatWasAskedForBelowMnt) {
  ASSERT_TRUE(sys::MakeDirectories(files_ / "data", 0755));
  ASSERT_EQ(::chmod((files_ / "data").c_str(), 0755), 0);
  spec_.mounts.push_back({files_ / "data", "/mnt/data", false});
  const auto sandbox = Make();
  EXPECT_EQ(Shell(*sandbox,
                  "test -d /mnt/data && echo there; touch /mnt/data/x 2>&1 | grep -o 'Read-only'")
                .out,
            "there\nRead-only\n");
}

TEST_F(LocalSandboxTest, ASecondSandboxSharesNothingWithTheFirst) {
  const auto first = Make();
  ASSERT_EQ(Shell(*first, "echo mine > /tmp/file; echo mine > /dev/shm/file").result->exit_code, 0);
  spec_.id += "-second";
  const auto second = Make();
  EXPECT_EQ(
      Shell(*second, "cat /tmp/file /dev/shm/file 2>/dev/null; ps -e | grep -c cofferdam").out,
      "2\n")
      << "its own worker and supervisor only";
}

TEST_F(LocalSandboxTest, StartsANewLauncherWhenTheOldOneDied) {
  auto first = Make();
  const sys::UniqueFd worker(static_cast<int>(::syscall(SYS_pidfd_open, first->worker_pid(), 0)));
  ASSERT_EQ(::kill(*launcher_->Pid(), SIGKILL), 0);
  // Its sandboxes die with it.
  ASSERT_TRUE(sys::WaitForEnd(worker.get(), Deadline::Never()));
  EXPECT_EQ(Shell(*first, "echo alive").result.error().code, ErrorCode::kSandboxLost);
  first.reset();
  const auto second = Make();
  ASSERT_NE(second, nullptr);
  EXPECT_EQ(Shell(*second, "echo alive").out, "alive\n");
}

// The first child with a pid namespace of its own, when there is one before `stop`.
pid_t NextWorker(pid_t launcher, const std::stop_token& stop) {
  const auto pid_namespace = [](const std::string& pid) {
    struct stat info;
    return ::stat(("/proc/" + pid + "/ns/pid").c_str(), &info) == 0 ? info.st_ino : 0;
  };
  const std::string parent = std::to_string(launcher);
  while (!stop.stop_requested()) {
    std::istringstream children(
        sys::ReadFile("/proc/" + parent + "/task/" + parent + "/children").value_or(""));
    for (std::string child; children >> child;) {
      const auto its = pid_namespace(child);
      if (its != 0 && its != pid_namespace("self")) return std::stoi(child);
    }
  }
  return -1;
}

TEST_F(LocalSandboxTest, IsLostWhenItsWorkerIsKilledWhileItIsMade) {
  Make().reset();  // the launcher is there
  for (int i = 0; i < 40; ++i) {
    bool killed = false;
    std::jthread killer([&, launcher = *launcher_->Pid()](const std::stop_token& stop) {
      const sys::UniqueFd worker(
          static_cast<int>(::syscall(SYS_pidfd_open, NextWorker(launcher, stop), 0)));
      const auto moment = std::chrono::steady_clock::now() + std::chrono::microseconds(100 * i);
      while (std::chrono::steady_clock::now() < moment) {
      }
      killed = worker.valid() && sys::SendSignal(worker.get(), SIGKILL).has_value();
    });
    const auto sandbox = LocalSandbox::Create(*launcher_, spec_, Deadline::Never());
    killer.request_stop();
    killer.join();
    if (!killed) continue;  // made before that thread came to look
    if (sandbox) {
      EXPECT_EQ(Shell(**sandbox, "true").result.error().code, ErrorCode::kSandboxLost) << i;
    } else {
      EXPECT_EQ(sandbox.error().code, ErrorCode::kSandboxLost) << sandbox.error().ToString();
    }
  }
  EXPECT_EQ(Shell(*Make(), "echo alive").out, "alive\n");
}

struct HostFacts {
  pid_t launcher;
  pid_t worker;
  char groups[64];
};

enum class Sandbox { kAtWork, kFrozen };

// A host with one sandbox, in which a command runs or which is frozen.
void ReportAndWaitToBeKilled(int pipe, Sandbox state) {
  auto launcher = Launcher::Start();
  if (!launcher) return;
  SandboxSpec spec;
  spec.id = "of-a-dead-host";
  if (!(*launcher)->cgroups()) spec.allow_missing = LayerSet().With(Layer::kCgroup);
  auto sandbox = LocalSandbox::Create(**launcher, spec, Deadline::Never());
  if (!sandbox) return;
  HostFacts facts{*(*launcher)->Pid(), (*sandbox)->worker_pid(), {}};
  if ((*launcher)->cgroups())
    std::strncpy(facts.groups, (*launcher)->cgroups()->directory_name().c_str(),
                 sizeof(facts.groups) - 1);
  const auto tell = [&](OutputStream, std::string_view) {
    static_cast<void>(sys::WriteAll(pipe, {reinterpret_cast<const char*>(&facts), sizeof(facts)}));
  };
  if (state == Sandbox::kFrozen) {
    if (!(*sandbox)->Freeze()) return;
    tell(OutputStream::kStdout, {});
    ::pause();
  }
  static_cast<void>((*sandbox)->Exec(
      {.argv = {"sh", "-c", "echo up; exec sleep 1000"}, .working_directory = "/"}, tell, {}));
}

sys::UniqueFd OpenProcess(pid_t pid) {
  return sys::UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
}

// A host in a process of its own.
class HostToBeKilled {
 public:
  explicit HostToBeKilled(Sandbox state) {
    sys::Pipe pipe = *sys::NewPipe();
    pid_ = ::fork();
    if (pid_ == 0) {
      ReportAndWaitToBeKilled(pipe.write_end.get(), state);
      ::_exit(1);
    }
    pipe.write_end.Reset();
    EXPECT_EQ(*sys::Read(pipe.read_end.get(), {reinterpret_cast<char*>(&facts_), sizeof(facts_)}),
              sizeof(facts_));
    launcher_ = OpenProcess(facts_.launcher);
    worker_ = OpenProcess(facts_.worker);
    EXPECT_TRUE(launcher_.valid() && worker_.valid());
  }

  void Kill() const {
    ASSERT_EQ(::kill(pid_, SIGKILL), 0);
    ASSERT_TRUE(sys::Reap(pid_));
  }
  void KillLauncher() const {
    ASSERT_TRUE(sys::SendSignal(launcher_.get(), SIGKILL));
    ASSERT_TRUE(LauncherEnds());
  }
  bool WorkerEnds() const { return Ends(worker_); }
  bool LauncherEnds() const { return Ends(launcher_); }
  std::string groups() const { return facts_.groups; }

 private:
  static bool Ends(const sys::UniqueFd& process) {
    return sys::WaitForEnd(process.get(), Deadline::After(std::chrono::minutes(1))).has_value();
  }

  pid_t pid_ = -1;
  HostFacts facts_{};
  sys::UniqueFd launcher_;
  sys::UniqueFd worker_;
};

void ExpectGone(const CgroupRoot& root, const std::string& groups) {
  const std::vector<int> fds = root.Descriptors();
  for (std::size_t parent = 0; parent < fds.size(); parent += 2)
    EXPECT_THAT(*sys::ListDirectory(fds[parent]), testing::Not(testing::Contains(groups)));
}

TEST(LauncherTest, LeavesNothingWhenTheHostIsKilled) {
  // Opened before, since opening sweeps.
  const auto groups = CgroupRoot::Open();
  const HostToBeKilled host(Sandbox::kAtWork);
  host.Kill();
  EXPECT_TRUE(host.WorkerEnds());
  EXPECT_TRUE(host.LauncherEnds());
  if (groups) ExpectGone(*groups, host.groups());
}

TEST(LauncherTest, LeavesNoFrozenSandboxWhenTheHostIsKilled) {
  const auto groups = CgroupRoot::Open();
  if (!groups) GTEST_SKIP() << groups.error().message;
  const HostToBeKilled host(Sandbox::kFrozen);
  host.Kill();
  EXPECT_TRUE(host.WorkerEnds());
  EXPECT_TRUE(host.LauncherEnds());
  ExpectGone(*groups, host.groups());
}

TEST(LauncherTest, AFrozenSandboxOfAHostAndALauncherThatBothDiedEndsWithTheNextStart) {
  if (const auto groups = CgroupRoot::Open(); !groups) GTEST_SKIP() << groups.error().message;
  const HostToBeKilled host(Sandbox::kFrozen);
  host.KillLauncher();
  host.Kill();
  const auto next = CgroupRoot::Open();
  ASSERT_TRUE(next) << next.error().ToString();
  EXPECT_TRUE(host.WorkerEnds());
  ExpectGone(*next, host.groups());
}

TEST(LauncherTest, EndsAlthoughAForkOfTheHostStillHoldsItsSocket) {
  auto launcher = Launcher::Start();
  ASSERT_TRUE(launcher) << launcher.error().ToString();
  const pid_t process = *(*launcher)->Pid();
  const pid_t fork_of_host = ::fork();
  if (fork_of_host == 0) {
    ::pause();
    ::_exit(0);
  }
  launcher->reset();
  EXPECT_NE(::kill(process, 0), 0) << "it has ended and was reaped";
  ASSERT_EQ(::kill(fork_of_host, SIGKILL), 0);
  ASSERT_TRUE(sys::Reap(fork_of_host));
}

}  // namespace
}  // namespace cofferdam::sandbox
